"""Clients that others wrote, unmodified, against a server process; those that are not installed here are left out."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Server, served

SCRIPTS = Path(__file__).parents[1] / "clients"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a small random model."""
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.mark.journey
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_openai_python_goes_the_whole_way(server: Server, kind: str) -> None:
    _goes_well(server, "openai_journey.py", kind)


@pytest.mark.journey
@pytest.mark.skipif(importlib.util.find_spec("langchain_openai") is None, reason="langchain-openai is not installed")
def test_langchain_talks_to_a_tuned_model(server: Server) -> None:
    _goes_well(server, "langchain_journey.py", MODEL=server.tuned())


def _goes_well(server: Server, *words: str, **more: str) -> None:
    command = [sys.executable, str(SCRIPTS / words[0]), *words[1:]]
    done = subprocess.run(command, env={**server.environment(), **more}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
