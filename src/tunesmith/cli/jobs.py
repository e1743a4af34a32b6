"""`tunesmith jobs`: fine-tuning jobs on a server, ours or OpenAI's or Azure's, from the terminal.

The decision: these commands only speak the public API, so what they do with one server they do with the others. The
address and the key come from options or from the environment that OpenAI's own clients read.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.errors import TunesmithError, UsageError

app = typer.Typer(help="Create and follow fine-tuning jobs on a server.", no_args_is_help=True, rich_markup_mode=None)
Server = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The server's /v1 address; OPENAI_BASE_URL without.")
]
Version = Annotated[str | None, typer.Option("--api-version", help="Azure's api-version; its key goes as api-key.")]
Id = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
OURS = "http://127.0.0.1:8000/v1"


@app.command("create")
def create(
    data: Annotated[Path, typer.Argument(metavar="FILE", help="The training data, JSONL.")],
    model: Annotated[str, typer.Option(help="The model to start from.")] = "smollm2-135m-instruct",
    validation: Annotated[Path | None, typer.Option(metavar="FILE", help="Validation data.")] = None,
    suffix: Annotated[str | None, typer.Option(help="A part of the new model's name.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="How often every example is seen.")] = None,
    url: Server = None,
    version: Version = None,
) -> None:
    """Upload the data and begin a job; prints its id."""
    server = _Server(url, version)
    body: dict[str, Any] = {"model": model, "training_file": server.upload(data)}
    if validation is not None:
        body["validation_file"] = server.upload(validation)
    if suffix is not None:
        body["suffix"] = suffix
    if epochs is not None:
        body["method"] = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": epochs}}}
    print(server.call("POST", "/fine_tuning/jobs", json=body)["id"])


@app.command("list")
def list_jobs(url: Server = None, version: Version = None) -> None:
    """Print the jobs, newest first."""
    for job in _Server(url, version).pages("/fine_tuning/jobs"):
        print(f"{job['id']}\t{job['status']}\t{job['model']}\t{job.get('fine_tuned_model') or ''}")


@app.command()
def show(job: Id, url: Server = None, version: Version = None) -> None:
    """Print a job as JSON."""
    _print(_Server(url, version).call("GET", f"/fine_tuning/jobs/{job}"))


@app.command()
def events(job: Id, url: Server = None, version: Version = None) -> None:
    """Print what happened to a job, oldest first."""
    for event in reversed(list(_Server(url, version).pages(f"/fine_tuning/jobs/{job}/events"))):
        print(f"{event['created_at']}\t{event['level']}\t{event['message']}")


@app.command()
def cancel(job: Id, url: Server = None, version: Version = None) -> None:
    """End a job for good."""
    _order(job, "cancel", url, version)


@app.command()
def pause(job: Id, url: Server = None, version: Version = None) -> None:
    """Let a running job save and wait."""
    _order(job, "pause", url, version)


@app.command()
def resume(job: Id, url: Server = None, version: Version = None) -> None:
    """Let a paused job go on."""
    _order(job, "resume", url, version)


@app.command()
def download(
    job: Id,
    to: Annotated[Path, typer.Option(metavar="DIR", help="Where the result files go.")] = Path(),
    url: Server = None,
    version: Version = None,
) -> None:
    """Fetch a job's result files; prints where they are."""
    server = _Server(url, version)
    to.mkdir(parents=True, exist_ok=True)
    for id in server.call("GET", f"/fine_tuning/jobs/{job}")["result_files"]:
        path = to / f"{job}-{Path(server.call('GET', f'/files/{id}')['filename']).name}"
        path.write_bytes(server.send("GET", f"/files/{id}/content").content)
        print(path)


class _Server:
    """A server that speaks the API."""

    def __init__(self, url: str | None, version: str | None) -> None:
        names = ("AZURE_OPENAI_API_KEY",) if version else ("TUNESMITH_API_KEY", "OPENAI_API_KEY")
        key = next((os.environ[name] for name in names if os.environ.get(name)), None)
        if key is None:
            raise UsageError(f"there is no key. Put it into the environment as {' or '.join(names)}.")
        self._url = (url or os.environ.get("OPENAI_BASE_URL") or OURS).rstrip("/")
        self._headers = {"api-key": key} if version else {"authorization": f"Bearer {key}"}
        self._query = {"api-version": version} if version else {}

    def send(self, method: str, path: str, **given: Any) -> Any:
        """The reply, or an error in a sentence."""
        import httpx

        query = {**self._query, **given.pop("params", {})}
        try:
            reply = httpx.request(method, self._url + path, headers=self._headers, params=query, timeout=600, **given)
        except httpx.HTTPError as error:
            raise TunesmithError(f"{self._url}: cannot be reached: {error}. Start it: `tunesmith serve`.") from error
        if reply.is_success:
            return reply
        try:
            said = reply.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = reply.text[:300]
        raise UsageError(f"{self._url}: {said} ({reply.status_code})")

    def call(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        """The reply's JSON object."""
        found: dict[str, Any] = self.send(method, path, **given).json()
        return found

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """Everything in a list, page by page."""
        after: dict[str, str] = {}
        while True:
            page = self.call("GET", path, params={"limit": 100, **after})
            yield from page["data"]
            if not page.get("has_more") or not page["data"]:
                return
            after = {"after": page["data"][-1]["id"]}

    def upload(self, file: Path) -> str:
        """The id of a file that is now on the server."""
        with file.open("rb") as opened:
            reply = self.call("POST", "/files", files={"file": (file.name, opened)}, data={"purpose": "fine-tune"})
        return str(reply["id"])


def _order(job: str, order: str, url: str | None, version: str | None) -> None:
    print(_Server(url, version).call("POST", f"/fine_tuning/jobs/{job}/{order}")["status"])


def _print(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    print()
