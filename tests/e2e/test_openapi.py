"""The OpenAPI document: it names every route, and what schemathesis draws from it is answered as it says."""

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from pivot.actors.entropy import SystemEntropy
from pivot.actors.wallclock import system_clock
from pivot.config import Config
from pivot.server.filters import Filters
from pivot.server.openapi import ROUTES, openapi_document
from pivot.server.running import Running
from pivot.server.storage import Storage
from tests.e2e.processes import Serving, serving

NOT_FOR_OTHERS = {
    "post /_pivot/stream",
    "post /_pivot/envelopes",
    "post /_pivot/peek",
    "get /_pivot/{}",
    "get /_pivot/page.css",
    "get /_pivot/page.js",
}
"""What members say to each other, what is not there, and what only the page asks for."""


def test_the_document_names_every_route() -> None:
    running = Running(
        Config(), Storage.memory(), filters=Filters(), wall=system_clock, entropy=SystemEntropy(), listeners=()
    )
    routes = [
        (method.lower(), re.sub(r"<[^>]*>", "{}", rule.rule))
        for rule in running._web().url_map.iter_rules()
        if not rule.websocket and rule.endpoint != "static"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    ]
    served = {f"{method} {path}" for method, path in routes}
    described = {f"{route.method} {re.sub('{[^}]*}', '{}', route.path)}" for route in ROUTES}
    described = {name.replace("/_pivot/pivot/{}/{}", "/_pivot/pivot/{}") for name in described}  # one rule for both
    assert served == described | NOT_FOR_OTHERS


DEPENDS_ON_WHAT_IS_HERE = (
    "is in no collection",
    "cannot be merged",
    "this member leads here",
    "index is",
    "allowed is a collection",
)
"""Why a request is refused that the document allows."""


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Generator[Serving, None, None]:
    with serving(tmp_path_factory.mktemp("member"), "--key", "settings", "--key", "users/*") as serves:
        yield serves


def find_nothing(member: Serving, label: str, *, mode: str, examples: int) -> None:
    """Have schemathesis draw requests to one route: such as the document allows, or such as it does not."""
    import schemathesis
    from schemathesis.specs.openapi import checks

    accepting: Any = checks.positive_data_acceptance  # typed in part
    method, path = label.split()
    schema: Any = schemathesis.openapi.from_dict(openapi_document())
    drawn = schema[path][method].as_strategy(generation_mode=schemathesis.GenerationMode(mode))

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < 100,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        phases=[Phase.generate, Phase.shrink],
    )
    @given(drawn)
    def judge(case: Any) -> None:
        response = case.call(base_url=member.url)
        depends = response.status_code == 400 and any(words in response.text for words in DEPENDS_ON_WHAT_IS_HERE)
        excluded = [accepting] if depends else []
        case.validate_response(response, excluded_checks=excluded)

    judge()


LABELS = [f"{route.method} {route.path}" for route in ROUTES]
REFUSABLE = [f"{route.method} {route.path}" for route in ROUTES if route.query or route.body is not None]


@pytest.mark.parametrize("label", LABELS)
def test_what_the_document_allows_is_answered_as_it_says(member: Serving, label: str) -> None:
    find_nothing(member, label, mode="positive", examples=8)


@pytest.mark.parametrize("label", REFUSABLE)
def test_what_the_document_does_not_allow_is_refused(member: Serving, label: str) -> None:
    find_nothing(member, label, mode="negative", examples=8)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("label", LABELS)
def test_a_thousand_requests_are_answered_as_the_document_says(member: Serving, label: str, tmp_path: Path) -> None:
    find_nothing(member, label, mode="positive", examples=1000)
    if label in REFUSABLE:
        find_nothing(member, label, mode="negative", examples=1000)
