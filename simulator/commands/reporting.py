"""Reporting: the page about a campaign.

Layer: simulator (edge). Data goes to stdout, talk to stderr.
"""

import json
from pathlib import Path
from typing import Literal

from simulator.errors import NoCampaignError
from simulator.experiment.archive import Archive
from simulator.experiment.report import Report


def report(folder: Path, *, form: Literal["html", "markdown"], out: Path | None, as_json: bool) -> int:
    """Write the page about a campaign into its folder, or where it is told, and print where it is.

    Raises:
        NoCampaignError: the folder holds none, or the page cannot be written.
    """
    page = Report.of(Archive.load(folder))
    file = out or folder / ("report.html" if form == "html" else "report.md")
    try:
        file.write_text(page.html() if form == "html" else page.markdown(), encoding="utf-8")
    except OSError as error:
        raise NoCampaignError(folder, f"{file} cannot be written: {error.strerror}") from None
    print(json.dumps({"report": str(file), "failures": len(page.failures) + page.more}) if as_json else file)
    return 0
