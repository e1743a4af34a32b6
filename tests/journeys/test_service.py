"""A service of real processes: killed, asked to end, and followed by others, it finishes what it had begun, exactly."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import postgres
import pytest
from served import served
from sqlalchemy import update
from tiny_model import chat_file, tiny_model

from tunesmith.disk import sha256_of
from tunesmith.generation.settings import GenerationSettings
from tunesmith.jobs.lifecycle import find
from tunesmith.jobs.store import Store, database_url
from tunesmith.jobs.tables import Job
from tunesmith.run.generate import generate

STEPS = 300
RECIPE = {"training": {"steps": STEPS, "batch_size": 4}, "checkpoints": {"every": 10}, "method": {"rank": 4}}


def until(condition: Callable[[], Any]) -> Any:
    """What a condition gives as soon as it gives something; a busy machine has ten minutes."""
    tick = threading.Event()
    for _ in range(1500):
        if found := condition():
            return found
        tick.wait(0.4)
    raise AssertionError("it never happened")


@dataclass
class Site:
    """A service that is made of processes: where it is, and how to talk to it."""

    folder: Path
    database: str | None
    stack: ExitStack
    port: int = 0
    key: str = ""
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=300))

    def home(self, name: str) -> Path:
        """The home of a machine: one for all, or, on PostgreSQL, one for each."""
        return self.folder / (name if self.database else "home")

    def words(self, kind: str, name: str) -> list[str]:
        """The command of a process."""
        more = ["--database", self.database, "--shared", str(self.folder / "shared")] if self.database else []
        listen = ["--port", str(self.port)] if kind == "api" else []
        model = f"tiny={self.folder / 'model'}"
        home = str(self.home(name))
        return [sys.executable, "-m", "tunesmith", "serve", kind, "--home", home, "--model", model, *listen, *more]

    def start(self, kind: str, name: str) -> "subprocess.Popen[str]":
        """A process that has begun, and is gone when the test is."""
        out, log = (self.stack.enter_context((self.folder / f"{name}.{end}").open("w")) for end in ("out", "log"))
        process = subprocess.Popen(self.words(kind, name), stdout=out, stderr=log, text=True)
        self.stack.callback(_end, process)
        return process

    def wait(self) -> None:
        """The API answers, and its key is known."""
        until(self._ready)
        lines = (self.folder / "api.out").read_text().splitlines()
        self.key = next(line.rpartition(" ")[2] for line in lines if line.startswith("API key"))

    def _ready(self) -> bool:
        try:
            return self.http.get(f"http://127.0.0.1:{self.port}/readyz").is_success
        except httpx.TransportError:
            return False

    def call(self, method: str, path: str, **given: Any) -> Any:
        """What a request is answered."""
        headers = {"authorization": f"Bearer {self.key}"}
        reply = self.http.request(method, f"http://127.0.0.1:{self.port}/v1{path}", headers=headers, **given)
        assert reply.is_success, reply.text
        return reply.json() if reply.headers["content-type"] == "application/json" else reply.content

    def create(self, model: str, file: str, **more: Any) -> str:
        """A new job's id."""
        body = {"model": model, "training_file": file, "tunesmith": RECIPE, **more}
        return str(self.call("POST", "/fine_tuning/jobs", json=body)["id"])

    def job(self, id: str) -> dict[str, Any]:
        """A job."""
        return dict(self.call("GET", f"/fine_tuning/jobs/{id}"))

    def messages(self, id: str) -> list[str]:
        """The last hundred things that were told of a job."""
        return [event["message"] for event in self.call("GET", f"/fine_tuning/jobs/{id}/events?limit=100")["data"]]

    def past(self, id: str, step: int) -> bool:
        """Whether a running job has told of this step; it must not have ended."""
        assert self.job(id)["status"] in ("validating_files", "queued", "running"), self.job(id)
        told = [int(m.split("/")[0].removeprefix("Step ")) for m in self.messages(id) if m.startswith("Step ")]
        return max(told, default=0) >= step

    def done(self, id: str) -> dict[str, Any]:
        """The job after it has succeeded."""
        found = dict(until(lambda: (job := self.job(id))["finished_at"] and job))
        assert found["status"] == "succeeded", found["error"]
        return found

    def forget_lease(self, id: str) -> None:
        """Half a minute has passed, as far as this job's worker is concerned."""
        store = Store(database_url(self.home("api"), self.database))
        with store.write() as session:
            session.execute(update(Job).where(Job.id == id).values(leased_until=0))
        store.close()

    def weights(self, id: str) -> str:
        """The fingerprint of a job's final weights, on whichever machine they are."""
        (found,) = {sha256_of(path) for path in self.folder.glob(f"*/jobs/{id}/run/final/adapter_model.safetensors")}
        return found


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.terminate()
        process.wait(120)


