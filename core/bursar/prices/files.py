"""
The price file: what a program can declare, written down in TOML.

```toml
[models."acme-7b"]
input = "$0.20"                 # dollars for a million tokens, or for `per`
output = "$0.60"
context = 32_000

[[models."acme-13b"]]           # several: by provider, or by the day they begin
provider = "acme"
input = 0.5
output = 1.5
since = 2027-01-01

[models."llama-local"]
free = true

[aliases]
prod-chat = "gpt-4o"
"arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2" = "anthropic.claude-haiku-4-5-20251001-v1:0"
fast = { model = "claude-haiku-4-5", provider = "anthropic" }

[[discounts]]
provider = "openai"
factor = 0.8
```

The keys of a model are the options of `bursar.prices.add`.  `BURSAR_PRICES` names the file; without it, it is
`prices.toml` in the user's configuration folder, if there is one.  It is read when a price is first asked for, and a
file that cannot be used is an error then, never passed over.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from bursar.errors import BursarError
from bursar.folders import config_path
from bursar.prices.declared import OPTIONS
from bursar.prices.overrides import Declarations, new_discount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bursar.prices.declared import PriceOptions

ENVIRONMENT: Final = "BURSAR_PRICES"
_TABLES: Final = ("aliases", "discounts", "models")
_MODEL_KEYS: Final = OPTIONS | {"provider"}
_ALIAS_KEYS: Final = frozenset({"model", "provider"})
_DISCOUNT_KEYS: Final = frozenset({"provider", "model", "factor", "since"})


class PriceFileError(BursarError, ValueError):
    """A price file cannot be used; the message names the file, the table and the key.  Nothing of it is declared."""


def default_path() -> Path:
    """Return where the price file is looked for, when `BURSAR_PRICES` names none."""
    return config_path("prices.toml")


def read_user_file() -> Declarations:
    """
    Return what the user's price file declares; nothing, if none is named and there is none at the default place.

    Raises:
        PriceFileError: There is one, or one is named, and it cannot be used.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        return read_file(named, Declarations(), named_by=f" (named by {ENVIRONMENT})")
    path = default_path()
    return read_file(path, Declarations()) if os.path.lexists(path) else Declarations()


def read_file(path: str | Path, onto: Declarations, *, named_by: str = "") -> Declarations:
    """
    Return *onto* and all that the file at *path* declares.

    Raises:
        PriceFileError: The file cannot be read, is no TOML, or something in it cannot be meant.
    """
    try:
        where = Path(path).expanduser().absolute()
        content = where.read_bytes()
        # Decimals are exact; a float would have been rounded before anybody could look at its digits.
        document = tomllib.loads(content.decode("utf-8-sig"), parse_float=Decimal)
    except OSError as error:
        reason = error.strerror or str(error)
        raise PriceFileError(f'the price file "{path}"{named_by} cannot be read: {reason}') from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RuntimeError) as error:
        raise PriceFileError(f'the price file "{path}"{named_by} is not TOML: {error}') from error
    source = f"{where.name} {hashlib.sha256(content).hexdigest()[:8]}"
    return _Reader(where, source).read(document, onto)


class _Reader:
    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.source = source

    def read(self, document: dict[str, Any], declared: Declarations) -> Declarations:
        for table in document:
            if table not in _TABLES:
                raise self._error(None, f'unknown table or key "{table}"; there are {", ".join(_TABLES)}')
        for name, where, row in self._models(document.get("models", {})):
            declared = self._declared(where, self._with_model, declared, name, row)
        for name, meant in self._table("aliases", document.get("aliases", {})).items():
            where = f'[aliases] "{name}"'
            alias = self._alias(where, meant)
            declared = self._declared(where, declared.with_alias, name, alias["model"], alias.get("provider"))
        discounts = document.get("discounts", [])
        if not isinstance(discounts, list):
            raise self._error("[discounts]", "is a list; write [[discounts]] above each")
        for number, found in enumerate(cast("list[object]", discounts), 1):
            where = f"[[discounts]] number {number}"
            discount = self._row(where, found, _DISCOUNT_KEYS, needs=("provider", "factor"))
            declared = self._declared(where, self._with_discount, declared, discount)
        return replace(declared, files=(*declared.files, self.path))

    def _models(self, models: object) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for name, rows in self._table("models", models).items():
            if isinstance(rows, list):
                for number, row in enumerate(cast("list[object]", rows), 1):
                    where = f'[[models."{name}"]] number {number}'
                    yield name, where, self._row(where, row, _MODEL_KEYS)
            else:
                where = f'[models."{name}"]'
                yield name, where, self._row(where, rows, _MODEL_KEYS)

    def _with_model(self, declared: Declarations, name: str, row: dict[str, Any]) -> Declarations:
        options = {key: value for key, value in row.items() if key != "provider"}
        return declared.with_price(name, row.get("provider"), cast("PriceOptions", options), self.source)

    def _with_discount(self, declared: Declarations, row: dict[str, Any]) -> Declarations:
        discount = new_discount(
            row["provider"], row["factor"], row.get("model"), row.get("since"), source=self.source
        )
        return declared.with_discount(discount)

    def _alias(self, where: str, meant: object) -> dict[str, Any]:
        if isinstance(meant, str):
            return {"model": meant}
        if not isinstance(meant, dict):
            raise self._error(where, 'is a model\'s name, or { model = "...", provider = "..." }')
        return self._row(where, cast("object", meant), _ALIAS_KEYS, needs=("model",))

    def _table(self, name: str, table: object) -> dict[str, object]:
        if not isinstance(table, dict):
            raise self._error(f"[{name}]", "must be a table")
        return cast("dict[str, object]", table)

    def _row(
        self, where: str, row: object, keys: frozenset[str], *, needs: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        if not isinstance(row, dict):
            raise self._error(where, "must be a table")
        checked = cast("dict[str, Any]", row)
        for key in checked:
            if key not in keys:
                # `[models.gpt-4.1]` is a table in a table: the commonest slip of all.
                hint = (
                    "; a name with a dot is written in quotes"
                    if isinstance(checked[key], dict) and key != "fees"
                    else ""
                )
                raise self._error(where, f'unknown key "{key}"; there are {", ".join(sorted(keys))}{hint}')
        for key in needs:
            if key not in checked:
                raise self._error(where, f'needs the key "{key}"')
        return checked

    def _declared(self, where: str, declare: Callable[..., Declarations], *arguments: object) -> Declarations:
        try:
            return declare(*arguments)
        except (ValueError, TypeError) as error:
            raise self._error(where, str(error)) from error

    def _error(self, where: str | None, what: str) -> PriceFileError:
        return PriceFileError(f'the price file "{self.path}"{f", {where}" if where else ""}: {what}')
