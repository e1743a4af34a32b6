"""What every test meets: where the real data lie, which tests start first, and a hurried process for templates."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunesmith.tokens import confined

# The scripts of outside clients need packages of their own.
collect_ignore = ["house/allowed_names.py", "api_fuzz.py", "clients"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the journeys first: they take minutes, and the rest fits beside them."""
    items.sort(key=lambda item: item.get_closest_marker("journey") is None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets beside the checkout, or the one that TUNESMITH_DATA names; skips without."""
    folder = Path(os.environ.get("TUNESMITH_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set TUNESMITH_DATA to their folder")
    return folder


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process for templates with little time and memory."""
    confined._child.end()
    monkeypatch.setattr(confined, "SECONDS", 0.5)
    monkeypatch.setattr(confined, "MEMORY", 64 * 2**20)
    yield
    confined._child.end()
