"""The service behind the door: everything that the endpoints use, put together once."""

import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from tunesmith.errors import RequestError, UsageError
from tunesmith.jobs.files import Files
from tunesmith.jobs.home import Home
from tunesmith.jobs.keys import Keys
from tunesmith.jobs.lifecycle import Jobs
from tunesmith.jobs.permissions import Permissions
from tunesmith.jobs.shared import Shared
from tunesmith.jobs.store import Store, database_url
from tunesmith.jobs.tables import Key, Model
from tunesmith.jobs.uploads import Uploads
from tunesmith.jobs.webhooks import Webhooks
from tunesmith.jobs.worker import BASE, Worker, Workshop
from tunesmith.serving.catalogue import Catalogue
from tunesmith.serving.vllm import Vllm

log = logging.getLogger("tunesmith.web")
VLLM_PORT = 8100
COMMAND = (sys.executable, "-m", "tunesmith")


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a service is started. `bases` are models by their public name, `hosts` its own names.

    `python_graders` lets clients send functions that grade (confined to computing).
    """

    home: Path
    bases: Mapping[str, str]
    database: str | None = None
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    workers: int = 1
    command: Sequence[str] = COMMAND
    python_graders: bool = False
    shared: str | None = None
    engine: str = "embedded"
    vllm_url: str | None = None


@dataclass(slots=True)
class Service:
    """The parts of a running service."""

    wanted: Wanted
    store: Store
    home: Home
    files: Files
    uploads: Uploads
    jobs: Jobs
    keys: Keys
    permissions: Permissions
    webhooks: Webhooks
    catalogue: Catalogue
    vllm: Vllm | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    @classmethod
    def of(cls, wanted: Wanted) -> "Service":
        """A service on a home and a database, which is brought to this version."""
        root = wanted.home.absolute()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        home = Home(root, Shared(wanted.shared, root) if wanted.shared else None)
        store = Store(database_url(root, wanted.database))
        store.migrate()
        files = Files(store, home)
        return cls(
            wanted,
            store,
            home,
            files,
            Uploads(store, home),
            Jobs(store, home, wanted.bases),
            Keys(store),
            Permissions(store),
            Webhooks(store),
            Catalogue(wanted.bases, lambda name: model_folder(store, home, name)),
        )

    def admit(self, key: Key, model: str) -> None:
        """Nothing, if this key may use this model.

        Raises:
            RequestError: it is another project's.
        """
        if model in self.permissions.closed_to(key.project):
            raise RequestError(
                f"The model `{model}` does not exist or you do not have access to it.",
                status=404, code="model_not_found", param="model",
            )  # fmt: skip

    def start_engine(self) -> None:
        """What answers is there: the embedded engine at once, a vLLM when it is ready.

        Raises:
            UsageError: there is no such engine, or it does not begin.
        """
        if self.wanted.engine not in ("embedded", "vllm"):
            raise UsageError(f"--engine {self.wanted.engine}: expected embedded or vllm.")
        if self.wanted.engine == "embedded":
            return

        def find(name: str) -> Path | None:
            return model_folder(self.store, self.home, name)

        if self.wanted.vllm_url is None:
            self.vllm = Vllm.start(self.wanted.bases, find, VLLM_PORT)
        else:
            self.vllm = Vllm(self.wanted.vllm_url, list(self.wanted.bases), find)
            self.vllm.wait(10)

    def start_workers(self) -> None:
        """The workers are at work, each in a thread of its own, and one thread that tidies up."""
        shop = Workshop(self.store, self.home, dict(self.wanted.bases), self.wanted.command)
        for _ in range(self.wanted.workers):
            self.threads.append(threading.Thread(target=Worker(shop, self.stop).run, name="worker"))
        self.threads.append(threading.Thread(target=self._tidy, name="tidy"))
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Running jobs have saved and wait in the queue again; nothing of the service runs."""
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.catalogue.close()
        if self.vllm is not None:
            self.vllm.close()
        self.store.close()

    def _tidy(self) -> None:
        while not self.stop.wait(2.0):
            try:
                self.files.expire()
                self.webhooks.send_due()
            except Exception:
                log.exception("tidying up failed; it is tried again")


def model_folder(store: Store, home: Home, name: str) -> Path | None:
    """The folder of a tuned model, and with it that of a base of its own."""
    with store.read() as session:
        row = session.scalar(select(Model).where(Model.name == name))
    if row is None:
        return None
    home.fetched(home.job(row.job_id) / BASE)
    return home.fetched(home.root / row.folder)
