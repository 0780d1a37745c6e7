from __future__ import annotations

import os
import socket

import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_a_connection_to_another_host_fails_the_test(host: str) -> None:
    """No test reaches an address outside of this machine, whatever catches exceptions on the way."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client, pytest.raises(pytest.fail.Exception) as failure:
        client.connect((host, 80))

    assert host in str(failure.value)


def test_a_lookup_of_another_host_fails_the_test() -> None:
    """No test resolves the name of another machine."""
    with pytest.raises(pytest.fail.Exception) as failure:
        socket.getaddrinfo("api.example.com", 443)

    assert "api.example.com" in str(failure.value)


def test_this_machine_can_be_reached() -> None:
    """A connection to a server on the loopback interface is let through."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(("localhost", address[1])) as client:
            peer = client.getpeername()

    assert address == peer


def test_the_default_ledger_is_in_memory() -> None:
    """A test that names no store writes to no disk."""
    assert "memory:" == os.environ["BURSAR_STORE"]


def test_no_key_is_in_the_environment() -> None:
    """A test that forgets to pass a key fails, instead of spending somebody's money."""
    assert "OPENAI_API_KEY" not in os.environ
    assert "ANTHROPIC_API_KEY" not in os.environ
