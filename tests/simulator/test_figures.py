"""Pictures of runs: what they show, that they say what they leave out, and that nothing in them is taken for markup."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace
from syrupy.assertion import SnapshotAssertion

from pivot.types import JsonValue
from simulator import Plan, Run, Simulation, crash, delete, duplicate, heal, hold, isolate, lose, read, release, write
from simulator.errors import FigureError
from simulator.figures import (
    Picture,
    availability,
    divergence,
    key_strip,
    ledger,
    space_time,
    topology,
)
from simulator.figures.bars import cuts, faults, outages
from simulator.figures.divergence import measure
from simulator.figures.flights import flights
from simulator.figures.spacetime import BUNDLES_MAX, LANES_MAX
from simulator.world.trace import TraceEvent

HOSTILE = '<script>&"]]>$x_1$</script>'
DRAW: dict[str, Callable[[Run], Picture]] = {
    "space_time": space_time,
    "divergence": divergence,
    "key_strip": key_strip,
    "ledger": ledger,
    "availability": availability,
    "topology": lambda run: topology(run, 4.0),
}


@pytest.fixture(scope="module")
def run() -> Run:
    return (
        Simulation(nodes=3, seed=7)
        .at(1.0, write("leader", "settings", HOSTILE), write("n1", "users/ann", 1), read("n1", "settings"))
        .at(2.0, isolate("n1"))
        .at(3.0, write("n1", "settings", "b"), write("leader", "settings", "c"), delete("n1", "users/ann"))
        .at(3.5, lose(0.4), duplicate(0.5), crash("n2", for_s=2), write("n2", "settings", "refused"))
        .at(5.0, hold({"n3"}, {"leader"}), write("leader", "users/bob", 2))
        .at(6.0, release())
        .at(8.0, heal())
        .run(until=10, runtime="kernel")
    )


def texts(picture: Picture) -> str:
    return "\n".join(ElementTree.fromstring(picture.svg).itertext())


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_says_which_run_it_shows_and_is_the_same_each_time(name: str, run: Run) -> None:
    picture = DRAW[name](run)
    assert f"seed 7 · hash {run.hash[:12]} · pivot " in texts(picture)
    assert picture.svg.splitlines() == DRAW[name](run).svg.splitlines()
    assert "http-equiv" not in picture.svg
    assert "<image" not in picture.svg


@pytest.mark.parametrize("name", DRAW)
def test_values_are_text_and_never_markup(name: str, run: Run) -> None:
    picture = DRAW[name](run)
    tags = [element.tag.rsplit("}")[-1] for element in ElementTree.fromstring(picture.svg).iter()]
    assert "script" not in tags


def test_the_key_strip_shows_values_as_they_are(run: Run) -> None:
    value: dict[str, JsonValue] = {"long": 2, "$x_1$": "<b>"}
    short = Simulation(nodes=1, seed=1).at(0.1, write("n1", "settings", value)).run(until=9, runtime="kernel")
    assert '{"$x_1$":"<b>","long":2}' in texts(key_strip(short))


@pytest.mark.parametrize("name", ["divergence", "key_strip", "ledger", "availability"])
def test_charts_over_time_name_their_axes_with_units_and_mark_cut_heal_and_convergence(name: str, run: Run) -> None:
    said = texts(DRAW[name](run))
    for words in ("virtual time, s", "cut 2.0", "heal 8.0", f"converged {run.outcome.converged_s:.1f}"):
        assert words in said


def test_the_divergence_curve_ends_equal_and_was_not_equal_before(run: Run) -> None:
    found = measure(run)
    assert found[-1].states == 1
    assert found[-1].keys == 0
    at_four = [distance for distance in found if distance.at_s <= 4.0][-1]
    assert at_four.states == 2
    assert at_four.keys == 2
    assert 0 < at_four.stale_s <= 1.0


def test_every_copy_of_every_message_is_a_flight(run: Run) -> None:
    network = run.outcome.network
    found = flights(run.trace)
    fates = [flight.fate for flight in found]
    assert len(found) == network.sent + network.duplicated
    assert fates.count("lost") == sum(network.lost.values())
    assert "held" in fates
    assert "copy" in fates


def test_bars_say_what_was_cut_what_was_wrong_and_who_was_down(run: Run) -> None:
    assert [(bar.what, bar.begin_s, bar.end_s) for bar in cuts(run)] == [
        ("isolate n1", 2.0, 8.0),
        ("partition n3 | leader, how hold", 5.0, 6.0),
    ]
    assert [bar.what for bar in faults(run)] == ["weather loss 0.4", "weather duplication 0.5"]
    assert [(bar.member, bar.what, bar.end_s) for bar in outages(run)] == [("n2", "crashed", 5.5)]


def test_the_space_time_diagram_is_this_text(snapshot: SnapshotAssertion) -> None:
    run = (
        Simulation(nodes=1, seed=1)
        .at(1.0, isolate("n1", for_s=1.0), write("n1", "settings", 1))
        .run(until=2, runtime="kernel")
    )
    assert space_time(run, window=(0.9, 2.1)).svg.replace(run.hash[:12], "HASH") == snapshot


def test_a_window_shows_what_is_in_it_and_says_so_when_it_is_empty(run: Run) -> None:
    assert len(space_time(run, window=(2.5, 3.2)).svg) < len(space_time(run).svg)
    with pytest.raises(FigureError, match=r"the window 3 s to 2 s ends before it begins"):
        space_time(run, window=(3, 2))


def test_twenty_thousand_events_are_bundled_and_the_picture_says_so(run: Run) -> None:
    members = run.plan.members
    trace: list[TraceEvent] = []
    for number in range(10_000):
        src, dst = members[number % 4], members[(number + 1) % 4]
        at_ns = number * 1_000_000
        why = "loss" if number % 7 == 0 else ""
        trace += [
            TraceEvent(at_ns, 2 * number, "sent", src, dst, "page", "", 9, -1, b""),
            TraceEvent(at_ns + 2_000_000, 2 * number + 1, "lost" if why else "delivered", src, dst, "page", why, 9,
                       2 * number, b""),
        ]  # fmt: skip
    many = Run(run.plan, replace(run.outcome, trace=tuple(trace)))
    picture = space_time(many)
    assert len(picture.svg) < 2_000_000
    assert picture.svg.count("<path") < BUNDLES_MAX + 50
    assert "10,000 message copies; drawn as " in texts(picture)
    counted = [int(line.split()[0]) for line in texts(picture).splitlines() if " copies: " in line]
    single = texts(picture).count(" bytes")
    assert sum(counted) + single == 10_000


def test_more_members_than_lanes_share_the_last_one_and_the_picture_says_so() -> None:
    run = Simulation(nodes=40, seed=1).at(0.5, write("n40", "settings", 1)).run(until=1, runtime="kernel")
    assert f"{41 - LANES_MAX + 1} members share the last lane" in texts(space_time(run))


def test_a_run_without_a_trace_cannot_be_drawn_and_the_error_says_what_to_do(run: Run) -> None:
    bare = Run.of(run.plan)
    with pytest.raises(FigureError, match=r"kept none: use Run\.of\(run\.plan, keep_trace=True\)"):
        space_time(bare)
    assert "<svg" not in bare._repr_html_()
    assert bare._repr_svg_() is None
    assert ledger(bare).svg


def test_a_notebook_shows_the_diagram_with_the_run(run: Run) -> None:
    assert run._repr_svg_() == space_time(run).svg
    assert "<script>" not in run._repr_html_()


def test_what_members_knew_at_a_time_is_what_they_showed(run: Run) -> None:
    assert run.state_at(0.5) == {member: {} for member in run.plan.members}
    at_four = run.state_at(4.0)
    assert at_four["n1"] == {"settings": "b"}
    assert at_four["n2"] == {}
    assert at_four["leader"] == {"settings": "c", "users/ann": 1}
    assert run.state_at(run.outcome.ended_s) == run.state


def test_what_is_known_at_the_end_is_the_state_whatever_went_wrong() -> None:
    for seed in range(40):
        run = Run.of(Plan.draw(seed), keep_trace=True)
        known = run.state_at(run.outcome.ended_s)
        assert {member: table for member, table in known.items() if member in run.state} == run.state


def test_two_runs_differ_in_what_was_changed_and_in_what_came_of_it(run: Run) -> None:
    one, other = (
        Simulation(nodes=1, seed=1).at(1.0, write("n1", "settings", value)).run(until=2, runtime="kernel")
        for value in ("a", "<b>")
    )
    assert one.diff(one).same
    assert repr(one.diff(one)) == "the same run"
    said = repr(one.diff(other))
    assert 'settings of leader at the end: "a" | "<b>"' in said
    assert "event #" in said
    assert "&lt;b&gt;" in one.diff(other)._repr_html_()
    assert run.diff(one).left_out


def test_a_frame_has_a_row_per_operation(run: Run) -> None:
    frame = run.to_frame()
    assert len(frame) == len(run.outcome.records)
    assert list(frame.loc[frame["outcome"] == "fail", "code"]) == ["down"]
    assert set(frame["fate"]) <= {"", "won", "superseded", "gone", "lost"}


@pytest.mark.parametrize(
    ("module", "call", "says"),
    [
        ("matplotlib", "import simulator.figures as f; f.ledger(run)", "charts need matplotlib: pip install"),
        ("pandas", "run.to_frame()", "a table needs pandas: pip install pandas"),
    ],
)
def test_without_a_library_there_is_one_clear_sentence(module: str, call: str, says: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from simulator import Simulation, write\n"
        "run = Simulation(nodes=1).at(0.1, write('n1', 'settings', 1)).run(until=1)\n"
        f"{call}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().splitlines()[-1].startswith(f"simulator.errors.FigureError: {says}")


def test_what_was_saved_is_played_again_as_the_same_run(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    run.save(file)
    assert Run.load(file).hash == run.hash
