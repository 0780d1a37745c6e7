"""The tables in PostgreSQL, as numbered migrations: those of SQLite, in the words of this database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from bursar.account import Amounts
from bursar.errors import StoreError
from bursar.totals import Totals

if TYPE_CHECKING:
    import psycopg

_TEXT: Final = 'TEXT COLLATE "C"'
"""Names and ids are compared byte by byte, whatever language the database is in."""

_SUMS: Final = ", ".join(f"{name} BIGINT NOT NULL DEFAULT 0" for name in Totals._fields)
_UNITS: Final = ", ".join(
    f"{kind}_{unit} BIGINT NOT NULL DEFAULT 0"
    for kind in ("quick", "committed", "spent", "presumed")
    for unit in Amounts._fields
)
_ENTRY: Final = f"""run_id {_TEXT}{{x}}, call_id {_TEXT}{{x}}, workflow {_TEXT}{{x}}, agent {_TEXT}{{x}},
    agent_path {_TEXT}{{x}}, framework {_TEXT}{{x}}, provider {_TEXT}{{x}}, requested_model {_TEXT}{{x}},
    operation {_TEXT}{{x}}, is_repeat BIGINT{{x}}, status {_TEXT}{{x}}, source {_TEXT}{{x}}, attempt BIGINT{{x}},
    model {_TEXT}{{x}}, cost_nanousd BIGINT, bound_nanousd BIGINT{{x}}, input_tokens BIGINT{{x}},
    cache_read_tokens BIGINT{{x}}, cache_write_tokens BIGINT{{x}}, cache_write_1h_tokens BIGINT{{x}},
    output_tokens BIGINT{{x}}, reasoning_tokens BIGINT{{x}}, other_usage {_TEXT}{{x}}, duration_ms BIGINT{{x}},
    overage_nanousd BIGINT{{x}}, is_late BIGINT{{x}}, reason {_TEXT}{{x}}, price {_TEXT}{{x}}, hour BIGINT{{x}}"""

_FIRST: Final = (
    f"""CREATE TABLE accounts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key {_TEXT} NOT NULL UNIQUE,
    name {_TEXT} NOT NULL,
    limits {_TEXT} NOT NULL,
    warn_at_ppm {_TEXT} NOT NULL,
    downgrade_at_ppm BIGINT,
    warned_ppm BIGINT NOT NULL DEFAULT 0,
    is_latched BIGINT NOT NULL DEFAULT 0,
    is_armed BIGINT NOT NULL DEFAULT 0,
    {_UNITS}
) WITH (fillfactor = 50)""",
    f"""CREATE TABLE reservations (
    id {_TEXT} PRIMARY KEY,
    state BIGINT NOT NULL,
    accounts {_TEXT} NOT NULL,
    nanousd BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    output_limit BIGINT,
    owner {_TEXT} NOT NULL,
    lease_end_s DOUBLE PRECISION NOT NULL,
    {_ENTRY.format(x="")}
)""",
    f"""CREATE TABLE entries (
    id {_TEXT} PRIMARY KEY,
    {_ENTRY.format(x=" NOT NULL")}
)""",
    "CREATE INDEX entries_by_run ON entries (run_id)",
    f"""CREATE TABLE runs (
    id {_TEXT} PRIMARY KEY,
    workflow {_TEXT} NOT NULL,
    parent_id {_TEXT},
    started_s DOUBLE PRECISION NOT NULL,
    ended_s DOUBLE PRECISION,
    is_implied BIGINT NOT NULL DEFAULT 0,
    {_SUMS}
)""",
    f"""CREATE TABLE hours (
    hour BIGINT NOT NULL,
    workflow {_TEXT} NOT NULL,
    agent {_TEXT} NOT NULL,
    model {_TEXT} NOT NULL,
    {_SUMS},
    PRIMARY KEY (hour, workflow, agent, model)
)""",
)

MIGRATIONS: Final = (_FIRST,)
"""The statements at index n take a ledger from version n to version n + 1."""


def migrate(connection: psycopg.Connection[Any], shown: str, schema: str) -> None:
    """
    Bring the tables in *schema* to this version, in the caller's transaction.

    Raises:
        StoreError: A newer bursar made them, or another program did.
    """
    with connection.cursor() as cursor:
        found = cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone()
        if found is None:
            cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        tables = cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
        names = {name for (name,) in tables}
        if names and "bursar_schema" not in names:
            msg = (
                f'the schema "{schema}" in "{shown}" has tables of another program, and is no bursar ledger; name '
                "another database"
            )
            raise StoreError(msg)
        if not names:
            cursor.execute("CREATE TABLE bursar_schema (version BIGINT NOT NULL)")
            cursor.execute("INSERT INTO bursar_schema (version) VALUES (0)")
        (version,) = cursor.execute("SELECT version FROM bursar_schema").fetchone() or (0,)
        if version > len(MIGRATIONS):
            msg = (
                f'the ledger in "{shown}" was written by a newer bursar (schema {version}, this one knows '
                f"{len(MIGRATIONS)}); upgrade bursar, or name another store"
            )
            raise StoreError(msg)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                cursor.execute(statement.encode())
        if version < len(MIGRATIONS):
            cursor.execute("UPDATE bursar_schema SET version = %s", (len(MIGRATIONS),))
