"""Page: what a person sees of a server in a browser; three files, sent as they are, which ask for the rest in JSON.

Layer: server. The files are in `static/`; user keys own the root path, so all but the page itself are below `/_pivot`.
Names and values are anybody's, so the browser is told to run and to load nothing that is not one of these files.
"""

from importlib.resources import files
from typing import Final

from quart import Response, request
from quart_trio import QuartTrio

_TYPES: Final = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}


def wants_html() -> bool:
    """Whether the client of the request at hand would rather have HTML than JSON, as browsers do."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def page_response(name: str) -> Response:
    """One of the files of the page."""
    body = (files("pivot.server") / "static" / name).read_bytes()
    return Response(body, content_type=_TYPES[name], headers=_HEADERS)


def add_page_routes(app: QuartTrio) -> None:
    """Serve what the page consists of, beside itself."""

    @app.get("/_pivot/page.css")
    async def style() -> Response:
        return page_response("page.css")

    @app.get("/_pivot/page.js")
    async def script() -> Response:
        return page_response("page.js")
