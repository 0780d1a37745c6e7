"""`@pytest.mark.budget("$0.05")`: what a test spends is capped, and a test that would spend more fails."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from .project import Project


def test_a_test_within_its_budget_passes_and_says_what_it_spent(project: Project) -> None:
    """The figure is the provider's own bill; the table at the end shows it beside the limit."""
    session = project.run("""
        @pytest.mark.budget("$0.05")
        def test_my_agent():
            asks(guard(openai.OpenAI(), label="writer"), 3)
    """)

    assert {"test_my_agent": "passed"} == session.statuses
    assert project.billed == session.only.spent > 0
    assert {"bursar_limit_usd": "0.05", "bursar_calls": "3"}.items() <= session.only.properties.items()
    assert "of $0.05, 3 calls  test_agents.py::test_my_agent" in session.output


def test_a_test_over_its_budget_fails_before_the_money_is_gone(project: Project) -> None:
    """What the test would spend beyond its limit is never sent; the failure names the test and the numbers."""
    session = project.run("""
        @pytest.mark.budget("$0.001")
        def test_runaway():
            asks(guard(openai.OpenAI(), label="writer"), 1_000)
    """)

    assert "failed" == session.only.status
    assert 'test "test_agents.py::test_runaway" may spend $0.001' in session.only.said
    assert project.billed == session.only.spent <= Decimal("0.001")


def test_a_refusal_that_was_swallowed_fails_the_test(project: Project) -> None:
    """Frameworks turn exceptions of their tools into text; the test fails all the same, with the reason."""
    session = project.run("""
        @pytest.mark.budget(calls=2)
        def test_swallowed():
            client = guard(openai.OpenAI())
            for _ in range(5):
                try:
                    asks(client)
                except Exception:
                    pass
    """)

    assert "failed" == session.only.status
    assert "3 calls were refused in this test, which went on without" in session.only.said
    assert 'test "test_agents.py::test_swallowed" may spend 2 calls' in session.only.said
    assert 2 == project.simulator.arrived


def test_a_graceful_end_and_an_agent_s_share_are_refusals_too(project: Project) -> None:
    """An answer that says why the call was not sent, or one agent's part that is spent, fails the test."""
    session = project.run("""
        @pytest.mark.budget("$0.001", on_exceed="stop")
        def test_stopped():
            assert "Stopped by the budget" in asks(guard(openai.OpenAI()), 10)

        @pytest.mark.budget("$0.001", agents={"writer": "50%"})
        def test_share():
            client = guard(openai.OpenAI(), label="writer")
            with pytest.raises(BudgetExceeded):
                asks(client, 10)
    """)

    assert {"test_stopped": "failed", "test_share": "failed"} == session.statuses
    assert all("refused in this test" in outcome.said for outcome in session.tests.values())


def test_a_refusal_of_the_code_s_own_budget_is_its_own_affair(project: Project) -> None:
    """A test of what an application does at its limit passes: the test's own budget refused nothing."""
    session = project.run("""
        application = Budget("$5", calls=1)

        @pytest.mark.budget("$0.05")
        def test_limits():
            with application.run("triage") as run:
                client = guard(openai.OpenAI())
                asks(client)
                with pytest.raises(BudgetExceeded):
                    asks(client)
            assert run.refusals
    """)

    assert {"test_limits": "passed"} == session.statuses
    assert project.billed == session.only.spent


def test_threads_of_a_test_share_its_cap(project: Project) -> None:
    """Fifty calls at once from a pool of threads: as many are sent as the test may make."""
    session = project.run("""
        @pytest.mark.budget(calls=10)
        def test_fan_out():
            client = guard(openai.OpenAI())
            with concurrent.futures.ThreadPoolExecutor(50) as pool:
                done = [pool.submit(asks, client) for _ in range(50)]
            assert 40 == sum(isinstance(each.exception(), BudgetExceeded) for each in done)
    """)

    assert "failed" == session.only.status
    assert "40 calls were refused" in session.only.said
    assert 10 == project.simulator.arrived


def test_each_test_has_the_whole_of_its_own(project: Project) -> None:
    """A mark on a class or a module is for each test; the nearest counts; each case of a parameter is a test."""
    session = project.run("""
        pytestmark = pytest.mark.budget(calls=3)

        @pytest.mark.parametrize("n", [1, 2])
        def test_case(n):
            asks(guard(openai.OpenAI()), 3)

        @pytest.mark.budget(calls=2)
        class TestAgents:
            def test_two(self):
                asks(guard(openai.OpenAI()), 2)

            @pytest.mark.budget(calls=1)
            def test_one(self):
                client = guard(openai.OpenAI())
                asks(client)
                with pytest.raises(BudgetExceeded):
                    asks(client)
    """)

    passed = dict.fromkeys(("test_case[1]", "test_case[2]", "test_two"), "passed")
    assert passed | {"test_one": "failed"} == session.statuses
    assert 9 == project.simulator.arrived


def test_one_budget_for_several_tests(project: Project) -> None:
    """A `Budget` in a mark is shared by the tests that have it."""
    session = project.run("""
        shared = Budget(calls=3, per="total", name="all agents")

        @pytest.mark.budget(shared)
        def test_first():
            asks(guard(openai.OpenAI()), 2)

        @pytest.mark.budget(shared)
        def test_second():
            asks(guard(openai.OpenAI()), 2)
    """)

    assert {"test_first": "passed", "test_second": "failed"} == session.statuses
    assert 3 == project.simulator.arrived


