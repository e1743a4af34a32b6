"""A service whose jobs learn nothing, and its application, called without a network."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tiny_model import tiny_model

from tunesmith.jobs.worker import Worker, Workshop
from tunesmith.web.app import create_app
from tunesmith.web.service import Service, Wanted

FAKE = (sys.executable, str(Path(__file__).parents[2] / "fake_tunesmith.py"))


@dataclass
class Client:
    """A client in the same process; `call` sends one request with a key of every right."""

    service: Service
    app: FastAPI
    key: str

    async def call(self, method: str, path: str, **given: object) -> httpx.Response:
        """The reply."""
        headers = {"authorization": f"Bearer {self.key}", **given.pop("headers", {})}  # type: ignore[dict-item]
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await http.request(method, path, headers=headers, **given)  # type: ignore[arg-type]

    def work(self) -> None:
        """Carry out all jobs that wait."""
        shop = Workshop(self.service.store, self.service.home, dict(self.service.wanted.bases), FAKE, poll=0.01)
        worker = Worker(shop, self.service.stop)
        while worker.work_once():
            continue


def _with_null(node: dict[str, Any]) -> dict[str, Any]:
    """A schema whose older `nullable` is said in the newer way."""
    return {"anyOf": [node, {"type": "null"}]} if node.get("nullable") is True else node


@pytest.fixture(scope="session")
def as_described() -> Callable[[str, Any], None]:
    """Asserts that a value is what the public description of the API calls so; skips where there is none."""
    from jsonschema import Draft202012Validator

    place = os.environ.get("TUNESMITH_OPENAPI", Path(__file__).parents[3] / ".." / "shared/openai/openapi.json")
    if not Path(place).is_file():
        pytest.skip("no description of the API: set TUNESMITH_OPENAPI to its file")
    text = Path(place).read_text(encoding="utf-8")
    # The older form of the same limit, which newer validators read as a number.
    text = re.sub(r'"minimum": 0,(\s*)"exclusiveMinimum": true', r'"exclusiveMinimum": 0', text)
    described = json.loads(text, object_hook=_with_null)

    def check(name: str, value: Any) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
        faults = Draft202012Validator(schema).iter_errors(value)
        assert [f"{name}: {fault.json_path} {fault.message[:200]}" for fault in faults] == []

    return check


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A fresh service with a key of every right."""
    yield from serving(tmp_path, "base")


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A service with a tiny model as its base."""
    yield from serving(tmp_path_factory.mktemp("home"), str(tiny_model(tmp_path_factory.mktemp("model"))))


def serving(home: Path, base: str) -> Iterator[Client]:
    """A service on this base, with a key of every right, until it is no longer needed."""
    service = Service.of(Wanted(home, {"base": base}, command=FAKE))
    key = service.keys.first()
    assert key is not None
    yield Client(service, create_app(service), key)
    service.close()
