"""Notebooks: each runs from top to bottom in a fresh kernel, and shows what it shows in the repository.

Cells with the tag `live` talk to real processes: they run, and what they show is not compared. After a change,
`pytest -n 0 tests/test_notebooks.py --snapshot-update` keeps what the notebooks show now.
"""

from pathlib import Path
from typing import Any, cast

import nbformat
import pytest
from nbmake.nb_run import NotebookRun

from simulator.figures.cover import cover

FOLDER = Path(__file__).parent.parent / "notebooks"
README = FOLDER.parent / "README.md"
FILES = sorted(FOLDER.glob("*.ipynb"))
SECONDS_MAX = 300
"""For one cell, on a machine that does a lot else."""
BYTES_MAX = 1_500_000


def shown(cell: Any) -> list[dict[str, Any]]:
    """What a cell shows, without numbers that depend on what was run before; text that came in pieces is joined."""
    outputs: list[dict[str, Any]] = []
    for output in cell.outputs:
        plain = {name: value for name, value in output.items() if name not in ("execution_count", "metadata")}
        last = outputs[-1] if outputs else {}
        if plain["output_type"] == "stream" and last.get("name") == plain["name"]:
            last["text"] += plain["text"]
        else:
            outputs.append(plain)
    return outputs


def is_live(cell: Any) -> bool:
    return "live" in cell.metadata.get("tags", [])


def test_there_are_eight_notebooks_and_the_readme_leads_to_each() -> None:
    assert [file.name.split("_")[0] for file in FILES] == [str(number) for number in range(1, 9)]
    assert all(f"](notebooks/{file.name})" in README.read_text() for file in FILES)


def test_the_picture_on_top_of_the_readme_is_what_its_command_draws(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--snapshot-update"):
        cover().save(FOLDER / "cover.svg")
    assert (FOLDER / "cover.svg").read_text() == cover().svg
    assert "python -m simulator.figures.cover notebooks/cover.svg" in README.read_text()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_notebook_runs_and_shows_what_it_shows_in_the_repository(
    file: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))  # a planted bug is among the tests
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    stored = cast("Any", nbformat.read(file, 4))  # type: ignore[no-untyped-call]
    result = NotebookRun(file, SECONDS_MAX).execute()
    assert result.error is None, result.error.trace
    played = cast("Any", result.nb)
    if request.config.getoption("--snapshot-update"):
        _store(file, played)
        return
    assert file.stat().st_size <= BYTES_MAX
    kept: list[Any] = stored.cells
    now: list[Any] = played.cells
    for before, after in zip(kept, now, strict=True):
        if after.cell_type == "code" and not is_live(after):
            assert shown(after) == shown(before), after.source
    errors = [o for cell in now for o in cell.get("outputs", []) if o.get("name") == "stderr"]
    assert not errors


def _store(file: Path, played: Any) -> None:
    for cell in played.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [nbformat.from_dict(output | _rest(output)) for output in shown(cell)]  # type: ignore[no-untyped-call]
            cell.execution_count = None
    nbformat.write(played, file)  # type: ignore[no-untyped-call]


def _rest(output: dict[str, Any]) -> dict[str, Any]:
    """What the format asks for beside what is shown."""
    match output["output_type"]:
        case "execute_result":
            return {"execution_count": None, "metadata": {}}
        case "display_data":
            return {"metadata": {}}
        case _:
            return {}
