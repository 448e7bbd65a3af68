"""Plugin for pytest: the fixtures `simulate` and `cluster`, and what a failure leaves behind.

Layer: simulator (edge). pytest loads it in every project that has this package installed, so nothing is imported before
a test asks for it. What `simulate` does is in `simulator.experiment.testing`.
"""

import inspect
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from simulator.experiment.plan import Durability
    from simulator.experiment.testing import Simulate
    from simulator.live.running import Running

_OUTPUT = "pivot-failures"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("pivot", "simulated clusters")
    group.addoption("--pivot-seed", type=int, default=0, help="seed of the first trial of tests that use `simulate`")
    group.addoption("--pivot-trials", type=int, default=1, help="how many trials they have, each with the next seed")
    group.addoption("--pivot-output", type=Path, default=Path(_OUTPUT), help="folder for what failures leave behind")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that uses `simulate` a trial per seed."""
    if "simulate" in metafunc.fixturenames:
        first: int = cast("int", metafunc.config.getoption("--pivot-seed"))
        trials: int = cast("int", metafunc.config.getoption("--pivot-trials"))
        if trials < 1:
            raise pytest.UsageError(f"--pivot-trials is {trials}, it must be at least 1")
        seeds = range(first, first + trials)
        metafunc.parametrize("simulate", seeds, ids=[f"seed={seed}" for seed in seeds], indirect=True)


@pytest.fixture
def simulate(request: pytest.FixtureRequest) -> "Simulate":
    """Play a simulation with this trial's seed, or a plan as it is; fails the test when a checker finds anything."""
    from simulator.experiment.testing import Simulate

    return Simulate(request.param)


@pytest.fixture
def cluster() -> "Generator[Callable[..., Running], None, None]":
    """Start real members on this machine: `cluster(nodes=2)`, as in `Simulation`; the test leaves nothing running."""
    from simulator import Simulation
    from simulator.live.running import running

    with ExitStack() as stack:

        def start(
            *, nodes: int = 2, keys: tuple[str, ...] = ("settings", "users/*"), durability: "Durability" = "memory"
        ) -> "Running":
            return stack.enter_context(
                running(Simulation(nodes=nodes, keys=keys, durability=durability).plan(until=0.0))
            )

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what a failed test has played, and say where."""
    report = yield
    fixtures: dict[str, Any] = getattr(item, "funcargs", {})
    simulated = fixtures.get("simulate")
    if call.when == "call" and report.failed and simulated is not None and call.excinfo is not None:
        from simulator.experiment.testing import keep

        folder = item.config.rootpath / cast("Path", item.config.getoption("--pivot-output"))
        test = getattr(item, "obj", None)
        again = None if test is None else _again(test, fixtures)
        report.sections.append(("pivot", "\n".join(keep(simulated, folder, item.nodeid, call.excinfo.value, again))))
    return report


def _again(test: Callable[..., object], fixtures: dict[str, Any]) -> Callable[["Simulate"], object]:
    """The test as a function of the fixture, with whatever else it was given."""
    names = [name for name in inspect.signature(test).parameters if name in fixtures and name != "simulate"]
    others = {name: fixtures[name] for name in names}
    return lambda simulate: test(simulate=simulate, **others)
