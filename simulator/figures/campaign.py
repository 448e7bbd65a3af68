"""Campaign page: what was tried and found, what every kind of fault touched, and each failure with its small plan.

Layer: simulator/figures. The words and tables are those of `simulator.experiment.report`. Start at `campaign`.
"""

from pathlib import Path
from typing import Final, final

import msgspec

from simulator.experiment.archive import Archive, Campaign
from simulator.experiment.report import Report
from simulator.experiment.tally import Tally
from simulator.figures.picture import Picture, sign
from simulator.figures.plotting import chart

_POTENT, _IDLE = "#1f4e8c", "#d3dbe4"
_ROW_IN: Final = 0.21


@final
class Page(msgspec.Struct, frozen=True):
    """A campaign, for people.

    Attributes:
        report: what there is to say.
        picture: what faults did.
    """

    report: Report
    picture: Picture

    def save(self, file: Path | str) -> None:
        """Write it as an HTML file that needs nothing else."""
        Path(file).write_text(self.report.html(picture=self.picture.inline), encoding="utf-8")

    def __repr__(self) -> str:
        """A line, where pages cannot be shown."""
        return f"<{self.report.title}: {self.report.summary['failures']} failures; save(file) writes the page>"

    def _repr_html_(self) -> str:  # pyright: ignore[reportUnusedFunction] - a notebook calls it
        """What is on the page, for notebooks."""
        return self.report.fragment(picture=self.picture.inline)


def campaign(folder: Path | str) -> Page:
    """Show the campaign in a folder (`runs/latest`).

    Raises:
        NoCampaignError: there is none.
        FigureError: matplotlib is not installed.
    """
    archive = Archive.load(Path(folder))
    tally = Tally()
    for trial in archive.trials():
        tally.add(trial)
    return Page(Report.of(archive), _faults(archive.campaign, tally))


def _faults(asked: Campaign, tally: Tally) -> Picture:
    """In how many plans a kind of fault was played, and in how many of these it touched anything."""
    kinds = sorted(tally.potency(), key=lambda each: (-each.potent, each.kind))
    seeds = f"seeds {asked.seed} to {asked.seed + asked.trials - 1}"
    found = ", ".join(f"{count} {verdict}" for verdict, count in tally.verdicts.most_common())
    with chart(
        sign(seeds, tally.hash), f"{tally.trials} plans ({found}): what faults touched",
        height=1.6 + _ROW_IN * max(len(kinds), 1), left=1.3, below=0.95,
    ) as c:  # fmt: skip
        axes = c.axes[0]
        places = range(len(kinds))
        axes.barh(places, [each.plans for each in kinds], color=_IDLE, edgecolor="#667080", lw=0.5, height=0.72,
                  label="played, and touched nothing")  # fmt: skip
        axes.barh(places, [each.potent for each in kinds], color=_POTENT, height=0.72, label="touched something")
        axes.set_yticks(places, labels=[each.kind for each in kinds])
        axes.set_ylim(len(kinds) - 0.4, -0.6)
        axes.set_xlabel("plans")
        axes.locator_params(axis="x", integer=True)
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 0.02), bbox_transform=c.figure.transFigure, ncols=2, fontsize=8.5
        )
    return c.picture
