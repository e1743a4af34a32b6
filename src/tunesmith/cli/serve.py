"""`tunesmith serve` and `tunesmith keys`: the fine-tuning API on this machine, and who may use it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tunesmith.errors import UsageError

if TYPE_CHECKING:
    from tunesmith.jobs.keys import Keys
    from tunesmith.web.service import Wanted

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
keys = typer.Typer(help="Make, list and revoke keys of the server.", no_args_is_help=True, rich_markup_mode=None)
HOME = Path("tunesmith-home")
Home = Annotated[Path, typer.Option(metavar="DIR", help="Where the server keeps everything.")]
Database = Annotated[str | None, typer.Option(metavar="URL", help="postgresql://…; embedded SQLite without.")]
Shared = Annotated[
    str | None, typer.Option(metavar="URL", help="Where several machines share files and models: a folder, s3://…")
]
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(help="The port to listen on.")]
Workers = Annotated[int, typer.Option(min=0, help="Jobs that train at once; 0 serves only.")]
Models = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME[=MODEL]", help="A model to offer, under the name that clients use; again for more."),
]
Hosts = Annotated[list[str] | None, typer.Option(metavar="NAME", help="A further host name that clients may use.")]
Python = Annotated[bool, typer.Option("--python-graders", help="Run graders that clients send as Python, confined.")]

Engine = Annotated[str, typer.Option(help="What answers: embedded, or vllm.")]
Remote = Annotated[str | None, typer.Option(metavar="URL", help="A vLLM that runs already; one is started without.")]


@app.callback()
def serve(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    home: Home = HOME,
    database: Database = None,
    workers: Workers = 1,
    model: Models = None,
    allow_host: Hosts = None,
    python_graders: Python = False,
    engine: Engine = "embedded",
    vllm_url: Remote = None,
) -> None:
    """Serve the OpenAI fine-tuning API: files, jobs, events, checkpoints, models and chat.

    Point a client at http://HOST:PORT/v1 with the key that the first start shows.
    """
    if context.invoked_subcommand is None:
        given = _Given(home, database, None, model, python_graders, engine, vllm_url)
        _serve(host, port, allow_host, workers, given)


@app.command()
def api(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    home: Home = HOME,
    database: Database = None,
    shared: Shared = None,
    model: Models = None,
    allow_host: Hosts = None,
    python_graders: Python = False,
    engine: Engine = "embedded",
    vllm_url: Remote = None,
) -> None:
    """Serve the API alone; `tunesmith serve worker` carries the jobs out, on this machine or on others."""
    _serve(host, port, allow_host, 0, _Given(home, database, shared, model, python_graders, engine, vllm_url))


@app.command()
def worker(
    home: Home = HOME,
    database: Database = None,
    shared: Shared = None,
    workers: Annotated[int, typer.Option(min=1, help="Jobs that train at once.")] = 1,
    model: Models = None,
) -> None:
    """Carry out the jobs of a service whose API runs elsewhere."""
    from tunesmith.web.server import work

    work(_Given(home, database, shared, model).wanted((), workers), _say)


class _Given(NamedTuple):
    """What all three commands are told."""

    home: Path
    database: str | None
    shared: str | None
    models: list[str] | None
    python_graders: bool = False
    engine: str = "embedded"
    vllm_url: str | None = None

    def wanted(self, hosts: tuple[str, ...], workers: int) -> "Wanted":
        from tunesmith.web.service import Wanted

        bases = dict(_named(text) for text in self.models or ["smollm2-135m-instruct"])
        return Wanted(
            self.home,
            bases,
            self.database,
            hosts,
            workers,
            python_graders=self.python_graders,
            shared=self.shared,
            engine=self.engine,
            vllm_url=self.vllm_url,
        )


def _serve(host: str, port: int, allowed: list[str] | None, workers: int, given: _Given) -> None:
    from tunesmith.web.server import serve as run

    hosts = ("127.0.0.1", "localhost", "[::1]", host.lower(), *(name.lower() for name in allowed or ()))
    run(given.wanted(hosts, workers), host, port, _say)


def _say(text: str) -> None:
    print(text, flush=True)  # standard error is the log, and a key does not belong there


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    scope: Annotated[str, typer.Option(help="admin, jobs or inference.")] = "jobs",
    per_minute: Annotated[int, typer.Option(min=1, help="Most requests a minute.")] = 600,
    most_jobs: Annotated[int, typer.Option(min=0, help="Most unfinished jobs at once.")] = 1000,
    project: Annotated[str | None, typer.Option(help="The project whose models it may use; all without.")] = None,
    home: Home = HOME,
    database: Database = None,
) -> None:
    """Make a key; it is printed now and never again."""
    from tunesmith.jobs.keys import Limits

    print(_keys(home, database).create(name, scope, Limits(per_minute, most_jobs, project))[1])


@keys.command("list")
def list_keys(home: Home = HOME, database: Database = None) -> None:
    """Print all keys, without their secrets."""
    for key in _keys(home, database).all():
        made = time.strftime("%Y-%m-%d", time.gmtime(key.created_at))
        state = "in use" if key.revoked_at is None else "revoked"
        print(f"{key.id}\t{key.scope}\t{state}\t{made}\t{key.name}")


@keys.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
    home: Home = HOME,
    database: Database = None,
) -> None:
    """Let a key open nothing any more."""
    _keys(home, database).revoke(id)


def _keys(home: Path, database: str | None) -> "Keys":
    from tunesmith.jobs.keys import Keys
    from tunesmith.jobs.store import Store, database_url

    if database is None and not (home / "service.db").is_file():
        raise UsageError(f"{home}: no server was ever started here. Start one: `tunesmith serve --home {home}`.")
    store = Store(database_url(home.absolute(), database))
    store.migrate()
    return Keys(store)


def _named(text: str) -> tuple[str, str]:
    name, _, source = text.partition("=")
    if not name or name.startswith("ft:"):
        raise UsageError(f"--model {text}: expected NAME or NAME=MODEL; names with ft: are those of tuned models.")
    path = Path(source or name)
    return name, str(path.absolute()) if path.exists() else source or name
