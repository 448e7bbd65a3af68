"""The house rules that no other tool checks: layers, purity of the core, size of rooms, unfinished work."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES_MAX = 400

LAYERS = {
    "pivot.types": 0,
    "pivot.errors": 0,
    "pivot.paths": 1,
    "pivot.config": 2,
    "pivot.core": 3,
    "pivot.engine.base": 4,
    "pivot.transport.base": 4,
    "pivot.transport.codec": 4,
    "pivot.actors": 5,
    "pivot.engine": 5,
    "pivot.transport": 6,
    "pivot.legacy": 6,
    "pivot.client": 7,
    "pivot.replies": 7,
    "pivot.values": 7,
    "pivot.watching": 7,
    "pivot.server": 7,
    "pivot.logs": 8,
    "pivot.printing": 8,
    "pivot.statusview": 8,
    "pivot.serving": 9,
    "pivot.verbs": 9,
    "pivot.experiments": 9,
    "pivot.cli": 10,
    "pivot.__main__": 11,
    "pivot": 8,
    "simulator": 20,
    "tests": 30,
}
"""Imports point from a higher number to a lower one, or stay within a package."""

IMPURE = {"trio", "time", "random", "os", "logging", "secrets", "uuid", "datetime", "threading", "socket", "asyncio"}
OWNERS: dict[str, set[str]] = {
    "time": {"pivot/actors/wallclock.py", "simulator/stopwatch.py"},
    "random": {"pivot/actors/entropy.py"},
    "secrets": {"pivot/actors/entropy.py"},
    "uuid": set(),
    "httpx": {"pivot/transport/http_client.py"},
    "httpcore": {"pivot/transport/http_client.py"},
}
"""Modules that one file owns."""


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, top_level_only: bool = False) -> list[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            names.append(node.module or "")
    return names


def layer_of(name: str) -> int:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        known = LAYERS.get(".".join(parts[:length]))
        if known is not None:
            return known
    raise AssertionError(f"{name} has no layer")


@pytest.mark.parametrize("path", sources("pivot", "simulator"), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    ours = name_of(path)
    lazily = {
        "pivot",
        "pivot.cli",
        "pivot.experiments",
        "pivot.verbs",
    }  # their imports happen when a name or command is used
    for theirs in imports_of(path, top_level_only=ours in lazily):
        if theirs.split(".")[0] in {"pivot", "simulator"} and theirs.rsplit(".", 1)[0] != ours.rsplit(".", 1)[0]:
            assert layer_of(theirs) <= layer_of(ours), f"{ours} imports {theirs}"


@pytest.mark.parametrize("path", sources("pivot/core"), ids=name_of)
def test_the_core_is_pure(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports_of(path)} & IMPURE


@pytest.mark.parametrize("path", sources("pivot", "simulator"), ids=name_of)
def test_what_has_one_owner_is_imported_by_it_alone(path: Path) -> None:
    ours = str(path.relative_to(ROOT))
    for module in imports_of(path):
        owners = OWNERS.get(module.split(".")[0])
        assert owners is None or ours in owners, f"{ours} imports {module}"


@pytest.mark.parametrize("path", sources("pivot/core", "simulator/world", "simulator/experiment"), ids=name_of)
def test_no_set_is_iterated_and_no_identity_is_used_where_order_counts(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.For | ast.comprehension):
            assert not isinstance(node.iter, ast.Set | ast.SetComp), f"line {node.iter.lineno} iterates a set"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"id", "hash", "set"}, f"line {node.lineno} calls {node.func.id}()"


@pytest.mark.parametrize("path", sources("pivot", "simulator"), ids=name_of)
def test_every_room_is_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LINES_MAX
    doc = ast.get_docstring(ast.parse(text))
    assert doc, "a module says what room it is"
    if path.name != "__init__.py":
        assert "Layer: " in doc, "a module names its layer"


@pytest.mark.parametrize("path", sources("pivot", "simulator", "tests"), ids=name_of)
def test_nothing_is_left_unfinished(path: Path) -> None:
    if path != Path(__file__):
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text())


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from pivot.__main__ import run; run(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stderr
    for heavy in ("'trio'", "'httpx'", "'quart'", "'networkx'"):
        assert heavy not in said


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, pivot; assert 'trio' not in sys.modules; pivot.Config; pivot.Server; assert 'trio' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
