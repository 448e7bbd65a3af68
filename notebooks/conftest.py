"""Notebooks as tests, beside tests that pytest-trio looks at."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each notebook the attribute that pytest-trio expects of every test: its function. It has none."""
    for item in items:
        if not hasattr(item, "obj"):
            item.obj = None  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
