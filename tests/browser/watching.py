"""What goes wrong in a tab of a browser."""

from playwright.sync_api import ConsoleMessage, Error, Page, Request

AWAY = (
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "Failed to fetch",
    "status of 404",
    "status of 400",
)
"""What a browser says of a member that is away, of an entry that is gone, or of a refused change."""
LEFT = "closed before the connection is established"
"""What it says when a row leaves the page early."""


class Watched:
    """A tab; `wrong` collects errors of scripts, refusals of the policy, and requests that leave this machine."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("pageerror", self._error)
        page.on("console", self._said)
        page.on("request", self._asked)

    def _error(self, error: Error) -> None:
        self.wrong.append(str(error))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(words in message.text for words in (*AWAY, LEFT)):
            self.wrong.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:")):
            self.wrong.append(request.url)
