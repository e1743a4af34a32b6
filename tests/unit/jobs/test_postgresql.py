"""Several machines on one PostgreSQL and one shared place: nothing is done twice, nothing is lost."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import postgres
import pytest
from sqlalchemy import create_engine, inspect, make_url, select, text
from unit.jobs.conftest import FAKE, bench_on

from tunesmith.jobs.files import Described, Files
from tunesmith.jobs.home import Home
from tunesmith.jobs.keys import Keys
from tunesmith.jobs.lifecycle import Sender
from tunesmith.jobs.pages import Page
from tunesmith.jobs.queue import LEASE_SECONDS
from tunesmith.jobs.request import JobRequest
from tunesmith.jobs.shared import Shared
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import Job, Model, Table
from tunesmith.jobs.worker import Worker, Workshop

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A running server."""
    with postgres.server() as url:
        if url is None:
            pytest.skip("there is no PostgreSQL on this machine (initdb, pg_ctl)")
        yield url


@dataclass
class Cluster:
    """A database, a shared place, and machines with homes of their own."""

    url: str
    folder: Path
    bench: Any

    def home(self, name: str) -> Home:
        """The home of a machine."""
        root = self.folder / name
        root.mkdir(exist_ok=True)
        return Home(root, Shared(str(self.folder / "shared"), root))

    def machine(self, name: str, stop: threading.Event | None = None) -> tuple[Store, Worker]:
        """A worker on a machine of its own."""
        store = Store(self.url, clock=self.bench.clock)
        shop = Workshop(store, self.home(name), {"base": "base"}, FAKE, poll=0.01)
        return store, Worker(shop, stop or threading.Event())


