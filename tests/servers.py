"""Servers that tests need and that a machine may not have."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

import pytest


@contextmanager
def postgres_ledger() -> Generator[str]:
    """The URL of a ledger in PostgreSQL for one test alone; where no server answers, the test is skipped."""
    psycopg = pytest.importorskip("psycopg")
    server = os.environ.get("BURSAR_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")
    try:
        connection = psycopg.connect(server, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL answers (BURSAR_TEST_POSTGRES_URL names another): {error}")
    schema = f"bursar_test_{os.urandom(6).hex()}"
    with connection:
        yield f"{server}?schema={schema}"
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
