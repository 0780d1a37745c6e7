"""The store in a PostgreSQL database."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from relay import Relay
from store_contract import StoreContract
from store_parts import Clock, Turns, account, amounts_of, claim, granted, settling, spend

from bursar.errors import StoreError
from bursar.store import Store, Where
from bursar.stores.opening import open_store
from bursar.stores.postgres import PostgresStore
from bursar.stores.postgres.address import Address
from bursar.stores.postgres.schema import MIGRATIONS

RUN = (account("run", None),)


class TestPostgres(StoreContract):
    @pytest.fixture
    def store(self, postgres: str, clock: Clock) -> Iterator[Store]:
        """An empty store; the contract expects emptiness."""
        store = PostgresStore(postgres, clock=clock)
        yield store
        store.close()


class TestPostgresByTwo(TestPostgres):
    """Every fact holds as well where each verb is called on another of two stores, as processes do."""

    @pytest.fixture
    def store(self, postgres: str, clock: Clock) -> Iterator[Any]:
        """Two stores in one schema that take turns."""
        stores = [PostgresStore(postgres, clock=clock) for _ in range(2)]
        yield Turns(stores)
        for store in stores:
            store.close()


@pytest.fixture
def store(postgres: str) -> Iterator[PostgresStore]:
    """A store on the server's clock."""
    store = PostgresStore(postgres, lock_timeout_s=2)
    yield store
    store.close()


@pytest.fixture
def relay(postgres: str) -> Iterator[Relay]:
    """What stands between a store and the server."""
    relay = Relay(urlsplit(postgres).port or 5432)
    yield relay
    relay.close()


@pytest.fixture
def distant(postgres: str, relay: Relay) -> Iterator[PostgresStore]:
    """A store whose connections can be cut."""
    parts = urlsplit(postgres)
    host = parts.netloc.rpartition("@")
    url = parts._replace(netloc=f"{host[0]}{host[1]}127.0.0.1:{relay.port}").geturl()
    store = PostgresStore(url, lock_timeout_s=2)
    yield store
    store.close()


def server(postgres: str) -> psycopg.Connection[Any]:
    """A connection of another program."""
    return psycopg.connect(postgres.partition("?")[0], autocommit=True)


def schema_of(postgres: str) -> str:
    """The schema of a test's ledger."""
    return postgres.partition("?schema=")[2]


def test_a_url_opens_it_once(postgres: str) -> None:
    """`postgresql://` and `postgres://` are known, and one URL is one store."""
    store = open_store(postgres)

    assert isinstance(store, PostgresStore)
    assert store is open_store(postgres)
    assert isinstance(open_store(postgres.replace("postgresql:", "postgres:")), PostgresStore)
    store.close()
    spend(store, RUN)
    assert (60, 0, 0) == amounts_of(store)
    store.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://user:planted@host/db?colour=blue", "is no URL of PostgreSQL"),
        ("postgresql://user:planted@host/db?schema=Big%20Words", "plain name in small letters"),
        ("postgresql://user:planted@host/db?schema=", "plain name in small letters"),
    ],
)
def test_a_url_that_is_malformed(url: str, said: str) -> None:
    """What is wrong is said, without the password."""
    with pytest.raises(ValueError, match=said) as raised:
        open_store(url)

    assert "planted" not in str(raised.value)


def test_a_server_that_is_not_there() -> None:
    """The error names it, says what to do, and not the password."""
    with pytest.raises(StoreError, match="does not answer; check that the server runs") as raised:
        PostgresStore("postgresql://user:planted@127.0.0.1:9/ledger", lock_timeout_s=2)

    assert "127.0.0.1:9/ledger" in str(raised.value)
    assert "planted" not in str(raised.value)
    assert "planted" not in repr(Address.of("postgresql://user:planted@127.0.0.1:9/ledger"))


def test_a_database_that_is_not_there(postgres: str) -> None:
    """A server that answers and has no such database says so."""
    parts = urlsplit(postgres)
    with pytest.raises(StoreError, match=r"turns this connection away; look at the user.*does not exist"):
        PostgresStore(parts._replace(path="/no_such_ledger", query="").geturl(), lock_timeout_s=2)


