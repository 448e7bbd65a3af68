"""Campaigns: every seed is tried once, whatever happens to workers, and what is known stays known."""

import json
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, final

import pytest

from simulator.commands.plans import shrink
from simulator.errors import NoCampaignError
from simulator.experiment import campaign
from simulator.experiment.archive import Archive, Campaign
from simulator.experiment.crew import Crew, Processes
from simulator.experiment.examination import Symptom
from simulator.experiment.plan import Plan
from simulator.experiment.planting import planted
from simulator.experiment.report import Report
from simulator.experiment.shrink import Bounds
from simulator.experiment.tally import Tally
from simulator.experiment.trial import Task, Trial, try_seed
from tests.e2e.processes import COMMAND, WAIT_S, clean_environment, eventually, pivot
from tests.simulator.bugs import DEADLY_SEED

SMALL = Task(nodes=1, nemeses=(), shrinking=Bounds(tries=30))
BUG = "tests.simulator.bugs:a_reset_is_ignored"
PLAN = Plan(seed=1, nodes=1, safety_s=1.0)


@final
class Threads:
    """A crew of one thread, which counts what it is given before it has answered."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self.closed = False
        self.under_way = self.most = 0

    def open(self) -> Executor:
        crew = self

        class Counting(ThreadPoolExecutor):
            def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
                crew.under_way += 1
                crew.most = max(crew.most, crew.under_way)
                future = super().submit(fn, *args, **kwargs)
                future.add_done_callback(lambda _: crew.answered())
                return future

        return Counting(1)

    def answered(self) -> None:
        self.under_way -= 1

    def abandon(self, executor: Executor) -> None:
        executor.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        self.closed = True


def quick(_task: Task, seed: int) -> Trial:
    """A trial that needs no run: every tenth fails."""
    failed = seed % 10 == 0
    return Trial(
        seed=seed,
        verdict="liveness" if failed else "ok",
        kinds={"crash": 2, "skew": 1},
        reached={"messages lost: down": seed % 2},
        potency={"crash": seed % 2, "skew": 0},
        symptom=Symptom("convergence", "settings") if failed else None,
        sentence="<b>n1</b> has | settings" if failed else "",
        plan=PLAN if failed else None,
    )


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setattr(campaign, "try_seed", quick)
    return Archive.begin(tmp_path / "runs", "now", Campaign(seed=5, trials=40, task=SMALL))


def run(archive: Archive, crew: Crew | None = None, on_trial: Callable[[Trial], None] = lambda _: None) -> None:
    known = dict.fromkeys(trial.seed for trial in archive.trials())
    archive.mend()
    campaign.run(archive, crew or Threads(), known=known.__contains__, on_trial=on_trial)


def test_every_seed_is_tried_once_and_what_failed_is_saved(begun: Archive) -> None:
    run(begun)
    trials = list(begun.trials())
    assert sorted(trial.seed for trial in trials) == list(range(5, 45))
    assert sorted(file.name for file in begun.folder.glob("fail-*")) == [f"fail-0000{n}.json" for n in (10, 20, 30, 40)]
    assert Plan.load(begun.plan_file(trials[5])) == PLAN
    assert (begun.folder.parent / "latest").resolve() == begun.folder.resolve()


def test_few_trials_are_under_way_at_a_time(begun: Archive) -> None:
    crew = Threads(size=3)
    run(begun, crew)
    assert crew.most <= 6
    assert crew.closed


def test_a_second_campaign_of_the_same_second_has_a_folder_of_its_own(tmp_path: Path) -> None:
    wanted = Campaign(seed=0, trials=1, task=SMALL)
    first, second = (Archive.begin(tmp_path, "now", wanted) for _ in range(2))
    assert (first.folder.name, second.folder.name) == ("now", "now-2")
    assert (tmp_path / "latest").readlink() == Path("now-2")


def test_an_interrupted_campaign_keeps_what_is_done_and_goes_on_where_it_was(begun: Archive) -> None:
    done: list[int] = []

    def interrupt(trial: Trial) -> None:
        done.append(trial.seed)
        if len(done) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(begun, on_trial=interrupt)
    kept = [trial.seed for trial in begun.trials()]
    assert kept[:7] == done[:7]
    assert len(kept) < 40
    with (begun.folder / "results.jsonl").open("ab") as results:
        results.write(b'{"seed": 44, "verd')  # the power failed
    again: list[int] = []
    run(Archive.load(begun.folder), on_trial=lambda trial: again.append(trial.seed))
    assert sorted([*kept, *again]) == list(range(5, 45))
    assert sorted(trial.seed for trial in begun.trials()) == list(range(5, 45))


def test_a_folder_that_holds_no_campaign_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(NoCampaignError, match="cannot be read"):
        Archive.load(tmp_path)
    (tmp_path / "campaign.json").write_text("{}")
    with pytest.raises(NoCampaignError, match="missing required field"):
        Archive.load(tmp_path)
    archive = Archive.begin(tmp_path, "now", Campaign(seed=0, trials=1, task=SMALL))
    (archive.folder / "results.jsonl").write_text('{"seed": "one"}\n')
    with pytest.raises(NoCampaignError, match="line 1"):
        list(archive.trials())


def test_a_worker_that_dies_is_reported_with_its_seed_and_the_campaign_goes_on(tmp_path: Path) -> None:
    task = Task(nodes=1, nemeses=(), bug="tests.simulator.bugs:one_seed_kills_its_worker")
    archive = Archive.begin(tmp_path, "now", Campaign(seed=0, trials=6, task=task))
    campaign.run(archive, Processes(2), known=lambda _: False, on_trial=lambda _: None)
    trials = {trial.seed: trial for trial in archive.trials()}
    assert sorted(trials) == list(range(6))
    dead = trials.pop(DEADLY_SEED)
    assert (dead.verdict, dead.sentence) == ("crash", "the worker that played it died")
    assert {trial.verdict for trial in trials.values()} == {"ok"}


def test_a_worker_that_fails_is_reported_with_its_seed(begun: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(task: Task, seed: int) -> Trial:
        if seed == 9:
            raise MemoryError("no more")
        return quick(task, seed)

    monkeypatch.setattr(campaign, "try_seed", fail)
    run(begun)
    wrong = [trial for trial in begun.trials() if trial.verdict == "crash"]
    assert [(trial.seed, trial.sentence) for trial in wrong] == [
        (9, "the worker that played it failed: MemoryError: no more")
    ]


def test_a_run_that_is_another_one_when_played_again_is_called_that() -> None:
    task = Task(nodes=2, nemeses=("crash",), bug="tests.simulator.leaks:clock_and_a_bug")
    trial = try_seed(task, 3)
    assert trial.verdict == "nondeterminism"
    assert trial.sentence.startswith("two runs of the plan differ: event ")


def test_what_faults_did_is_counted_by_kind() -> None:
    tally = Tally()
    for seed in range(10):
        tally.add(quick(SMALL, seed))
    crash, skew = tally.potency()
    assert (crash.kind, crash.used, crash.plans, crash.potent, crash.effect) == ("crash", 20, 10, 5, 5)
    assert (skew.kind, skew.potent) == ("skew", 0)


def test_a_report_shows_everything_and_escapes_it(begun: Archive) -> None:
    run(begun)
    report = Report.of(begun)
    html, markdown = report.html(), report.markdown()
    assert "&lt;b&gt;n1&lt;/b&gt; has | settings" in html
    assert "<b>" not in html
    assert "src=" not in html
    assert "href=" not in html
    assert "| crash | 40 | 80 | 20 | 20 | 20 |" in markdown
    assert "    <b>n1</b> has | settings" in markdown  # a block of code
    for text in (html, markdown):
        assert "seeds 5 to 44" in text
        assert f"pivot sim replay {begun.plan_file(quick(SMALL, 10))}" in text


def test_a_planted_bug_is_found_saved_and_reported(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    what = ("--trials", "1", "--seed", "3", "--nodes", "2", "--nemesis", "crash", "--plant", BUG)
    code, out, err = in_repository("sim", "fuzz", *what, "--no-shrink", "--workers", "1", "--runs", str(runs))
    assert (code, out) == (1, "1 plans, seeds 3 to 3: 1 failures\n"), err
    file = (runs / "latest").resolve() / "fail-000003.json"
    assert "FAIL seed=3  convergence: " in err
    assert f"reproduce:  pivot sim replay {file}" in err
    assert in_repository("sim", "replay", str(file))[0] == 0, "without the bug all is well"
    code, out, err = in_repository("sim", "report", str(runs / "latest"))
    assert code == 0, err
    assert "<h2>Failures</h2>" in Path(out.strip()).read_text()


def test_a_failing_plan_in_a_file_is_shrunk_and_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "plan.json", tmp_path / "small.json"
    file.write_bytes(Task(nodes=2, nemeses=("crash",)).plan(3).to_json())
    assert shrink(file, out=out, tries=25, seconds=60.0, runtime="kernel", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "ok"
    with planted(BUG):
        assert shrink(file, out=out, tries=25, seconds=60.0, runtime="kernel", as_json=True) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["checker"] == "convergence"
    assert said["events"]["after"] == len(Plan.load(out).steps) < said["events"]["before"]
    assert said["replay"] == f"pivot sim replay {out}"


def test_ctrl_c_ends_a_campaign_with_130_and_keeps_what_is_done(tmp_path: Path) -> None:
    command = [*COMMAND, "sim", "fuzz", "--trials", "100000", "--nodes", "1", "--workers", "1", "--runs", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment()) as process:
        try:
            results = tmp_path / "latest" / "results.jsonl"
            eventually(lambda: results.exists() and results.read_bytes().endswith(b"\n"))
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "pivot sim fuzz --resume" in err
    assert list(Archive.load(tmp_path / "latest").trials())


def test_workers_end_when_their_campaign_is_killed(tmp_path: Path) -> None:
    command = [*COMMAND, "sim", "fuzz", "--trials", "100000", "--nodes", "1", "--workers", "1", "--runs", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=clean_environment()) as process:
        try:
            eventually((tmp_path / "latest" / "results.jsonl").exists)
            workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        finally:
            process.kill()
    assert workers
    eventually(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fuzz", "--trials", "0"), "trials is 0, it must be at least 1"),
        (("fuzz", "--nemesis", "storm"), "nemesis is 'storm'"),
        (("fuzz", "--resume", "nowhere"), "no campaign in nowhere"),
        (("report", "nowhere"), "no campaign in nowhere"),
        (("replay", "nowhere.json"), "nowhere.json cannot be read"),
        (("shrink", "nowhere.json"), "nowhere.json cannot be read"),
        (("run", "--nodes", "0"), "nodes is 0"),
        (("determinism", "--seeds", "0"), "seeds is 0"),
    ],
)
def test_what_cannot_be_is_a_matter_of_usage(arguments: tuple[str, ...], said: str) -> None:
    code, out, err = pivot("sim", *arguments)
    assert (code, out) == (2, "")
    assert said in err


def in_repository(*arguments: str) -> tuple[int, str, str]:
    """Run a command whose processes can import tests."""
    return pivot(*arguments, environment={"PYTHONPATH": str(Path(__file__).parents[2])})


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_dask_cluster_plays_a_campaign(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    from simulator.experiment.crew import Dask

    archive = Archive.begin(tmp_path, "now", Campaign(seed=0, trials=20, task=SMALL))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        crew = Dask(cluster.scheduler_address)
        campaign.run(archive, crew, known=lambda _: False, on_trial=lambda _: None)
    assert {trial.seed: trial.hash for trial in archive.trials()} == {
        seed: try_seed(SMALL, seed).hash for seed in range(20)
    }


@pytest.mark.long
def test_a_dask_cluster_that_is_not_there_is_unreachable() -> None:
    pytest.importorskip("distributed")
    code, _, err = pivot("sim", "fuzz", "--dask", "tcp://127.0.0.1:1")
    assert code == 3
    assert "no Dask cluster at tcp://127.0.0.1:1" in err
