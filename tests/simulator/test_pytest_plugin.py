"""The plugin for pytest, as in somebody's own project: trials, verdicts, and what a failure leaves behind."""

import socket
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings

from simulator import Plan, Run
from simulator.errors import LiveClusterError
from simulator.live.running import running
from simulator.strategies import plans

pytest_plugins = ["pytester"]

README = Path(__file__).parents[2] / "README.md"
FAILING = """
from simulator import Simulation, heal, isolate, read, write

def test_a_cut_node_has_the_latest(simulate, tmp_path):
    run = simulate(
        Simulation(nodes=2)
        .at(1, isolate("n1"), write("n2", "users/a", 1))
        .at(2, write("leader", "settings", "new"))
        .at(3, read("n1", "settings"), read("n2", "settings"))
        .at(4, heal()),
        until=5,
    )
    assert run.reads[0] == "new"
"""


def test_the_example_of_the_readme_passes_with_every_seed(pytester: pytest.Pytester) -> None:
    text = README.read_text()
    begin = text.index("```python\n# test_mine.py") + len("```python\n")
    pytester.makepyfile(test_mine=text[begin : text.index("```", begin)])
    result = pytester.runpytest_subprocess("--pivot-seed", "5", "--pivot-trials", "3", "-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*seed=5*", "*seed=6*", "*seed=7*"])


def test_a_failure_says_how_to_see_it_again_and_leaves_a_smaller_plan_and_pictures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_subprocess("--pivot-seed", "3")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*seed 3, hash *", "replay: *pivot sim replay *plan.json", "minimal: *minimal.json, shrunk 6 -> *"]
    )
    (folder,) = (pytester.path / "pivot-failures").iterdir()
    assert sorted(file.name for file in folder.iterdir()) == ["minimal.json", "minimal.svg", "plan.json", "run.svg"]
    small = Plan.load(folder / "minimal.json")
    assert [step.operation.__struct_config__.tag for step in small.steps] == ["read"]
    for picture in ("minimal.svg", "run.svg"):
        ElementTree.fromstring((folder / picture).read_text())
    again = pytester.runpytest_inprocess("--pivot-seed", "3", "--pivot-output", "elsewhere")
    again.assert_outcomes(failed=1)
    assert Plan.load(next(pytester.path.glob("elsewhere/*/minimal.json"))) == small


def test_what_a_checker_finds_fails_a_test_unless_it_wants_to_look_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from simulator import Simulation, heal, isolate, write
        from simulator.experiment.mutants.original import ORIGINAL

        STORY = Simulation(nodes=1).at(1, isolate("n1")).at(2, write("n1", "users/a", 1))
        STORY.at(3, write("leader", "users/b", 1)).at(4, heal())

        @pytest.fixture
        def bug():
            with ORIGINAL.planted():
                yield

        def test_found(bug, simulate):
            simulate(STORY, until=5)

        def test_looked_at(bug, simulate):
            assert "lost write" in [found.checker for found in simulate(STORY, until=5, check=False).violations]

        @pytest.mark.parametrize("wrong", [1])
        def test_played_nothing(simulate, wrong):
            assert not wrong

        def test_is_wrong(simulate):
            simulate(Simulation(nodes=1).at(1, isolate("n7")), until=2)
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(["*FoundError: verdict correctness, seed 0, hash *", "*lost write: operation 1 *"])
    result.stdout.fnmatch_lines(["minimal: *", "  * isolate*"])
    result.stdout.fnmatch_lines(["nothing was played"])
    result.stdout.fnmatch_lines(["*BadPlanError: plan: steps*n7*"])


def test_a_number_of_trials_that_cannot_be_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_inprocess("--pivot-trials", "0")
    result.stdout.fnmatch_lines(["*--pivot-trials is 0, it must be at least 1*"])


def test_pytest_does_not_load_the_simulator_before_a_test_asks_for_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_it(): assert not {'pivot.core', 'simulator.world'} & set(sys.modules)")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_cluster_is_real_and_gone_afterwards() -> None:
    with running(Plan(seed=1, nodes=1, safety_s=0.0)) as cluster:
        cluster.cut("n1")
        cluster.write("n1", "settings", "mine")
        assert cluster.read("leader", "settings") is None
        cluster.heal()
        cluster.wait_until_equal()
        assert cluster.state == {"leader": {"settings": "mine"}, "n1": {"settings": "mine"}}
        cluster.delete("leader", "settings")
        cluster.kill("n1")
        with pytest.raises(LiveClusterError, match="no member 'n1' runs; those that do are leader"):
            cluster.read("n1", "settings")
        cluster.start("n1")
        cluster.wait_until_equal()
        assert cluster.read("n1", "settings") is None
        urls = [cluster.url(member) for member in cluster.members]
    assert len(urls) == 2
    for host, _, port in (url.removeprefix("http://").rpartition(":") for url in urls):
        with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port)), timeout=5):
            pass


@given(plan=plans(safety_s=10.0))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_plans_of_hypothesis_can_be_played_and_nothing_is_found(plan: Plan) -> None:
    assert Run.of(plan).verdict in ("ok", "unknown")
