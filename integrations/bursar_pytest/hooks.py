"""Puts a run around each test that has a budget, and fails the test whose calls were refused."""

from __future__ import annotations

import functools
import inspect
import os
import unittest
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from bursar import Budget, Run
from bursar.scope import current_run
from bursar_pytest.budgets import RUN, refusals_of, run_of
from bursar_pytest.plugin import MARK, OPTION
from bursar_pytest.summary import note_spent

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_ENVIRONMENT: Final = "BURSAR_STORE"


class BudgetedTests:
    """
    The hooks around tests with a budget.

    Budgets that name no store are kept in memory meanwhile, unless `BURSAR_STORE` is set: tests leave nothing in the
    user's own ledger.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._patch = pytest.MonkeyPatch()
        workerinput: dict[str, Any] = getattr(config, "workerinput", {})
        if _ENVIRONMENT not in os.environ:
            self._patch.setenv(_ENVIRONMENT, workerinput.get("bursar_store", "memory:"))
        limit = config.getoption(OPTION)
        self._all_tests: Run | None = None
        if limit is not None:
            # The workers of pytest-xdist have one id in common; with a name the account is one too.
            budget = Budget(limit, name="--bursar-budget")
            id_ = workerinput.get("testrunuid")
            self._all_tests = Run(budget, "pytest", id=id_, title="this session of pytest")

    def pytest_unconfigure(self) -> None:
        """Leave the environment as it was."""
        if self._all_tests is not None:
            self._all_tests.close()
        self._patch.undo()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin the run, so that the test's own fixtures are paid from it too."""
        mark = item.get_closest_marker(MARK)
        if self._all_tests is not None:
            self._all_tests.open()
        elif mark is None:
            return
        run = run_of(item, mark)
        run.open(self._all_tests)
        current_run.set(run)
        item.stash[RUN] = run

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """Leave what several tests share to itself: no single one of them pays for it."""
        run = current_run.get()
        if fixturedef.scope == "function" or run is None:
            return (yield)
        current_run.set(self._all_tests)
        try:
            return (yield)
        finally:
            current_run.set(run)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a test that lived on although its budget refused calls."""
        run = item.stash.get(RUN, None)
        if run is None:
            return (yield)
        try:
            with _inside(run, item):
                result = yield
        finally:
            if (report := run.report()).calls or run.refusals:
                item.add_report_section("call", "budget", str(report))
        if refused := refusals_of(run):
            count = "a call was" if len(refused) == 1 else f"{len(refused)} calls were"
            pytest.fail(
                f"{count} refused in this test, which went on without: {refused[0]}\n"
                "To test what becomes of a refusal, use a bursar.Budget inside of the test.",
                pytrace=False,
            )
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """End the run, after the test's own fixtures."""
        try:
            return (yield)
        finally:
            if (run := item.stash.get(RUN, None)) is not None:
                del item.stash[RUN]
                current_run.set(None)
                run.close()
                note_spent(item, run)


@contextmanager
def _inside(run: Run, item: pytest.Item) -> Generator[None]:
    """
    Let the test of *item* see *run* in whichever context it is called or awaited.

    It need not be this one: an event loop that several tests share was started before, and unittest keeps a context of
    its own from the time when the test was collected.
    """
    if not isinstance(item, pytest.Function):
        yield
        return
    test: Callable[..., Any] = item.obj
    is_awaited = inspect.iscoroutinefunction(test)
    paid = _awaited(test, run) if is_awaited else _called(test, run)
    with pytest.MonkeyPatch.context() as patch:
        if is_awaited and isinstance(item.instance, unittest.TestCase):
            # pytest leaves it to unittest to find this one.
            patch.setattr(item.instance, item.name, paid)
        else:
            patch.setattr(item, "obj", paid)
        yield


def _called(test: Callable[..., Any], run: Run) -> Callable[..., Any]:
    @functools.wraps(test)
    def paid(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        token = current_run.set(run)
        try:
            return test(*args, **kwargs)
        finally:
            current_run.reset(token)

    return paid


def _awaited(test: Callable[..., Any], run: Run) -> Callable[..., Any]:
    @functools.wraps(test)
    async def paid(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        token = current_run.set(run)
        try:
            return await test(*args, **kwargs)
        finally:
            current_run.reset(token)

    return paid
