"""What pytest loads: the mark, the option and the fixture; bursar itself is imported once a test has a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from bursar_pytest.summary import Summary

if TYPE_CHECKING:
    from bursar import Run

MARK: Final = "budget"
OPTION: Final = "bursar_budget"
_OLDEST: Final = (8, 0)
_HOOKS: Final = "bursar-budgets"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the budget of all tests together."""
    parser.getgroup("bursar", "what tests may spend on language models").addoption(
        "--bursar-budget",
        dest=OPTION,
        metavar="LIMIT",
        default=None,
        help="the most that all tests together may spend, such as '$2.00'; also shows what each has spent",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark, and look at the option before any test runs."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(limit, **options): the most that the test may spend on language models, such as '$0.05'; the "
        "options are those of bursar.Budget (agents=, calls=, downgrade=, ...)",
    )
    config.pluginmanager.register(Summary(), "bursar-summary")
    if (limit := config.getoption(OPTION)) is not None:
        from bursar import Budget

        try:
            Budget(limit)
        except ValueError as error:
            msg = f"--bursar-budget: {error}"
            raise pytest.UsageError(msg) from error


def pytest_collection_finish(session: pytest.Session) -> None:
    """Watch the tests, if any of them has a budget."""
    config = session.config
    has_mark = any(item.get_closest_marker(MARK) is not None for item in session.items)
    if (not has_mark and config.getoption(OPTION) is None) or config.pluginmanager.has_plugin(_HOOKS):
        return
    if pytest.version_tuple[:2] < _OLDEST:
        msg = f"budgets of tests need pytest 8.0 or newer; this is {pytest.__version__}"
        raise pytest.UsageError(msg)
    from bursar_pytest.hooks import BudgetedTests

    config.pluginmanager.register(BudgetedTests(config), _HOOKS)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give the worker processes of pytest-xdist one ledger, so that they spend from one total."""
    if node.config.getoption(OPTION) is not None:
        from bursar_pytest.workers import shared_ledger

        node.workerinput["bursar_store"] = shared_ledger(node.config)


@pytest.fixture
def bursar_run(request: pytest.FixtureRequest) -> Run:
    """The run of this test, from which all its calls are paid: `.spent`, `.remaining`, `.report()`."""
    from bursar_pytest.budgets import RUN

    run = request.node.stash.get(RUN, None)
    if run is None:
        pytest.fail("this test has no budget; mark it with @pytest.mark.budget('$0.05')", pytrace=False)
    return run
