"""Tests that are awaited pay from their budget, whichever plugin awaits them and however long its loop lives."""

from __future__ import annotations

import pytest

from .project import Project


def awaited(mark: str) -> str:
    """Two tests of which the second is over its budget."""
    return f"""
        {mark}
        @pytest.mark.budget(calls=2)
        async def test_within():
            client = guard(openai.AsyncOpenAI())
            await aasks(client)
            await aasks(client)

        {mark}
        @pytest.mark.budget(calls=2)
        async def test_over():
            client = guard(openai.AsyncOpenAI())
            done = await asyncio.gather(*(aasks(client) for _ in range(20)), return_exceptions=True)
            assert 18 == sum(isinstance(each, BudgetExceeded) for each in done)
    """


@pytest.mark.parametrize(
    "mark",
    [
        "@pytest.mark.asyncio",
        '@pytest.mark.asyncio(loop_scope="session")',
        '@pytest.mark.asyncio(loop_scope="module")',
        "@pytest.mark.anyio",
    ],
)
def test_coroutines(project: Project, mark: str) -> None:
    """The cap holds in a loop of the test's own and in one that was started before it."""
    session = project.run(f"""
        @pytest.fixture(scope="session")
        def anyio_backend():
            return "asyncio"
        {awaited(mark)}
    """)

    assert {"test_within": "passed", "test_over": "failed"} == session.statuses, session.output
    assert "18 calls were refused" in session.tests["test_over"].said
    assert 4 == project.simulator.arrived


def test_unittest(project: Project) -> None:
    """Methods of `unittest`'s cases, awaited or not."""
    session = project.run("""
        @pytest.mark.budget(calls=1)
        class TestCase(unittest.IsolatedAsyncioTestCase):
            async def test_awaited(self):
                await aasks(guard(openai.AsyncOpenAI()))

            async def test_awaited_over(self):
                client = guard(openai.AsyncOpenAI())
                await aasks(client)
                await aasks(client)

            def test_called(self):
                asks(guard(openai.OpenAI()))

            def test_called_over(self):
                asks(guard(openai.OpenAI()), 2)
    """)

    within, over = ("test_awaited", "test_called"), ("test_awaited_over", "test_called_over")
    assert dict.fromkeys(within, "passed") | dict.fromkeys(over, "failed") == session.statuses
    assert 4 == project.simulator.arrived


def test_hypothesis(project: Project) -> None:
    """All examples of a property are one test."""
    session = project.run(
        """
        from hypothesis import given, settings, strategies

        client = guard(openai.OpenAI())

        @pytest.mark.budget(calls=20)
        @settings(max_examples=10, deadline=None, database=None)
        @given(strategies.integers(0, 1_000_000))
        def test_within(n):
            asks(client)

        @pytest.mark.budget(calls=3)
        @settings(max_examples=10, deadline=None, database=None)
        @given(strategies.integers(0, 1_000_000))
        def test_over(n):
            asks(client)
        """
    )

    assert {"test_within": "passed", "test_over": "failed"} == session.statuses
    assert 13 == project.simulator.arrived
