"""
What a call costs: prices compiled from genai-prices into integers, and what the user declares above them.

```python
from bursar import prices
from bursar.usage import Usage

prices.price("openai", "gpt-4o").cost_nanousd(Usage(input_tokens=1_200, output_tokens=300))
prices.add("acme-7b", input="$0.20", output="$0.60", per=1_000_000)
prices.alias("prod-chat", "gpt-4o")
prices.cost_of(provider="openai", path="/v1/chat/completions", response=body).usd
prices.discount(provider="openai", factor=0.8)
```

The same can be written in a price file (`files`).

Unknown is never zero: a model without a price, or with one that genai-prices lost, raises `UnknownPrice`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bursar.prices.catalogue import data_version
from bursar.prices.ceilings import output_ceiling
from bursar.prices.data import STALE_DAYS, PriceData, price_data
from bursar.prices.files import PriceFileError
from bursar.prices.hosts import provider_of_url
from bursar.prices.lookup import find_price, price, price_of_served
from bursar.prices.names import canonical_provider
from bursar.prices.overrides import add, alias, discount, free, load, remove, temporary
from bursar.prices.price import Price, Tier
from bursar.prices.rates import CacheTime, Modality
from bursar.prices.tables import PriceRow, describe
from bursar.prices.units import IMAGE_SIZES, VIDEO_SIZES

if TYPE_CHECKING:
    from bursar.cost import Cost, cost_of

__all__ = [
    "IMAGE_SIZES",
    "STALE_DAYS",
    "VIDEO_SIZES",
    "CacheTime",
    "Cost",
    "Modality",
    "Price",
    "PriceData",
    "PriceFileError",
    "PriceRow",
    "Tier",
    "add",
    "alias",
    "canonical_provider",
    "cost_of",
    "data_version",
    "describe",
    "discount",
    "find_price",
    "free",
    "load",
    "output_ceiling",
    "price",
    "price_data",
    "price_of_served",
    "provider_of_url",
    "remove",
    "temporary",
]


def __getattr__(name: str) -> object:
    # The cost of an exchange needs wire formats, which stand above prices; it is here for those who look for it.
    if name in {"Cost", "cost_of"}:
        import bursar.cost

        return getattr(bursar.cost, name)
    msg = f'module "bursar.prices" has no "{name}"'
    raise AttributeError(msg)
