"""Every kind of fault that a plan can have is seen to do something, and nothing else goes wrong by it."""

from itertools import pairwise, permutations

import pytest

from pivot.config import Knobs
from simulator import (
    Plan,
    Run,
    Simulation,
    Wire,
    backup,
    burden,
    confirm,
    corrupt,
    crash,
    cut_one_way,
    delete,
    disk,
    draw,
    drift,
    duplicate,
    flap,
    freeze,
    heal,
    hold,
    isolate,
    join,
    jump,
    lose,
    partition,
    pause,
    promote,
    push,
    read,
    release,
    replace,
    restart,
    restore,
    resume,
    rolling_restart,
    rot,
    settle,
    skew,
    slow,
    stop,
    swizzle,
    throttle,
    wipe,
    write,
)
from simulator.errors import BadPlanError
from simulator.experiment.draw import NEMESES
from simulator.experiment.operations import Operation
from simulator.experiment.plan import Step
from simulator.world.chance import START_NS
from simulator.world.latency import ConstantLatency
from simulator.world.link import Conditions

FAULTS: dict[str, Operation] = {
    "wipe": wipe("n1"),
    "pause": pause("n1"),
    "resume": resume("n1"),
    "disk": disk("n1", slow_s=0.1, fail=0.5),
    "confirm": confirm("leader"),
    "read": read("n1", "settings"),
}
TAGS = {
    "partition": ("partition", "isolate", "cut_links"),
    "hold": ("partition", "isolate", "cut_links"),
    "reset": ("partition", "isolate", "cut_links"),
    "one_way": ("cut_one_way",),
    "ring": ("ring", "isolate"),
    **dict.fromkeys(("slow", "lose", "duplicate", "reorder", "corrupt", "throttle"), ("weather",)),
    "weather": ("conditions",),
    "edges": ("conditions",),
    "rolling": ("rolling_restart",),
    "leader": ("isolate", "crash", "wipe"),
    "mesh": ("cut_links",),
    "sync": ("disk",),
    "lies": ("disk",),
    "join": (),  # adds no trouble of its own
    "collect": (),
    "knobs": (),
}
"""Kind of fault, as it is drawn -> kinds of operations that it may consist of, where they are called otherwise."""


@pytest.mark.parametrize("kind", NEMESES)
def test_a_drawn_fault_touches_something_and_nothing_is_lost_by_it(kind: str) -> None:
    touched, tags = 0, TAGS.get(kind, (kind,))
    for seed in range(8):
        run = Run.of(draw(seed, nodes=2, nemeses=(kind,), all_on=True))
        assert run.verdict in {"ok", "unknown"}, run
        felt = sum(run.outcome.potency.get(tag, 0) for tag in tags)
        assert run.verdict == ("ok" if any(run.outcome.potency.values()) or not run.outcome.potency else "unknown")
        touched += felt
        if kind == "collect":
            touched += run.outcome.reached.get("tombstones collected", 0)
        if touched:
            break
    assert touched > 0 or kind in {"join", "knobs"}


def test_a_plan_whose_faults_touched_nothing_is_unknown_and_one_without_faults_is_ok() -> None:
    def play(*faults: Operation) -> Run:
        return Simulation(nodes=1, seed=1).at(0.5, write("n1", "settings", 1)).at(2, *faults).run(until=3)

    assert play().verdict == "ok"
    assert play(heal()).verdict == "ok"
    nothing = play(lose(0.0), disk("n1", full=True), skew("n1", 60.0))  # nobody asks, and nothing is kept on a disk
    assert nothing.verdict == "unknown"
    assert nothing.outcome.potency == {"disk": 0, "skew": 0, "weather": 0}
    assert play(lose(0.0), isolate("n1")).verdict == "ok"