def test_a_test_s_own_fixtures_are_paid_by_it_and_shared_ones_are_not(project: Project) -> None:
    """Who sets up what several tests share is chance: none of them pays for it, now or later."""
    session = project.run("""
        @pytest.fixture(scope="module")
        def shared():
            client = guard(openai.OpenAI())
            asks(client)
            return client

        @pytest.fixture
        def own():
            client = guard(openai.OpenAI())
            asks(client)
            yield client
            asks(client)

        @pytest.mark.budget("$0.05")
        def test_first(shared, own):
            asks(own)

        def test_unmarked(shared):
            asks(shared, 5)

        @pytest.mark.budget(calls=1)
        def test_last(shared):
            asks(shared)
    """)

    assert dict.fromkeys(("test_first", "test_unmarked", "test_last"), "passed") == session.statuses
    calls = {name: outcome.properties.get("bursar_calls") for name, outcome in session.tests.items()}
    assert {"test_first": "3", "test_unmarked": None, "test_last": "1"} == calls


def test_the_run_of_a_test(project: Project) -> None:
    """A fixture hands out the run, by which a test can look at what it has spent so far."""
    session = project.run("""
        from decimal import Decimal

        @pytest.mark.budget("$0.05")
        def test_looks(bursar_run):
            asks(guard(openai.OpenAI(), label="writer"))
            assert 0 < bursar_run.spent < Decimal("0.001")
            assert set(bursar_run.report().by_agent) == {"writer"}

        def test_unmarked(bursar_run):
            pass
    """)

    assert {"test_looks": "passed", "test_unmarked": "error"} == session.statuses
    assert "this test has no budget; mark it with @pytest.mark.budget" in session.tests["test_unmarked"].said


def test_a_failure_shows_who_spent_what(project: Project) -> None:
    """Beside a failure stands the report of the test's run, agent by agent."""
    session = project.run("""
        @pytest.mark.budget("$0.05")
        def test_fails():
            asks(guard(openai.OpenAI(), label="researcher"))
            assert False
    """)

    assert "failed" == session.only.status
    table = session.output.partition("Captured budget call")[2]
    assert "researcher" in table


def test_a_mark_that_makes_no_budget_fails_its_test(project: Project) -> None:
    """What is wrong is said in words, of the one test; the others run."""
    wrong = {
        "": "has no limit; write @pytest.mark.budget",
        "()": "has no limit; write @pytest.mark.budget",
        '("five dollars")': "'five dollars'",
        "(-1)": "-1",
        '("$1", limit_usd=3)': "limit_usd",
        '("$1", "$2")': "makes no budget",
        '("$1", agents={"writer": "150%"})': "150",
    }
    tests = "".join(
        f"@pytest.mark.budget{mark}\ndef test_{at}():\n    asks(guard(openai.OpenAI()))\n\n"
        for at, mark in enumerate(wrong)
    )
    session = project.run(f"{tests}def test_other():\n    pass\n")

    assert "passed" == session.tests.pop("test_other").status
    assert len(wrong) == len(session.tests)
    for at, said in enumerate(wrong.values()):
        outcome = session.tests[f"test_{at}"]
        assert "error" == outcome.status
        assert f"the budget mark of test_agents.py::test_{at} " in outcome.said
        assert said in outcome.said
    assert 0 == project.simulator.arrived


def test_a_test_that_is_run_again_has_its_budget_anew(project: Project) -> None:
    """Each time is a run of its own."""
    session = project.run(
        """
        times = []

        @pytest.mark.budget(calls=2)
        def test_flaky():
            asks(guard(openai.OpenAI()), 2)
            times.append(1)
            assert len(times) == 3
        """,
        "--reruns=2",
    )

    assert "passed" == session.tests["test_flaky"].status
    assert 6 == project.simulator.arrived


def test_nothing_is_kept_beyond_the_session(project: Project, tmp_path: Path) -> None:
    """The user's own ledger does not grow by what tests spend, unless a store is named."""
    source = """
        @pytest.mark.budget("$0.05")
        def test_my_agent():
            asks(guard(openai.OpenAI(), label="writer"))
    """

    session = project.run(source)
    assert "passed" == session.only.status
    assert [] == list((tmp_path / "data").rglob("*"))

    named = tmp_path / "named.db"
    session = project.run(source, environ={"BURSAR_STORE": f"sqlite:///{named}"})
    assert "passed" == session.only.status
    content = b"".join(file.read_bytes() for file in tmp_path.glob("named.db*"))
    assert b"test_agents.py::test_my_agent" in content
    assert b"tides" not in content
    assert b"sk-planted-key" not in content


def test_a_session_without_budgets_is_left_alone(project: Project) -> None:
    """No test has the mark: nothing of bursar is imported, and nothing is said."""
    session = project.run(
        """
        def test_nothing():
            assert "bursar_pytest.hooks" not in sys.modules
            assert "BURSAR_STORE" not in os.environ
    """,
        is_fresh=True,
    )

    assert {"test_nothing": "passed"} == session.statuses
    assert "spent" not in session.output
    assert {} == session.only.properties


def test_importing_the_plugin_imports_no_core(project: Project) -> None:
    """Whoever has bursar installed pays nothing for it in every session of pytest."""
    (project.folder / "test_light.py").write_text(
        "import sys\n\ndef test_light():\n"
        "    assert [] == [name for name in sys.modules if name.partition('.')[0] == 'bursar']\n"
    )
    (project.folder / "test_agents.py").unlink(missing_ok=True)
    session = project.run("", "test_light.py", is_fresh=True)

    assert {"test_light": "passed"} == session.statuses


def test_the_mark_is_known(project: Project) -> None:
    """`pytest --markers` explains it, and strict sessions take it."""
    session = project.run("", "--markers")

    assert "@pytest.mark.budget(limit, **options)" in session.output