@contextmanager
def _database(kind: str) -> Iterator[str | None]:
    if kind == "sqlite":
        yield None
        return
    with postgres.server() as url:
        if url is None:
            pytest.skip("there is no PostgreSQL on this machine (initdb, pg_ctl)")
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """An API and one worker that began at the same time."""
    tiny_model(tmp_path / "model")
    with _database(request.param) as url, ExitStack() as stack:
        found = Site(tmp_path, url, stack)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            found.port = free.getsockname()[1]
        found.start("api", "api")
        yield found
        found.http.close()


@pytest.mark.journey
def test_a_job_whose_workers_are_killed_and_stopped_ends_as_one_that_nobody_disturbed(site: Site) -> None:
    first = site.start("worker", "first")
    site.wait()
    data = chat_file(site.folder / "train.jsonl").read_bytes()
    file = site.call("POST", "/files", files={"file": ("a.jsonl", data)}, data={"purpose": "fine-tune"})["id"]
    calm = site.done(site.create("tiny", file, seed=5))
    id = site.create("tiny", file, seed=5)

    until(lambda: site.past(id, 20))
    os.kill(first.pid, signal.SIGKILL)
    site.forget_lease(id)
    second = site.start("worker", "second")
    until(lambda: "Fine-tuning job resumed from its last checkpoint" in site.messages(id))
    until(lambda: site.past(id, 60))
    second.terminate()
    assert second.wait(120) == 0
    assert site.job(id)["status"] == "queued"

    site.start("worker", "third")
    ended = site.done(id)
    results = [site.call("GET", f"/files/{job['result_files'][0]}/content") for job in (calm, ended)]
    assert len(results[0].splitlines()) == STEPS + 1
    assert results[0] == results[1]
    assert site.weights(calm["id"]) == site.weights(id)
    assert calm["trained_tokens"] == ended["trained_tokens"]

    _tuned_further(site, file, ended["fine_tuned_model"])
    _refuses_a_second_server(site)
    for line in (site.folder / "api.log").read_text().splitlines():
        assert "request_id" in json.loads(line)


@pytest.mark.journey
def test_a_server_that_is_asked_to_end_gives_its_running_job_back_saved(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        headers = {"authorization": f"Bearer {running.key}"}
        with httpx.Client(base_url=f"{running.url}/v1", headers=headers, timeout=300) as http:
            file = http.post("/files", files={"file": running.data.read_bytes()}, data={"purpose": "fine-tune"}).json()[
                "id"
            ]
            body = {"model": "tiny", "training_file": file, "tunesmith": RECIPE}
            id = http.post("/fine_tuning/jobs", json=body).json()["id"]
            until(lambda: "Step 5/" in http.get(f"/fine_tuning/jobs/{id}/events?limit=100").text)
        running.process.terminate()
        assert running.process.wait(120) == 0
    store = Store(database_url(tmp_path / "home", None))
    with store.read() as session:
        job = find(session, id)
        assert (job.status, job.owner, job.attempts) == ("queued", None, 0)
    store.close()
    folder = tmp_path / "home" / "jobs" / id
    assert "saved" in (folder / "console.txt").read_text()
    assert list((folder / "run" / "checkpoints").glob("step-*"))


def _tuned_further(site: Site, file: str, tuned: str) -> None:
    """A tuned model can be the start of another one, which answers over HTTP as in the command line."""
    short = {"training": {"steps": 3, "batch_size": 4}}
    further = site.done(site.create(tuned, file, suffix="further", tunesmith=short))
    assert further["fine_tuned_model"].startswith("ft:tiny:tunesmith:further:")
    said = [{"role": "user", "content": "apple 1"}]
    asked = {"model": further["fine_tuned_model"], "messages": said, "max_tokens": 12, "temperature": 0}
    answer = site.call("POST", "/chat/completions", json=asked)["choices"][0]["message"]["content"]
    asked["model"] += ":ckpt-step-3"  # its last checkpoint is what it ended with
    assert site.call("POST", "/chat/completions", json=asked)["choices"][0]["message"]["content"] == answer
    (site.folder / "ask.jsonl").write_text(json.dumps({"messages": said}) + "\n")
    (folder,) = site.home("api").glob(f"jobs/{further['id']}/run/final")
    out = site.folder / "answers.jsonl"
    generate(str(folder), str(site.folder / "ask.jsonl"), out, settings=GenerationSettings(max_new_tokens=12))
    assert json.loads(out.read_text())["completion"] == answer


def _refuses_a_second_server(site: Site) -> None:
    done = subprocess.run(site.words("api", "api"), capture_output=True, text=True)
    assert done.returncode == 2
    assert "another server runs on this home" in done.stderr
