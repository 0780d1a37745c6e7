"""
What a call costs: prices compiled from genai-prices into integers, and what the user declares above them.

```python
from bursar import prices
from bursar.usage import Usage

prices.price("openai", "gpt-4o").cost_nanousd(Usage(input_tokens=1_200, output_tokens=300))
prices.add("acme-7b", input="$0.20", output="$0.60", per=1_000_000)
prices.alias("prod-chat", "gpt-4o")
```

Unknown is never zero: a model without a price, or with one that genai-prices lost, raises `UnknownPrice`.
"""

from __future__ import annotations

from bursar.prices.catalogue import data_version
from bursar.prices.ceilings import output_ceiling
from bursar.prices.hosts import provider_of_url
from bursar.prices.lookup import find_price, price
from bursar.prices.names import canonical_provider
from bursar.prices.overrides import add, alias, free, remove, temporary
from bursar.prices.price import Price, Tier
from bursar.prices.rates import CacheTime, Modality
from bursar.prices.tables import PriceRow, describe
from bursar.prices.units import IMAGE_SIZES, VIDEO_SIZES

__all__ = [
    "IMAGE_SIZES",
    "VIDEO_SIZES",
    "CacheTime",
    "Modality",
    "Price",
    "PriceRow",
    "Tier",
    "add",
    "alias",
    "canonical_provider",
    "data_version",
    "describe",
    "find_price",
    "free",
    "output_ceiling",
    "price",
    "provider_of_url",
    "remove",
    "temporary",
]