def test_tables_of_another_program(postgres: str) -> None:
    """A schema that is somebody else's is named and left as it is."""
    with server(postgres) as other:
        other.execute(f"CREATE SCHEMA {schema_of(postgres)}".encode())
        other.execute(f"CREATE TABLE {schema_of(postgres)}.recipes (name TEXT)".encode())
        with pytest.raises(StoreError, match="tables of another program"):
            PostgresStore(postgres)
        tables = other.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema_of(postgres),)
        ).fetchall()

    assert [("recipes",)] == tables


def test_a_ledger_of_a_newer_bursar(postgres: str, store: PostgresStore) -> None:
    """It says which schema it has, and what to do."""
    store.close()
    with server(postgres) as other:
        other.execute(f"SET search_path TO {schema_of(postgres)}".encode())
        other.execute("UPDATE bursar_schema SET version = 99")

    with pytest.raises(StoreError, match=f"schema 99, this one knows {len(MIGRATIONS)}.; upgrade"):
        spend(store, RUN)


def test_a_connection_that_was_closed_while_nobody_used_it(postgres: str, store: PostgresStore) -> None:
    """Servers and balancers close what is idle, and restart: the next verb opens another, and nobody notices."""
    asked = claim(*RUN)
    granted(store.reserve(asked))
    _end_connections(postgres, store)

    assert 60 == store.resolve(settling(asked.id)).cost_nanousd
    _end_connections(postgres, store)
    assert (60, 0, 0) == amounts_of(store)


def _end_connections(postgres: str, store: PostgresStore) -> None:
    with store._database as cursor:  # pyright: ignore[reportPrivateUsage]
        (pid,) = cursor.execute("SELECT pg_backend_pid()").fetchone()
    with server(postgres) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))


def test_a_connection_that_breaks_in_the_middle(distant: PostgresStore, relay: Relay, postgres: str) -> None:
    """What was not committed is not there, the error says so, and the store works on once the server answers."""
    spend(distant, RUN)

    def cut_in_the_middle() -> None:
        with distant._database as cursor:  # pyright: ignore[reportPrivateUsage]
            cursor.execute("DELETE FROM accounts")
            relay.cut()
            cursor.execute("DELETE FROM entries")

    with pytest.raises(StoreError, match="does not answer"):
        cut_in_the_middle()
    with pytest.raises(StoreError, match="does not answer"):
        spend(distant, RUN)
    relay.mend()

    spend(distant, RUN)
    assert (120, 0, 0) == amounts_of(distant)


def test_what_cannot_be_booked_is_kept_aside(distant: PostgresStore, relay: Relay) -> None:
    """A cost that is known while the server is away is on disk, and is booked by another process when it is back."""
    asked = claim(*RUN)
    granted(distant.reserve(asked))
    relay.cut()
    with pytest.raises(StoreError):
        distant.resolve(settling(asked.id))
    distant.journal.keep(settling(asked.id))
    relay.mend()

    assert 1 == distant.journal.replay(distant)
    assert (60, 0, 0) == amounts_of(distant)
    assert 0 == distant.journal.replay(distant)


def test_other_writers_that_take_too_long(postgres: str, store: PostgresStore) -> None:
    """Who waits longer than the time that was given is told so, and reads meanwhile."""
    spend(store, RUN)
    other = PostgresStore(postgres)
    with other._database, pytest.raises(StoreError, match="locked by other writers for 2 s"):  # pyright: ignore[reportPrivateUsage]
        spend(store, RUN)
    with other._database:  # pyright: ignore[reportPrivateUsage]
        assert (60, 0, 0) == amounts_of(store)
    spend(store, RUN)
    assert (120, 0, 0) == amounts_of(store)
    other.close()


def test_a_verb_in_the_middle_of_another_is_refused(store: PostgresStore) -> None:
    """As of a stream that is collected as garbage inside a verb: never a nested transaction."""
    with store._database, pytest.raises(StoreError, match="another step of this thread"):  # pyright: ignore[reportPrivateUsage]
        spend(store, RUN)
    spend(store, RUN)


