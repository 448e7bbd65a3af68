"""Plans: what cannot be played is refused with the path of the wrong field, and the schema is the published one."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

import simulator.experiment.plan
from simulator import (
    Plan,
    Run,
    Wire,
    backup,
    burden,
    confirm,
    crash,
    cut_links,
    cut_one_way,
    drift,
    duplicate,
    flap,
    isolate,
    join,
    lose,
    partition,
    promote,
    restore,
    ring,
    skew,
    smallest_cut,
    swizzle,
    write,
)
from simulator.errors import BadPlanError
from simulator.experiment.draw import NEMESES
from simulator.experiment.operations import Operation
from simulator.experiment.plan import VERSION, Step
from simulator.world.latency import UniformLatency
from simulator.world.link import Conditions
from simulator.world.trace import TraceEvent

SCHEMA = Path(simulator.experiment.plan.__file__).with_name("plan.schema.json")
STAR = Plan(seed=1, nodes=2, safety_s=10.0)
BAD: list[tuple[str, Operation]] = [
    ("steps[0].operation", write("n9", "settings", 1)),
    ("steps[0].operation", write("n1", "users/../x", 1)),
    ("steps[0].operation", lose(0.5, ["n7"])),
    ("steps[0].operation", isolate("n3")),
    ("steps[0].operation.for_s", isolate("n1", for_s=-1.0)),
    ("steps[0].operation.for_s", crash("n1", for_s=float("inf"))),
    ("steps[0].operation.links[1]", cut_links(("leader", "n1"), ("n1", "n2"))),
    ("steps[0].operation", cut_one_way(["n1"], ["n2"])),
    ("steps[0].operation", partition({"n1"}, {"n2"})),
    ("steps[0].operation", partition({"leader", "n1"}, {"n1"})),
    ("steps[0].operation", ring("leader", "n1", "n2")),
    ("steps[0].operation.target", smallest_cut("n1", "n1")),
    ("steps[0].operation.period_s", flap(isolate("n1"), period_s=0.0)),
    ("steps[0].operation.duty", flap(isolate("n1"), duty=1.1)),
    ("steps[0].operation.cut.for_s", flap(isolate("n1", for_s=1.0))),
    ("steps[0].operation", flap(isolate("n8"))),
    ("steps[0].operation.healed", swizzle(["n1", "n2"], ["n1"])),
    ("steps[0].operation", duplicate(0.5, ["n1"], ["n2"])),
    ("steps[0].operation.slow_s", burden("n1", -0.1)),
    ("steps[0].operation.ahead_s", skew("n1", float("nan"))),
    ("steps[0].operation.ppm", drift("n1", -1e7)),
    ("steps[0].operation.member", confirm("n1")),
    ("steps[0].operation.member", join("leader")),
    ("steps[0].operation.member", promote("n1")),
    ("steps[0].operation", restore("n1")),
]


@pytest.mark.parametrize(("path", "operation"), BAD, ids=str)
def test_an_operation_that_cannot_be_played_is_refused_with_its_path(path: str, operation: Operation) -> None:
    with pytest.raises(BadPlanError) as refused:
        replace(STAR, steps=(Step(1.0, operation),))
    assert refused.value.path.startswith(path)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("version", f'"version": {VERSION}', f'"version": {VERSION + 1}'),
        ("nodes", '"nodes": 2', '"nodes": 0'),
        ("nodes", '"nodes": 2', '"nodes": "two"'),
        ("keys", '"users/*"', '"users//*"'),
        ("safety_s", '"safety_s": 10.0', '"safety_s": -1.0'),
        ("liveness_s", '"liveness_s": 180.0', '"liveness_s": -1.0'),
        ("steps[0].at_s", '"at_s": 1.0', '"at_s": -1.0'),
        ("steps[0].at_s", '"at_s": 1.0', '"at_s": 10.5'),
        ("weather", '"loss": 0.0', '"loss": 2.0'),
        ("links[0].dst", '"dst": "n1"', '"dst": "n5"'),
        ("links[0].dst", '"dst": "n1"', '"dst": "leader"'),
        ("links[1]", '"src": "n1"', '"src": "leader"'),
        ("links[0].weight", '"weight": 1.0', '"weight": -1.0'),
        ("steps[0].operation.do", '"do": "crash"', '"do": "crush"'),
        ("steps[0].operation", '"do": "crash"', '"do": "crash", "hard": true'),
        ("plan", "{", "["),
    ],
)
def test_a_field_that_cannot_be_is_refused_with_its_path(path: str, old: str, new: str) -> None:
    links = (Wire("leader", "n1"), Wire("n1", "leader"))
    text = replace(STAR, links=links, steps=(Step(1.0, crash("n1")),)).to_json().decode()
    if path == "links[1]":  # a second link leader -> n1
        text = text.replace('"dst": "leader"', '"dst": "n1"')
    assert old in text
    with pytest.raises(BadPlanError) as refused:
        Plan.from_json(text.replace(old, new, 1).encode())
    assert refused.value.path == path


def test_a_copy_has_to_be_made_before_it_is_put_back() -> None:
    with pytest.raises(BadPlanError, match="no copy by then"):
        replace(STAR, steps=(Step(1.0, restore("n1")), Step(2.0, backup("n1"))))
    replace(STAR, steps=(Step(1.0, backup("n1")), Step(2.0, restore("n1"))))


@pytest.mark.parametrize("all_on", [False, True])
def test_a_drawn_plan_is_the_same_after_a_trip_through_json(all_on: bool) -> None:
    for seed in range(20):
        plan = Plan.draw(seed, all_on=all_on)
        assert Plan.from_json(plan.to_json()) == plan
        assert Plan.draw(seed, all_on=all_on) == plan


def test_every_kind_of_fault_is_in_some_drawn_plans_and_not_in_others_and_in_all_when_all_are_on() -> None:
    alone = {kind: Plan.draw(3, nodes=3, nemeses=(kind,), all_on=True) for kind in NEMESES}
    calm = Plan.draw(3, nodes=3, nemeses=())
    assert all(plan != calm for plan in alone.values())
    everything = Plan.draw(3, nodes=3, all_on=True)
    for kind, plan in alone.items():
        assert all(step in everything.steps for step in plan.steps), kind
    kinds = [{tag_of(step) for step in Plan.draw(seed, nodes=3).steps} for seed in range(20)]
    assert len({frozenset(each) for each in kinds}) > 10


def tag_of(step: Step) -> str:
    return str(step.operation.__struct_config__.tag)


def test_an_unknown_kind_of_fault_is_refused() -> None:
    with pytest.raises(BadPlanError, match="nemeses has 'meteor'"):
        Plan.draw(1, nemeses=("meteor",))


def test_the_schema_is_the_one_that_is_published() -> None:
    """When it differs on purpose: `python -c "..."` with `Plan.schema()` writes it; a new format is a new `VERSION`."""
    assert SCHEMA.read_bytes() == Plan.schema()
    assert msgspec.json.decode(SCHEMA.read_bytes(), type=dict[str, object])["$ref"] == "#/$defs/Plan"


@pytest.mark.parametrize("seed", range(2))
def test_removing_one_operation_leaves_the_fates_on_all_other_links_alone(seed: int) -> None:
    plan = Plan.draw(seed, nodes=3, nemeses=("one_way", "crash", "partition"), all_on=True)
    latency = UniformLatency(base_s=0.001, spread_s=0.1)
    plan = replace(plan, weather=Conditions(latency=latency, correlation=0.5, loss=0.2), liveness_s=1.0)
    whole = fates(plan)
    for place in range(0, len(plan.steps), max(len(plan.steps) // 8, 1)):
        part = replace(plan, steps=plan.steps[:place] + plan.steps[place + 1 :])
        for link, theirs in fates(part).items():
            same = [number for number in theirs if number in whole[link]]
            assert [theirs[number] for number in same] == [whole[link][number] for number in same], (place, link)
            assert len(same) > 10


def fates(plan: Plan) -> dict[tuple[str, str], dict[int, int]]:
    """Link -> number of a message on it -> how long it took, ns; 0 = the weather lost it. Others met a fault."""
    run = Run.of(plan, keep_trace=True)
    numbers: dict[int, int] = {}
    found: dict[tuple[str, str], dict[int, int]] = {}
    sent_ns: dict[int, int] = {}
    held: dict[int, None] = {}
    for event in run.trace:
        if event.kind == "sent":
            numbers[event.seq] = len(found.setdefault(_link(event), {}))
            found[_link(event)][numbers[event.seq]] = -1
            sent_ns[event.seq] = event.time_ns
        elif event.message >= 0 and sent_ns[event.message] >= plan.safety_s * 1e9:
            continue  # no weather any more
        elif event.kind == "held":
            held[event.message] = None
        elif event.kind == "delivered" and event.message not in held:
            found[_link(event)][numbers[event.message]] = event.time_ns - sent_ns[event.message]
        elif event.kind == "lost" and event.why == "loss":
            found[_link(event)][numbers[event.message]] = 0
    return {link: {number: fate for number, fate in of.items() if fate >= 0} for link, of in found.items()}


def _link(event: TraceEvent) -> tuple[str, str]:
    return (event.member, event.peer)