@pytest.mark.parametrize("kind", FAULTS)
def test_a_plan_is_the_same_after_a_trip_through_json(kind: str) -> None:
    plan = Plan(seed=1, nodes=1, steps=(Step(1.0, FAULTS[kind]),), safety_s=2.0)
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ('"do": "pause",\n    "member": "n1"', '"do": "pause",\n    "member": "n7"', "steps[0].operation"),
        ('"fail": 0.5', '"fail": 1.5', "steps[1].operation.trouble"),
        ('"full": true', '"full": 3', "steps[1].operation.trouble.full"),
        ('"confirm",\n    "member": "leader"', '"confirm",\n    "member": "n1"', "steps[2].operation.member"),
        ('"do": "read"', '"do": "reed"', "steps[3].operation.do"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_its_path(old: str, new: str, path: str) -> None:
    steps = (pause("n1"), disk("n1", fail=0.5, full=True), confirm("leader"), read("n1", "settings"))
    plan = Plan(seed=1, nodes=1, steps=tuple(Step(1.0, step) for step in steps), safety_s=2.0)
    text = plan.to_json().decode()
    assert old in text
    with pytest.raises(BadPlanError) as refused:
        Plan.from_json(text.replace(old, new, 1).encode())
    assert refused.value.path == path


def test_a_stopped_member_answers_when_it_goes_on_and_its_clocks_went_on() -> None:
    run = (
        Simulation(nodes=1, seed=3)
        .at(0.5, write("leader", "settings", "old"))
        .at(1.0, settle())
        .at(1.5, pause("n1"))
        .at(2.0, read("n1", "settings"), write("n1", "settings", "asked while it was stopped"))
        .at(3.0, write("leader", "settings", "meanwhile"))
        .at(5.0, resume("n1"))
        .run(until=6)
    )
    assert run.verdict == "ok", run
    first, second = (record for record in run.outcome.records if record.member == "n1")
    assert (first.value, first.answered_s) == ("old", pytest.approx(5.0, abs=0.2))
    assert second.answered_s == pytest.approx(5.0, abs=0.2)
    assert run.state["leader"]["settings"] == "asked while it was stopped"
    assert run.outcome.reached["events held by stopped processes"] > 3


def test_a_member_that_is_killed_while_it_is_stopped_starts_again() -> None:
    run = (
        Simulation(nodes=1, seed=4, durability="full")
        .at(0.5, write("n1", "settings", 1))
        .at(1.5, pause("n1"))
        .at(2.0, write("n1", "settings", 2), crash("n1"))
        .at(3.0, restart("n1"))
        .at(4.0, write("n1", "settings", 3))
        .run(until=5)
    )
    assert run.verdict == "ok", run
    assert [record.outcome for record in run.outcome.records] == ["ok", "info", "ok"]


def test_a_member_that_is_stopped_when_a_fault_ends_it_all_goes_on() -> None:
    run = Simulation(nodes=1, seed=5).at(0.5, pause("leader")).at(1.0, push("n1", "users/*", 1)).run(until=2)
    assert run.converged
    assert len(run.state["leader"]) == 1


def test_a_wiped_node_refills_and_what_only_it_had_is_gone_not_lost() -> None:
    run = (
        Simulation(nodes=1, seed=6, durability="full")
        .at(0.5, write("leader", "settings", "kept"))
        .at(1.0, settle())
        .at(1.5, isolate("n1"))
        .at(2.0, write("n1", "users/only-here", 1))
        .at(2.5, wipe("n1"))
        .at(3.0, restart("n1"))
        .run(until=4)
    )
    assert run.verdict == "ok", run
    assert [line.fate for line in run.ledger] == ["won", "gone"]
    assert run.state["n1"] == {"settings": "kept"}


def test_what_a_lying_disk_takes_is_gone_not_lost_and_only_when_it_lied() -> None:
    fates: dict[bool, list[str]] = {}
    for lies in (False, True):
        for seed in range(20):
            run = (
                Simulation(nodes=1, seed=seed, durability="full")
                .at(0.5, isolate("n1"), disk("n1", lies=lies))
                .at(1.0, write("n1", "users/a", 1), write("n1", "users/b", 2))
                .at(1.5, write("n1", "users/c", 3))
                .at(2.0, crash("n1"))
                .run(until=3)
            )
            assert run.verdict == "ok", run
            fates.setdefault(lies, []).extend(line.fate for line in run.ledger)
    assert set(fates[False]) == {"won"}
    assert set(fates[True]) == {"won", "gone"}


def test_tombstones_end_when_the_operator_says_that_all_followers_are_known() -> None:
    tables: list[int] = []
    for known in (False, True):
        simulation = Simulation(nodes=2, seed=8, durability="full", knobs=quick())
        simulation.at(0.5, write("leader", "users/a", 1)).at(2.0, delete("n1", "users/a"))
        if known:
            simulation.at(1.0, confirm("leader"))
        simulation.at(9.0, write("leader", "settings", 1))
        run = simulation.run(until=10)
        assert run.verdict == "ok", run
        tables.append(len(run.outcome.tables["leader"]))
    assert tables == [2, 1]


def quick() -> Knobs:
    return Knobs(collect_s=1.0)


def test_a_clock_an_hour_ahead_has_its_writes_written_again_when_it_is_right() -> None:
    run = (
        Simulation(nodes=1, seed=9)
        .at(0.5, skew("n1", 3600.0))
        .at(1.0, write("n1", "users/a", 1))
        .at(2.0, skew("n1", 0.0))
        .run(until=3)
    )
    assert run.verdict == "ok", run
    assert run.outcome.reached["versions rejected"] >= 1
    assert run.outcome.reached["versions written again"] == 1
    assert [line.fate for line in run.ledger] == ["won"]


def test_a_cut_that_holds_lets_everything_go_on_when_it_is_released() -> None:
    run = (
        Simulation(nodes=1, seed=1)
        .at(0.5, write("leader", "settings", "old"))
        .at(1.0, hold({"leader"}, {"n1"}))
        .at(1.5, write("leader", "settings", "held"), write("n1", "users/a", 1))
        .at(2.5, read("n1", "settings"))
        .at(3.0, release())
        .at(3.1, read("n1", "settings"))
        .run(until=4)
    )
    assert run.verdict == "ok", run
    assert run.reads == ("old", "held")
    assert run.outcome.reached["messages held"] >= 2
    assert "messages lost: cut" not in run.outcome.reached
    assert run.outcome.potency["partition"] == run.outcome.reached["messages held"]


def test_a_request_whose_answer_is_lost_is_repeated_and_counts_once() -> None:
    run = (
        Simulation(nodes=1, seed=2)
        .at(1.0, cut_one_way(["leader"], ["n1"], for_s=8.0))
        .at(1.1, push("n1", "users/*", "once"))
        .run(until=10)
    )
    assert run.verdict == "ok", run
    assert len(run.state["leader"]) == 1
    pushes = [event for event in run.trace if event.kind == "delivered" and event.label == "push"]
    assert len(pushes) >= 2
    assert run.outcome.potency["cut_one_way"] >= 2


def test_a_cut_that_resets_is_noticed_at_once_and_one_that_drops_only_by_silence() -> None:
    greetings: dict[str, float] = {}
    for how in ("drop", "reset"):
        cut = isolate("n1", for_s=0.01, how="reset" if how == "reset" else "drop")
        run = Simulation(nodes=1, seed=3).at(2.0, cut).run(until=4)
        hellos = [event.time_ns / 1e9 for event in run.trace if event.kind == "sent" and event.label == "hello"]
        greetings[how] = min(at_s for at_s in hellos if at_s > 2.0)
    assert greetings["reset"] < 3.5 < greetings["drop"]


def test_a_link_that_flaps_is_cut_and_healed_in_its_period_and_stops_when_it_ends() -> None:
    steady = flap(isolate("n1"), period_s=0.5, duty=0.2, for_s=2.0)
    run = Simulation(nodes=1, seed=4).at(1.0, steady).run(until=5)
    cuts = [event.time_ns / 1e9 for event in run.trace if event.kind == "cut" and event.member == "n1"]
    heals = [event.time_ns / 1e9 for event in run.trace if event.kind == "healed" and event.member == "n1"]
    assert cuts == pytest.approx([1.0, 1.5, 2.0, 2.5])
    assert heals == pytest.approx([1.1, 1.6, 2.1, 2.6])
    loose = flap(isolate("n1"), period_s=0.5, jitter=0.5, for_s=2.0)
    run = Simulation(nodes=1, seed=4).at(1.0, loose).run(until=5)
    cuts = [event.time_ns / 1e9 for event in run.trace if event.kind == "cut" and event.member == "n1"]
    gaps = [after - before for before, after in pairwise(cuts)]
    assert len({round(gap, 6) for gap in gaps}) == len(gaps)
    assert all(0.25 <= gap <= 0.75 for gap in gaps)


def test_a_swizzle_cuts_members_off_in_one_order_and_lets_them_back_in_another() -> None:
    run = Simulation(nodes=3, seed=5).at(1.0, swizzle(["n1", "n2", "n3"], ["n2", "n3", "n1"], gap_s=0.5)).run(until=6)
    order = [(event.kind, event.member, event.time_ns / 1e9) for event in run.trace if event.peer == "leader"]
    assert [(kind, member) for kind, member, _ in order if kind in {"cut", "healed"}] == [
        ("cut", "n1"),
        ("cut", "n2"),
        ("cut", "n3"),
        ("healed", "n2"),
        ("healed", "n3"),
        ("healed", "n1"),
    ]
    assert run.outcome.potency["swizzle"] > 0


def test_two_cuts_of_one_link_end_each_by_itself() -> None:
    run = (
        Simulation(nodes=1, seed=6)
        .at(1.0, isolate("n1", for_s=3.0), partition({"leader"}, {"n1"}, for_s=1.0))
        .at(2.5, write("leader", "settings", 1))
        .at(3.9, read("n1", "settings"))
        .at(5.5, read("n1", "settings"))
        .run(until=7)
    )
    assert run.reads == (None, 1)


def test_a_corrupted_message_is_refused_by_the_codec_and_counted_and_nothing_wrong_is_kept() -> None:
    run = (
        Simulation(nodes=1, seed=7)
        .at(0.5, corrupt(0.5, for_s=8.0))
        .at(1.0, *(write("n1", f"users/{number}", {"n": number}) for number in range(20)))
        .run(until=9)
    )
    assert run.verdict == "ok", run
    assert run.outcome.network.corrupted > 0
    assert run.outcome.reached["messages refused by the codec"] == run.outcome.network.corrupted
    assert run.state["leader"] == run.state["n1"]
    assert len(run.state["leader"]) == 20


def test_weather_may_change_at_any_time_and_ends_by_itself() -> None:
    far = ConstantLatency(base_s=1.0)
    run = (
        Simulation(nodes=1, seed=8)
        .at(1.0, slow(far, ["leader"], ["n1"], for_s=2.0), duplicate(1.0, ["leader"], ["n1"], for_s=2.0))
        .at(2.0, write("leader", "settings", 1))
        .at(2.9, read("n1", "settings"))
        .at(3.5, read("n1", "settings"), write("leader", "settings", 2))
        .at(3.6, read("n1", "settings"))
        .run(until=5)
    )
    assert run.verdict == "ok", run
    assert run.reads == (None, 1, 2)
    assert run.outcome.network.duplicated > 0


def test_big_values_over_a_narrow_link_take_their_time_and_arrive() -> None:
    big = "x" * 50_000
    run = (
        Simulation(nodes=1, seed=9)
        .at(0.5, throttle(20_000.0))
        .at(1.0, write("leader", "settings", big))
        .at(3.0, read("n1", "settings"))
        .at(5.0, read("n1", "settings"))
        .run(until=6)
    )
    assert run.verdict == "ok", run
    assert run.reads == (None, big)


def test_links_of_one_topology_may_have_weather_of_their_own() -> None:
    far = Conditions(latency=ConstantLatency(base_s=1.0))
    links = tuple(Wire(*link, far if "n2" in link else None) for node in ("n1", "n2") for link in _both(node))
    plan = Plan(seed=1, nodes=2, links=links, steps=(Step(5.0, write("leader", "settings", 1)),), safety_s=8.0)
    run = Run.of(plan, keep_trace=True)
    assert run.verdict == "ok", run
    (first,) = {e.time_ns for e in run.trace if e.kind == "delivered" and e.label == "page" and e.peer == "n1"}
    (second,) = {e.time_ns for e in run.trace if e.kind == "delivered" and e.label == "page" and e.peer == "n2"}
    assert (second - first) / 1e9 == pytest.approx(1.0, abs=0.01)


def _both(node: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (("leader", node), (node, "leader"))


# Processes -----------------------------------------------------------------------------------------------------------


def test_a_member_that_is_stopped_in_good_order_loses_nothing_and_one_that_crashes_may() -> None:
    lost: dict[str, int] = {}
    for how, end in (("stop", stop("n1", for_s=1.0)), ("crash", crash("n1", for_s=1.0))):
        for seed in range(10):
            run = (
                Simulation(nodes=1, seed=seed, durability="normal")
                .at(0.5, isolate("n1"))
                .at(1.0, *(write("n1", f"users/{number}", number) for number in range(3)))
                .at(1.3, write("n1", "settings", 1))
                .at(1.6, end)
                .run(until=4)
            )
            assert run.verdict == "ok", run
            lost[how] = lost.get(how, 0) + run.outcome.reached.get("versions gone", 0)
    assert lost["stop"] == 0 < lost["crash"]


def test_a_rolling_restart_takes_one_member_after_another() -> None:
    run = Simulation(nodes=2, seed=1).at(1.0, rolling_restart("n1", "n2", "leader", down_s=0.4, gap_s=0.1)).run(until=4)
    order = [(event.kind, event.member) for event in run.trace if event.kind in {"stopped", "started"}][3:]
    assert order == [(kind, member) for member in ("n1", "n2", "leader") for kind in ("stopped", "started")]
    assert run.outcome.potency == {"rolling_restart": 3}


def test_a_replaced_member_is_another_store_under_the_same_address() -> None:
    run = (
        Simulation(nodes=1, seed=2, durability="full")
        .at(0.5, write("leader", "settings", 1))
        .at(2.0, replace("n1"))
        .at(3.0, read("n1", "settings"), write("n1", "users/a", 2))
        .run(until=4)
    )
    assert run.verdict == "ok", run
    assert run.reads == (1,)
    assert len({each.store for each in run.outcome.observations.sightings if each.member == "n1"}) == 2


def test_a_member_that_joins_late_is_not_there_before_and_gets_everything() -> None:
    run = (
        Simulation(nodes=2, seed=3)
        .at(0.5, write("leader", "settings", 1), write("n2", "users/a", 1))
        .at(3.0, join("n2"))
        .at(4.0, read("n2", "settings"), write("n2", "users/b", 2))
        .run(until=5)
    )
    assert run.verdict == "ok", run
    assert [record.code for record in run.refused] == ["down"]
    assert run.reads == (1,)
    assert run.state["leader"] == {"settings": 1, "users/b": 2}


def test_a_leader_that_is_restored_from_an_old_copy_gets_back_what_its_nodes_have() -> None:
    run = (
        Simulation(nodes=1, seed=4, durability="full")
        .at(0.5, write("leader", "settings", "old"))
        .at(1.0, backup("leader"))
        .at(2.0, write("leader", "settings", "new"), write("n1", "users/a", 1))
        .at(3.0, settle())
        .at(3.1, isolate("n1"), write("leader", "users/only-here", 1))
        .at(3.5, restore("leader"))
        .at(3.6, read("leader", "settings"))
        .at(3.7, heal())
        .run(until=6)
    )
    assert run.verdict == "ok", run
    assert run.reads == ("old",)
    assert run.state["leader"] == run.state["n1"] == {"settings": "new", "users/a": 1}
    assert [line.fate for line in run.ledger] == ["superseded", "won", "won", "gone"]


def test_another_member_leads_after_a_promotion_and_the_old_leader_follows_when_it_is_back() -> None:
    members = ("leader", "n1", "n2")
    links = tuple(Wire(src, dst) for src, dst in permutations(members, 2))
    steps = (
        (0.5, write("leader", "settings", "old")),
        (2.0, crash("leader")),
        (2.1, write("n2", "users/a", "while nobody led")),
        (3.0, promote("n1")),
        (4.0, write("n1", "settings", "of the new leader")),
        (6.0, read("n2", "settings")),
        (7.0, restart("leader")),
        (9.0, read("leader", "users/a")),
    )
    plan = Plan(
        seed=5, nodes=2, durability="full", links=links, steps=tuple(Step(*step) for step in steps), safety_s=10.0
    )
    run = Run.of(plan)
    assert run.verdict == "ok", run
    assert run.outcome.leader == "n1"
    assert run.reads == ("of the new leader", "while nobody led")
    assert len({tuple(sorted(table)) for table in run.state.values()}) == 1


def test_a_slow_processor_answers_late_and_in_order() -> None:
    run = (
        Simulation(nodes=1, seed=6)
        .at(1.0, burden("n1", 0.1, for_s=3.0))
        .at(2.0, *(write("n1", "settings", number) for number in range(5)))
        .at(6.0, write("n1", "users/a", 1))
        .run(until=7)
    )
    assert run.verdict == "ok", run
    answered = [record.answered_s or 0.0 for record in run.outcome.records]
    assert answered[:5] == sorted(answered[:5])
    assert answered[0] >= 2.1
    assert answered[-1] < 6.01
    assert run.state["leader"]["settings"] == 4
    assert run.outcome.potency["burden"] > 5


# Disks ---------------------------------------------------------------------------------------------------------------


def test_bit_rot_is_noticed_when_the_store_is_opened_and_the_member_refills() -> None:
    run = (
        Simulation(nodes=1, seed=1, durability="full")
        .at(0.5, write("leader", "settings", 1))
        .at(2.0, rot("n1"))
        .at(2.5, read("n1", "settings"))
        .at(3.0, crash("n1", for_s=0.5))
        .at(5.0, read("n1", "settings"))
        .run(until=6)
    )
    assert run.verdict == "ok", run
    assert run.reads == (1, 1)
    assert run.outcome.reached["commits rotten"] == 1
    assert run.outcome.potency == {"crash": 1, "rot": 1}


def test_a_commit_whose_fsync_failed_is_refused_and_a_crash_may_bring_it_back() -> None:
    back = 0
    for seed in range(20):
        run = (
            Simulation(nodes=1, seed=seed, durability="full")
            .at(0.5, isolate("n1"), disk("n1", fail_sync=1.0))
            .at(1.0, write("n1", "settings", 1))
            .at(2.0, crash("n1"))
            .at(2.1, disk("n1"), restart("n1"))
            .at(3.0, read("n1", "settings"))
            .run(until=4)
        )
        assert run.verdict == "ok", run
        assert run.refused
        back += run.reads == (1,)
    assert 0 < back < 20


# Clocks --------------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_off_drifts_jumps_or_stands_still_stamps_accordingly() -> None:
    def ahead_s(*faults: Operation) -> float:
        run = Simulation(nodes=1, seed=1).at(1.0, *faults).at(11.0, write("n1", "settings", 1)).run(until=12)
        assert run.verdict in {"ok", "unknown"}, run
        (stamp,) = run.outcome.records[0].changes.values()
        return (stamp - START_NS) / 1e9 - 11.0

    assert ahead_s(skew("n1", 5.0)) == pytest.approx(5.0)
    assert ahead_s(drift("n1", 50_000.0)) == pytest.approx(0.5)
    assert ahead_s(drift("n1", 50_000.0, for_s=5.0)) == pytest.approx(0.0)
    assert ahead_s(jump("n1", -3.0), jump("n1", 1.0)) == pytest.approx(-2.0)
    assert ahead_s(freeze("n1")) == pytest.approx(-10.0)
    assert ahead_s(jump("n1", 7.0), drift("n1", -100.0)) == pytest.approx(6.999)


def test_writes_of_a_clock_that_stands_still_have_stamps_of_their_own() -> None:
    run = (
        Simulation(nodes=1, seed=2)
        .at(0.5, freeze("n1"))
        .at(1.0, write("n1", "settings", 1))
        .at(2.0, write("n1", "settings", 2))
        .at(3.0, delete("n1", "settings"))
        .run(until=4)
    )
    assert run.verdict == "ok", run
    stamps = [stamp for record in run.outcome.records for stamp in record.changes.values()]
    assert stamps == sorted(set(stamps))
    assert run.outcome.potency == {"drift": 3}