def test_names_that_postgres_takes_no_text_for(store: PostgresStore) -> None:
    """A name with a NUL in it is kept with its code in its place."""
    odd = account("a\0b")
    asked = claim(odd)
    granted(store.reserve(asked))
    store.resolve(settling(asked.id, model="m\0x"))

    assert [r"m\x00x"] == [found.model for found in store.entries(Where())]
    assert (60, 0, 0) == amounts_of(store, "a\0b")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_opens_a_connection_of_its_own(postgres: str, tmp_path: Path) -> None:
    """Parent and child spend from one ledger after a fork, and neither ends the other's connection."""
    program = textwrap.dedent("""
        import os, sys
        sys.path[:0] = sys.argv[2:]
        from store_parts import account, amounts_of, spend
        from bursar.stores.postgres import PostgresStore

        store = PostgresStore(sys.argv[1])
        run = (account("run", None),)
        spend(store, run)
        children = []
        for _ in range(3):
            if (child := os.fork()) == 0:
                for _ in range(5):
                    spend(store, run)
                sys.exit(0)
            children.append(child)
        for _ in range(5):
            spend(store, run)
        assert [0, 0, 0] == [os.waitpid(child, 0)[1] for child in children]
        spend(store, run)
        print(amounts_of(store))
    """)
    command = [sys.executable, "-c", program, postgres, str(Path(__file__).parent)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ("(1320, 0, 0)\n", "") == (ended.stdout, ended.stderr)


def test_the_clock_is_the_server_s(postgres: str, store: PostgresStore) -> None:
    """Machines whose clocks differ go by one: that of the database."""
    with server(postgres) as other:
        (now_s,) = other.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone() or (0,)

    assert abs(float(now_s) - store.now()) < 1


def test_a_report_over_names_in_any_language(store: PostgresStore) -> None:
    """Names are told apart byte by byte, and sorted so."""
    for number in range(300):
        asked = claim(*RUN)
        granted(store.reserve(asked))
        store.resolve(settling(asked.id, model=("Ähre", "ähre", "zeh", "🌊")[number % 4]))

    assert {"Ähre": 75, "ähre": 75, "zeh": 75, "🌊": 75} == {
        name: row.calls for name, row in store.totals("model", Where())
    }


def test_a_program_and_its_report(postgres: str) -> None:
    """A program spends by the URL, another one reads what it spent; neither leaves a connection open."""
    program = textwrap.dedent(f"""
        import bursar
        budget = bursar.Budget("$1", store={postgres!r})
        with budget.run("doc-summary") as run:
            run.record(cost="0.25", agent="writer", what="a search")
    """)
    spent = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    report = subprocess.run(
        [sys.executable, "-m", "bursar", "report", "--store", postgres, "--by", "agent", "--format", "csv"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "", "") == (spent.returncode, spent.stdout, spent.stderr)
    assert (0, "") == (report.returncode, report.stderr)
    assert "writer" in report.stdout
    assert "0.25" in report.stdout


def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg the error is the line that installs it, without the password."""
    for name in [name for name in sys.modules if name.startswith(("psycopg", "bursar.stores.postgres"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match=r'needs psycopg: pip install "bursar\[postgres\]"') as raised:
        open_store("postgresql://user:planted@host/ledger")

    assert "planted" not in str(raised.value)


def test_a_report_makes_no_ledger(postgres: str) -> None:
    """A database in which there is none is left as it is, and the error says so without the password."""
    planted = postgres.replace("postgres@", "postgres:planted@")
    command = [sys.executable, "-m", "bursar", "report", "--store", planted]
    report = subprocess.run(command, capture_output=True, text=True, check=False)
    with server(postgres) as other:
        found = other.execute(
            "SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema_of(postgres),)
        ).fetchone()

    assert (1, "") == (report.returncode, report.stdout)
    assert "there is no ledger at" in report.stderr
    assert "planted" not in report.stderr
    assert found is None
