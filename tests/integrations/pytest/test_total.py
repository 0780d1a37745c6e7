"""`pytest --bursar-budget '$2.00'`: one budget for all tests together."""

from __future__ import annotations

import pytest

from .project import Project

TESTS = """
    @pytest.mark.parametrize("n", range(6))
    def test_agent(n):
        asks(guard(openai.OpenAI(), label="writer"), 4)
"""


def test_all_tests_spend_from_one_total(project: Project) -> None:
    """Marked or not, no call is sent past the total; each test shows what it spent."""
    session = project.run(TESTS, "--bursar-budget=$0.002")

    statuses = list(session.statuses.values())
    assert "passed" == statuses[0]
    assert "failed" == statuses[-1]
    assert (
        'budget "--bursar-budget" in this session of pytest may spend $0.002'
        in session.tests["test_agent[5]"].said
    )
    spent = sum(outcome.spent for outcome in session.tests.values())
    assert project.billed == spent
    assert "0.0015" < str(spent) <= "0.002"
    assert "in all" in session.output


def test_the_nearer_budget_counts_first(project: Project) -> None:
    """A test's own mark holds inside of the total."""
    session = project.run(
        """
        @pytest.mark.budget(calls=1)
        def test_marked():
            asks(guard(openai.OpenAI()), 2)

        def test_unmarked():
            asks(guard(openai.OpenAI()), 2)
        """,
        "--bursar-budget=$1",
    )

    assert {"test_marked": "failed", "test_unmarked": "passed"} == session.statuses
    assert 3 == project.simulator.arrived


def test_the_total_holds_across_processes(project: Project) -> None:
    """The workers of pytest-xdist spend from one ledger, and leave none behind."""
    (project.folder.parent / "tmp").mkdir()
    environ = {"TMPDIR": str(project.folder.parent / "tmp")}
    session = project.run(TESTS, "--bursar-budget=$0.002", "-n", "3", environ=environ)

    assert "failed" in session.statuses.values(), session.output
    assert project.billed == sum(outcome.spent for outcome in session.tests.values())
    assert "0.0015" < str(project.billed) <= "0.002"
    assert [] == list((project.folder.parent / "tmp").glob("bursar-*"))


def test_marks_hold_in_worker_processes(project: Project) -> None:
    """Without a total each worker keeps the budgets of its own tests; the table at the end has them all."""
    session = project.run(
        """
        @pytest.mark.budget(calls=2)
        @pytest.mark.parametrize("n", range(4))
        def test_agent(n):
            asks(guard(openai.OpenAI()), 2 + n % 2)
        """,
        "-n",
        "2",
    )

    assert ["passed", "failed"] * 2 == [session.statuses[f"test_agent[{n}]"] for n in range(4)]
    assert 8 == project.simulator.arrived
    assert session.output.count("of no limit") == 0
    assert all(f"2 calls  test_agents.py::test_agent[{n}]" in session.output for n in range(4))


def test_two_sessions_have_a_total_each(project: Project) -> None:
    """In a ledger that lasts, the next session begins anew."""
    environ = {"BURSAR_STORE": "sqlite:///named.db"}
    for _ in range(2):
        session = project.run(TESTS, "--bursar-budget=$0.002", environ=environ)

        assert "passed" == session.tests["test_agent[0]"].status


@pytest.mark.parametrize("limit", ["five", "-1", "nan"])
def test_a_total_that_is_no_amount_ends_the_session_at_once(project: Project, limit: str) -> None:
    """It is said before any test runs."""
    session = project.run(TESTS, f"--bursar-budget={limit}")

    assert 4 == session.code
    assert "--bursar-budget: " in session.output
    assert limit in session.output
    assert 0 == project.simulator.arrived
