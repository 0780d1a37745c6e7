"""The URL of a ledger in PostgreSQL."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from bursar.stores.urls import without_password

_SCHEMA: Final = "bursar"


class Address(NamedTuple):
    """
    Where a ledger is.

    Attributes:
        conninfo: What libpq opens.

        shown: The same for people, without a password.

        schema: Where the tables are.
    """

    conninfo: str
    shown: str
    schema: str

    @classmethod
    def of(cls, url: str) -> Address:
        """
        Return what *url* says.

        Raises:
            ValueError: It is malformed; the message names what to write.
        """
        shown = without_password(url)
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        schema = options.pop("schema", _SCHEMA)
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
            msg = f'store "{shown}": the schema must be a plain name in small letters, not "{schema}"'
            raise ValueError(msg)
        conninfo = urlunsplit(parts._replace(query=urlencode(options)))
        try:
            conninfo_to_dict(conninfo)
        except ProgrammingError:
            # Not with what it says: that may hold the password.
            msg = f'store "{shown}" is no URL of PostgreSQL: write "postgresql://USER@HOST:5432/DATABASE"'
            raise ValueError(msg) from None
        return cls(conninfo, shown, schema)

    def __repr__(self) -> str:
        # Not what libpq opens, which may hold a password.
        return f"Address({self.shown!r}, schema={self.schema!r})"
