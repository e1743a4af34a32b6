"""What every test meets: real data, which tests start first, runs that draw nothing, templates in a hurry."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunesmith.tokens import confined
from tunesmith.training import curves

gc.disable()  # until everything is imported

# The scripts of outside clients need packages of their own.
collect_ignore = ["house/allowed_names.py", "api_fuzz.py", "clients"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the journeys first: they take minutes, and the rest fits beside them."""
    items.sort(key=lambda item: item.get_closest_marker("journey") is None)


def pytest_collection_finish() -> None:
    """Nobody looks for garbage in what was imported: a sixteenth of the time."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets beside the checkout, or the one that TUNESMITH_DATA names; skips without."""
    folder = Path(os.environ.get("TUNESMITH_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set TUNESMITH_DATA to their folder")
    return folder


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of tests end without their picture, which takes longer than they do; journeys look at real ones."""
    if request.node.get_closest_marker("journey") is None:
        monkeypatch.setattr(curves, "picture", lambda journal, path: path.write_bytes(b""))


@pytest.fixture
def short_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that a base writes, and pieces of general text, of 32 tokens instead of 128: a quarter of the steps."""
    for module in ("evaluation.retention", "run.general", "run.replaying"):
        monkeypatch.setattr(f"tunesmith.{module}.LENGTH", 32)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process for templates with little time and memory."""
    confined._child.end()
    monkeypatch.setattr(confined, "SECONDS", 0.5)
    monkeypatch.setattr(confined, "MEMORY", 64 * 2**20)
    yield
    confined._child.end()