@pytest.fixture
def cluster(server: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A fresh database and an API machine."""
    name = f"t{abs(hash(request.node.nodeid))}"
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    found = Cluster(url, tmp_path, None)
    found.bench = bench_on(url, found.home("api"))
    yield found
    found.bench.store.close()


def test_the_migrated_tables_are_those_that_the_code_speaks_of(cluster: Cluster, bench: Any) -> None:
    for store in (cluster.bench.store, bench.store):
        with store.read() as session:
            found = inspect(session.connection())
            for table in Table.metadata.sorted_tables:
                columns = {c["name"]: c["nullable"] for c in found.get_columns(table.name)}
                assert columns == {c.name: c.nullable for c in table.columns}, table.name
                unique = {tuple(u["column_names"]) for u in found.get_unique_constraints(table.name)}
                assert ("id",) in unique or "id" not in columns


def test_workers_on_other_machines_do_each_job_once(cluster: Cluster) -> None:
    jobs = [cluster.bench.create() for _ in range(6)]
    machines = [cluster.machine(f"m{number}") for number in range(3)]

    def work(worker: Worker) -> None:
        while worker.work_once():
            continue

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, [worker for _, worker in machines]))
    work(machines[0][1])
    for job in jobs:
        assert cluster.bench.jobs.get(job.id).status == "succeeded"
        steps = [message for message in cluster.bench.messages(job) if message.startswith("Step ")]
        assert len(steps) == len(set(steps)) == 6
        result = cluster.bench.files.content(cluster.bench.jobs.get(job.id).result_files[0])
        assert result.read_text().startswith("step,train_loss")
    for store, _ in machines:
        store.close()


def test_a_job_goes_on_from_its_checkpoint_on_another_machine(cluster: Cluster) -> None:
    job = cluster.bench.create("SLOW\n" * 20)
    stop = threading.Event()
    store, worker = cluster.machine("first", stop)
    thread = threading.Thread(target=lambda: [worker.work_once() for _ in range(2)])
    thread.start()
    tick = threading.Event()
    while not any(message.startswith("Step 1/") for message in cluster.bench.messages(job)):
        tick.wait(0.05)
    home = cluster.home("first").job(job.id)
    for step in (2, 3):  # what the stand-in would write, with the checkpoint of its first epoch
        with (home / "run" / "metrics.jsonl").open("a") as file:
            file.write(f'{{"step": {step}, "epoch": 1, "loss": 0.5, "seconds": 0.1}}\n')
    (home / "run" / "checkpoints" / "step-3").mkdir(parents=True)
    while not (cluster.folder / "shared" / "jobs" / job.id / "run").is_dir():
        tick.wait(0.05)
    stop.set()
    thread.join(60)
    for name in ("train.jsonl",):  # the other machine gets data that do not wait
        (cluster.folder / "shared" / "jobs" / job.id / name).write_text("{}\n" * 20)
    cluster.bench.clock.now += LEASE_SECONDS + 1
    other, second = cluster.machine("second")
    while second.work_once():
        continue
    assert cluster.bench.jobs.get(job.id).status == "succeeded"
    journal = (cluster.home("second").job(job.id) / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(journal) == 6
    assert "0.5" in journal[2]  # the third step is that of the first machine
    for closed in (store, other):
        closed.close()


def test_the_same_request_sent_at_once_makes_one_job(cluster: Cluster) -> None:
    key, _ = Keys(cluster.bench.store).create("mine", "jobs")
    file = cluster.bench.files.add(Described("a.jsonl", "fine-tune"), [b"{}\n" * 20])
    asked = JobRequest(model="base", training_file=file.id)

    def create(number: int) -> str:
        sender = Sender(key.id, request_key="once") if number % 2 else Sender(key.id, request_key="two", retry=True)
        return cluster.bench.jobs.create(asked, sender).id

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(create, range(8)))
    assert len(found) <= 2
    assert len(cluster.bench.jobs.page(Page(10), {})[0]) == len(found)


def test_what_one_machine_stores_another_one_reads_and_nobody_after_it_is_deleted(cluster: Cluster) -> None:
    file = cluster.bench.files.add(Described("a.txt", "fine-tune"), [b"abc"])
    other = Files(cluster.bench.store, cluster.home("other"))
    assert other.content(file.id).read_bytes() == b"abc"
    other.delete(file.id)
    assert not (cluster.folder / "shared" / "files" / file.id).exists()


def test_a_frozen_worker_that_wakes_changes_nothing(cluster: Cluster) -> None:
    job = cluster.bench.create("SLOW\n" * 20)
    store, worker = cluster.machine("frozen")
    thread = threading.Thread(target=lambda: [worker.work_once() for _ in range(2)])
    thread.start()
    tick = threading.Event()
    while not any(message.startswith("Step 1/") for message in cluster.bench.messages(job)):
        tick.wait(0.05)
    with cluster.bench.store.write() as session:  # another worker took it: the lease is no longer the first one's
        row = session.get(Job, job.seq)
        row.fence, row.owner = row.fence + 1, "another"
    before = cluster.bench.messages(job)
    thread.join(60)
    assert not thread.is_alive()
    assert cluster.bench.messages(job) == before
    assert cluster.bench.jobs.get(job.id).owner == "another"
    store.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the shared place of this test is a server in this process")
def test_the_shared_place_may_be_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto.server", reason="moto and s3fs are not installed")
    pytest.importorskip("s3fs")
    s3 = moto.ThreadedMotoServer(port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    try:
        import s3fs

        s3fs.S3FileSystem().mkdir("bucket")
        one, two = (Home(tmp_path / n, Shared("s3://bucket/place", tmp_path / n)) for n in ("one", "two"))
        (one.job("j") / "run" / "checkpoints" / "step-1").mkdir(parents=True)
        (one.job("j") / "run" / "checkpoints" / "step-1" / "w").write_bytes(b"weights")
        one.shared.save_run(one.job("j"), 3)  # type: ignore[union-attr]
        two.shared.take_run(two.job("j"), 4)  # type: ignore[union-attr]
        assert (two.job("j") / "run" / "checkpoints" / "step-1" / "w").read_bytes() == b"weights"
        path = one.file("f")
        path.parent.mkdir()
        path.write_bytes(b"abc")
        assert two.fetched(two.file(one.share(path).name)).read_bytes() == b"abc"
        one.remove(path)
        assert (
            not Home(tmp_path / "three", Shared("s3://bucket/place", tmp_path / "three"))
            .fetched(tmp_path / "three" / "files" / "f")
            .exists()
        )
    finally:
        s3.stop()


def test_every_model_that_a_job_made_can_be_fetched_by_another_machine(cluster: Cluster) -> None:
    job = cluster.bench.create()
    store, worker = cluster.machine("m")
    while worker.work_once():
        continue
    reader = cluster.home("reader")
    with store.read() as session:
        folders = list(session.scalars(select(Model.folder).where(Model.job_id == job.id)))
    assert len(folders) == 3
    assert all((reader.fetched(reader.root / folder) / "adapter_model.safetensors").is_file() for folder in folders)
    store.close()
