"""Report: a campaign on a page, as HTML that needs nothing else, or as Markdown.

Layer: simulator/experiment. Start at `Report.of`; `html` and `markdown` show the same content.
"""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Final, final

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from simulator.experiment.archive import Archive
from simulator.experiment.recipe import card
from simulator.experiment.tally import Tally
from simulator.experiment.trial import Trial

FAILURES_MAX: Final = 100
"""Failures shown in full; how many more there are is said."""
_MARKS: Final = "\\`*_{}[]<>#|~"


@final
class Table(msgspec.Struct, frozen=True):
    """Rows under a heading.

    Attributes:
        title: what they are.
        note: how to read them.
        head: names of the columns; the first is of words, the others of numbers.
        rows: the cells.
    """

    title: str
    note: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@final
class Failure(msgspec.Struct, frozen=True):
    """What was found with one seed.

    Attributes:
        title: seed, verdict and checker.
        lines: everything there is to say, one line each.
    """

    title: str
    lines: list[str]


@final
class Report(msgspec.Struct, frozen=True):
    """The content of a page.

    Attributes:
        title: what the page is about.
        summary: name -> what it is.
        tables: what was counted.
        failures: what was found.
        more: how many failures are not shown.
    """

    title: str
    summary: dict[str, str]
    tables: list[Table]
    failures: list[Failure]
    more: int

    @staticmethod
    def of(archive: Archive) -> "Report":
        """Read a campaign.

        Raises:
            NoCampaignError: a line of its results is no trial.
        """
        tally = Tally()
        failures: list[Failure] = []
        for trial in archive.trials():
            tally.add(trial)
            if trial.failed and len(failures) < FAILURES_MAX:
                failures.append(_failure(archive, trial))
        return Report(
            title=f"Campaign {archive.folder.resolve().name}",
            summary=_summary(archive, tally),
            tables=[_verdicts(tally), _sometimes(tally), _potency(tally)],
            failures=failures,
            more=tally.failed - len(failures),
        )

    def html(self, *, picture: str = "") -> str:
        """One page that needs no other file; `picture` is an SVG element for its top."""
        return self._render("report.html", picture)

    def fragment(self, *, picture: str = "") -> str:
        """What is on the page, for a place in another one."""
        return self._render("report_body.html", picture)

    def _render(self, template: str, picture: str) -> str:
        environment = Environment(
            loader=PackageLoader("simulator.experiment", "."),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        return environment.get_template(template).render(report=self, picture=Markup(picture))  # noqa: S704 - it is SVG

    def markdown(self) -> str:
        """The same as Markdown."""
        lines = [f"# {_plain(self.title)}", ""]
        lines += [f"- {_plain(name)}: {_plain(value)}" for name, value in self.summary.items()]
        for table in self.tables:
            lines += ["", f"## {_plain(table.title)}", "", _plain(table.note), ""]
            lines += [_row(table.head), _row(("---", *("---:" for _ in table.head[1:])), escaping=False)]
            lines += [_row(row) for row in table.rows]
        lines += ["", "## Failures", ""]
        if not self.failures:
            lines.append("None.")
        for failure in self.failures:
            lines += [f"### {_plain(failure.title)}", "", *(f"    {line}" for line in failure.lines), ""]
        if self.more:
            lines.append(f"And {self.more} more, which are in the results.")
        return "\n".join(lines).rstrip() + "\n"


def _summary(archive: Archive, tally: Tally) -> dict[str, str]:
    campaign, task = archive.campaign, archive.campaign.task
    return {
        "plans": f"{tally.trials} of {campaign.trials}, seeds {campaign.seed} to {campaign.seed + campaign.trials - 1}",
        "members": "leader and 1 to 4 nodes" if task.nodes is None else f"leader and {task.nodes} nodes",
        "kinds of faults": ", ".join(task.nemeses) or "none",
        **({"planted bug": task.bug} if task.bug else {}),
        "events": f"{tally.events:,}",
        "failures": str(tally.failed),
        "hash": f"{tally.hash}, over the hashes of all runs",
        "code": f"pivot {version('pivot-trio')}",
    }


def _verdicts(tally: Tally) -> Table:
    rows = [(verdict, str(count), _share(count, tally.trials)) for verdict, count in tally.verdicts.most_common()]
    rows += [
        (f"worst: {checker}", str(count), _share(count, tally.trials))
        for checker, count in tally.checkers.most_common()
    ]
    return Table(
        "Verdicts",
        "And of plans that failed, the checker that saw the worst of it.",
        ("verdict", "plans", "share"),
        rows,
    )


def _sometimes(tally: Tally) -> Table:
    rows = [
        (what, f"{count:,}", str(tally.reached_in[what]), _share(tally.reached_in[what], tally.trials))
        for what, count in sorted(tally.reached.items())
    ]
    note = "What was reached at all, and how often; what is missing here was not tested."
    return Table("Sometimes", note, ("reached", "times", "plans", "share"), rows)


def _potency(tally: Tally) -> Table:
    rows = [
        (
            each.kind,
            str(each.plans),
            str(each.used),
            str(each.potent),
            str(each.plans - each.potent),
            f"{each.effect:,}",
        )
        for each in tally.potency()
    ]
    note = "A fault that touched nothing proves nothing; idle are plans that have the fault and never show its effect."
    return Table("Potency of faults", note, ("fault", "plans", "used", "potent in", "idle in", "effect"), rows)


def _failure(archive: Archive, trial: Trial) -> Failure:
    assert trial.symptom is not None, "it failed"
    title = f"seed {trial.seed}: {trial.verdict}, {trial.symptom.checker}"
    if trial.shrunk is None:
        lines = [trial.sentence]
        if trial.plan is not None:
            lines.append(f"replay:   pivot sim replay {archive.plan_file(trial)}")
        return Failure(title, lines)
    return Failure(title, card(trial.shrunk, archive.plan_file(trial)))


def _share(count: int, trials: int) -> str:
    return f"{100 * count / trials:.1f} %" if trials else "-"


def _plain(text: str) -> str:
    """Text in which Markdown sees no mark."""
    return "".join(f"\\{letter}" if letter in _MARKS else letter for letter in " ".join(text.split()))


def _row(cells: Iterable[str], *, escaping: bool = True) -> str:
    return "| " + " | ".join(_plain(cell) if escaping else cell for cell in cells) + " |"
