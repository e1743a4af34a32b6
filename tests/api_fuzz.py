"""Send the API what its own description allows and what it forbids, thousands of times; nothing may be our fault.

    python tests/api_fuzz.py --requests 10000

schemathesis makes the requests from the OpenAPI page, valid and invalid ones; half of them name things that exist, and
all of them carry a key that opens everything, so that they reach the routes. A reply of 500 or more, or an error in
another form than the API's, is a failure and is printed with its request. Jobs are carried out by a stand-in that
learns nothing, chat is answered by a small random model.
"""

import argparse
import os
import random
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from starlette.testclient import TestClient
from tiny_model import tiny_model

from tunesmith.jobs.files import Described
from tunesmith.jobs.keys import Limits
from tunesmith.jobs.request import JobRequest
from tunesmith.jobs.worker import Worker, Workshop
from tunesmith.web.app import create_app
from tunesmith.web.service import Service, Wanted

FAKE = (sys.executable, str(Path(__file__).with_name("fake_tunesmith.py")))

OWN = ("user-agent", "authorization", "host", "origin")
"""Headers that stay as they are: with others the guard answers, and it has tests of its own."""
GUARD = ("401", "421", "429")
"""Statuses with which a request ends before it reaches its route."""


class Fault(AssertionError):
    """A reply that may not be."""


def service(folder: Path) -> tuple[FastAPI, str, dict[str, list[str]]]:
    """An application with a finished job in it, a key, and the names of what exists by parameter."""
    model = tiny_model(folder / "model", context=48, layers=1)
    made = Service.of(Wanted(folder / "home", {"base": str(model)}, hosts=("*",), command=FAKE))
    key = made.keys.create("fuzz", "admin", Limits(per_minute=10**9, most_jobs=10**9))[1]
    file = made.files.add(Described("a.jsonl", "fine-tune"), [b"{}\n" * 20])
    job = made.jobs.create(JobRequest(model="base", training_file=file.id))
    worker = Worker(Workshop(made.store, made.home, {"base": str(model)}, FAKE, poll=0.01), made.stop)
    while worker.work_once():
        continue
    waiting = made.jobs.create(JobRequest(model="base", training_file=file.id))
    upload = made.uploads.begin(Described("b.jsonl", "fine-tune"), 100)
    tuned = made.jobs.get(job.id).fine_tuned_model
    names = {
        "file_id": [file.id], "training_file": [file.id], "job_id": [job.id, waiting.id], "upload_id": [upload.id],
        "model": ["base", str(tuned), f"{tuned}:ckpt-step-3"], "after": [job.id],
    }  # fmt: skip
    return create_app(made), key, names


def named(case: Any, names: dict[str, list[str]], chance: random.Random) -> None:
    """Let some of a request's parameters name what exists."""
    places = [case.path_parameters, case.query, case.body]
    for place in places:
        if isinstance(place, dict):
            for name, ids in names.items():
                if name in place and chance.random() < 0.5:
                    place[name] = chance.choice(ids)


def fuzz(requests: int, start: int) -> Counter[str]:
    """How many replies of each status there were.

    Raises:
        Fault: one of them is our own fault.
    """
    told, chance = Counter[str](), random.Random(start)
    with tempfile.TemporaryDirectory() as folder:
        app, key, names = service(Path(folder))
        headers = {"authorization": f"Bearer {key}"}
        schema = schemathesis.openapi.from_dict(app.openapi())
        schema.config.generation.update(
            modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE], with_security_parameters=False
        )
        operations = [found.ok() for found in schema.get_all_operations()]
        each = -(-requests // len(operations))
        with TestClient(app, base_url="http://localhost", raise_server_exceptions=False, headers=headers) as client:
            for operation in operations:
                _one(operation, client, names, chance, told, each, start)
        app.state.service.close()
    return told


def _one(
    operation: Any, client: TestClient, names: dict[str, list[str]], chance: random.Random, told: Counter[str],
    most: int, start: int,
) -> None:  # fmt: skip
    @seed(start)
    @settings(
        max_examples=most, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        named(case, names, chance)
        given = case.as_transport_kwargs(base_url="http://localhost")
        given["headers"] = {k: v for k, v in dict(given["headers"]).items() if k.lower() not in OWN}
        given.pop("cookies", None)
        reply = client.request(**given)
        told[str(reply.status_code)] += 1
        wrong = reply.status_code >= 500
        if reply.status_code >= 400 and not wrong:
            error = reply.json().get("error")
            wrong = set(error or ()) != {"message", "type", "param", "code"}
        if wrong:
            raise Fault(f"{given}\n→ {reply.status_code} {reply.text[:500]}")

    began = told.total()
    try:
        ask()
    except Exception as error:
        if not isinstance(error, Fault) and type(error).__name__ != "Unsatisfiable":
            raise
        if isinstance(error, Fault):
            raise
    while began < told.total() < began + most // 2:  # a small space of requests is asked again
        before = told.total()
        ask()
        if told.total() == before:
            break


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    found, number = Counter[str](), wanted.seed
    while found.total() < wanted.requests:
        found += fuzz(wanted.requests - found.total(), number)
        number += 1
    stopped = sum(found[status] for status in GUARD)
    print(f"{found.total()} requests, {stopped} stopped at the door, no fault of ours: {dict(sorted(found.items()))}")
