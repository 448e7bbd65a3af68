"""Pictures of more than one run: what they show, and that they are the same bytes wherever they are drawn."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from math import comb
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace
from syrupy.assertion import SnapshotAssertion

from simulator import Plan, Run, Simulation, crash, heal, isolate, write
from simulator.errors import BadPlanError, FigureError, NoCampaignError
from simulator.experiment.archive import Archive, Campaign
from simulator.experiment.examination import Symptom
from simulator.experiment.explanation import Entry, Shrunk
from simulator.experiment.sweep import CONFIDENCE, Axis, Quantile, Sweep, sweep
from simulator.experiment.trial import Task, Trial, try_seed
from simulator.figures import Picture, campaign, card, difference
from simulator.figures import sweep as draw_sweep

HOSTILE = '<script>&"]]>$x_1$</script>'


def texts(picture: Picture) -> str:
    return "\n".join(ElementTree.fromstring(picture.svg).itertext())


def story(value: str, *, heal_s: float = 4.0) -> Run:
    simulation = Simulation(nodes=1, seed=7).at(1.0, isolate("n1")).at(2.0, write("n1", "settings", value))
    return simulation.at(heal_s, heal()).run(until=5, runtime="kernel")


def cut_for(length_s: float, writes: float, seed: int) -> Plan:
    simulation = Simulation(nodes=2, seed=seed).at(1.0, isolate("n1"))
    simulation.at(1.0 + length_s / 2, *(write("n1", f"users/{number}", 1) for number in range(int(writes))))
    return simulation.plan(until=1.0 + length_s)


@pytest.fixture(scope="module")
def swept() -> Sweep:
    return sweep(cut_for, x=Axis("partition length, s", (2.0, 8.0)), y=Axis("writes", (1.0, 3.0)), seeds=range(4))


@pytest.fixture
def shrunk() -> Shrunk:
    plan = Simulation(nodes=2, seed=9).at(1.0, isolate("n1")).at(2.0, write("n1", "settings", HOSTILE)).plan(until=4)
    return Shrunk(
        plan=plan,
        symptom=Symptom("lost write", "settings"),
        sentence=f"the write of {HOSTILE} at n1 is gone",
        entries=(
            Entry("durability: full", "nothing goes wrong"),
            Entry("1 s  isolate n1", "nothing goes wrong"),
            Entry(f"2 s  n1: write settings = {HOSTILE}", ""),
        ),
        inevitable_s=2.5,
        steps_before=40,
        tries=12,
        seconds=1.5,
        hash="0123456789abcdef",
    )


DRAW: dict[str, Callable[[Sweep, Shrunk], Picture]] = {
    "sweep": lambda swept, _: draw_sweep(swept),
    "card": lambda _, shrunk: card(shrunk, "runs/latest/fail-000009.json"),
    "difference": lambda _, __: difference(story(HOSTILE), story("b")),
}


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_is_signed_is_the_same_each_time_and_takes_no_value_for_markup(
    name: str, swept: Sweep, shrunk: Shrunk
) -> None:
    picture = DRAW[name](swept, shrunk)
    assert re.search(r"seeds? \d.* · hash [0-9a-f]{12}.* · pivot \d", texts(picture))
    assert picture.svg == DRAW[name](swept, shrunk).svg
    assert "script" not in [element.tag.rsplit("}")[-1] for element in ElementTree.fromstring(picture.svg).iter()]
    assert picture.inline.startswith("<svg")


# Sweep ---------------------------------------------------------------------------------------------------------------


def test_every_cell_of_a_sweep_has_the_same_weather(swept: Sweep) -> None:
    same = sweep(cut_for, x=Axis("partition length, s", (8.0,)), y=Axis("writes", (3.0,)), seeds=range(4))
    assert same.cells[0] == swept.cell(8.0, 3.0)
    assert len(swept.cells) == 4
    assert not swept.late
    assert all(len(cell.times_s) == 4 for cell in swept.cells)


def test_a_sweep_without_a_run_is_refused() -> None:
    with pytest.raises(BadPlanError, match=r"sweep has 0 runs, allowed is 1 to 100000"):
        sweep(cut_for, x=Axis("a", ()), y=Axis("b", (1.0,)), seeds=range(4))


def test_a_sweep_says_how_sure_it_is(swept: Sweep) -> None:
    said = texts(draw_sweep(swept))
    assert "4 seeds, the same in every cell; bands: 95 % confidence" in said
    assert "where seeds are too few for an upper limit, it is the greatest time seen" in said


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (5, 0.5), (20, 0.5), (40, 0.95), (100, 0.95), (200, 0.95)])
def test_a_band_holds_the_quantile_as_often_as_it_says(count: int, share: float) -> None:
    found = Quantile.of([float(number) for number in range(1, count + 1)], share)
    low, high = int(found.low_s), int(found.high_s)  # samples by rank
    below = [comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]
    tail = (1 - CONFIDENCE) / 2
    assert low == 1 or sum(below[:low]) <= tail
    assert sum(below[: low + 1]) > tail
    assert found.open or sum(below[high:]) <= tail
    assert found.low_s <= found.value_s <= found.high_s


def test_the_median_of_twenty_lies_between_the_sixth_and_the_fifteenth() -> None:
    assert Quantile.of(range(1, 21), 0.5) == Quantile(10, 6, 15, open=False)


# Card ----------------------------------------------------------------------------------------------------------------


def test_the_card_is_this_text(shrunk: Shrunk, snapshot: SnapshotAssertion) -> None:
    assert card(shrunk, "runs/latest/fail-000009.json").svg == snapshot


def test_a_card_of_a_plan_of_many_members_says_how_many_it_shows(shrunk: Shrunk) -> None:
    plan = Simulation(nodes=30, seed=9).at(1.0, crash("n30")).plan(until=4)
    assert "12 of 31 members are shown" in texts(card(replace(shrunk, plan=plan)))


# Difference ----------------------------------------------------------------------------------------------------------


def test_a_difference_shows_both_where_they_part_and_what_is_other() -> None:
    said = texts(difference(story("a"), story("b", heal_s=4.5)))
    assert "one: ok" in said
    assert "other: ok" in said
    assert "they part 2.000" in said
    assert '2 s n1: write settings = "a"' in said
    assert texts(difference(story("a"), story("a"))).count("Two runs: the same") == 1


def test_a_difference_needs_the_traces_of_both() -> None:
    run = story("a")
    with pytest.raises(FigureError, match="kept none"):
        difference(run, Run.of(run.plan))


# Campaign ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    task = Task(nodes=2, nemeses=("partition",))
    archive = Archive.begin(tmp_path, "one", Campaign(seed=0, trials=4, task=task))
    for seed in (2, 0, 1):
        archive.add(try_seed(task, seed))
    archive.add(Trial.died(3, HOSTILE))
    return archive.folder


def test_a_campaign_page_has_the_report_and_what_faults_touched(folder: Path, tmp_path: Path) -> None:
    page = campaign(folder)
    page.save(tmp_path / "page.html")
    for said in (page._repr_html_(), (tmp_path / "page.html").read_text()):
        assert "what faults touched" in said
        assert "Potency of faults" in said
        assert "seeds 0 to 3 · hash " in said
        assert "<script>" not in said
    assert repr(page) == "<Campaign one: 1 failures; save(file) writes the page>"


def test_a_campaign_is_the_same_in_whichever_order_it_was_played(folder: Path, tmp_path: Path) -> None:
    other = Archive.begin(tmp_path, "other", Archive.load(folder).campaign)
    for trial in sorted(Archive.load(folder).trials(), key=lambda trial: trial.seed):
        other.add(trial)
    assert campaign(other.folder).picture == campaign(folder).picture


def test_a_folder_without_a_campaign_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoCampaignError, match=r"no campaign in .*: campaign\.json cannot be read: No such file"):
        campaign(tmp_path)


# The same bytes everywhere -------------------------------------------------------------------------------------------


ELSEWHERE = """
import sys
from hashlib import sha256
clutter = [bytearray(number) for number in range(int(sys.argv[1]))]  # other addresses
if int(sys.argv[1]):
    import matplotlib.style
    matplotlib.style.use(["dark_background", "ggplot"])
from simulator import Simulation, heal, isolate, write
from simulator.figures import availability, difference, divergence, key_strip, ledger, space_time, topology
run = Simulation(nodes=2, seed=7).at(1, isolate("n1"), write("n1", "settings", 1)).at(3, heal()).run(until=4)
charts = (availability, divergence, key_strip, ledger, lambda r: topology(r, 2), lambda r: difference(r, r))
for draw in (space_time, *charts):
    first = draw(run).svg
    assert all(draw(run).svg == first for _ in range(3))
    print(sha256(first.encode()).hexdigest())
"""


def test_pictures_are_the_same_bytes_in_other_processes_under_other_hash_seeds_and_styles() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE, clutter],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, clutter in (("1", "0"), ("2", "3000"))
    ]
    assert said[0].count("\n") == 7
    assert all(one == other for one, other in pairwise(said))
