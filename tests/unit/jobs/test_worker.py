"""What a worker makes of jobs, good and bad."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from tunesmith.jobs.pages import Page
from tunesmith.jobs.queue import LEASE_SECONDS, Fenced, Queue
from tunesmith.jobs.tables import Job, Model

pytestmark = pytest.mark.whole

Finished = Callable[[Job], Job]


def test_a_job_goes_from_its_file_to_a_model_with_events_in_known_words(bench: Any, finished: Finished) -> None:
    job = finished(bench.create(suffix="My Co", hyperparameters={"n_epochs": 2}))
    assert job.status == "succeeded"
    assert job.fine_tuned_model == f"ft:base:tunesmith:my-co:{job.id[6:14]}"
    assert (job.trained_tokens, job.finished_at, job.error) == (600, bench.store.now, None)
    assert job.hyperparameters == {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 1.0}
    told = bench.messages(job)
    assert told[0] == f"Created fine-tuning job: {job.id}"
    assert told[1].startswith("Validating training file: file-")
    assert told[2:4] == ["Files validated, moving job to queued state", "Fine-tuning job started"]
    assert "Step 3/6: training loss=0.33, validation loss=0.67" in told
    assert told[-2:] == [f"New fine-tuned model created: {job.fine_tuned_model}", "The job has successfully completed"]


def test_the_result_file_has_the_known_columns(bench: Any, finished: Finished) -> None:
    job = finished(bench.create())
    lines = bench.files.content(job.result_files[0]).read_text().splitlines()
    assert lines[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert lines[1] == "1,1.0,0.5,,"
    assert len(lines) == 7


def test_every_epoch_has_a_checkpoint_whose_folder_holds_its_own_weights(bench: Any, finished: Finished) -> None:
    job = finished(bench.create())
    rows, more = bench.jobs.checkpoints(job.id, Page(10))
    assert [row.name for row in rows] == [f"{job.fine_tuned_model}:ckpt-step-{step}" for step in (6, 3)]
    assert not more
    with bench.store.read() as session:
        folders = {m.name: bench.home.root / m.folder for m in session.scalars(select(Model))}
    raw = (folders[rows[1].name] / "adapter_model.safetensors").read_bytes()
    assert raw.endswith(bytes([3, 0, 0, 0]))
    assert b"base_model.model.layer.lora_A.weight" in raw


def test_epochs_left_open_follow_the_published_rule(bench: Any, finished: Finished) -> None:
    assert finished(bench.create("{}\n" * 20)).hyperparameters["n_epochs"] == 5


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("{}\n" * 9, "invalid_n_examples", "has 9 example(s), but must have at least 10"),
        ("{}\n" * 20 + "BROKEN\n" * 3, "invalid_training_file", "Line 21, messages[0].role: what? (2 more"),
        ("FULL\n" * 20, "disk_full", "the disk is full"),
        ("POOR\n" * 20, "out_of_memory", "too little memory"),
        ("CRASH\n" * 20, "out_of_memory", "killed 3 times"),
    ],
)
def test_a_job_that_cannot_succeed_fails_with_a_code_and_the_next_one_runs(
    bench: Any, finished: Finished, text: str, code: str, said: str
) -> None:
    bad, good = bench.create(text), bench.create()
    worker = bench.worker()
    while worker.work_once():
        continue
    bad = bench.jobs.get(bad.id)
    assert (bad.status, bad.error["code"], bad.fine_tuned_model) == ("failed", code, None)
    assert said in bad.error["message"]
    assert bench.jobs.get(good.id).status == "succeeded"


def test_every_bad_line_is_told(bench: Any, finished: Finished) -> None:
    job = finished(bench.create("{}\n" * 20 + "BROKEN\n" * 3))
    told = [message for message in bench.messages(job) if message.startswith("Line ")]
    assert told == [f"Line {n}, messages[0].role: what?" for n in (23, 22, 21)]


def test_a_worker_that_lost_its_lease_may_write_no_more(bench: Any) -> None:
    bench.create()
    old, new = Queue(bench.store, "old"), Queue(bench.store, "new")
    lease = old.take()
    assert lease is not None
    assert new.take() is None
    bench.clock.now += LEASE_SECONDS + 1
    assert new.take() is not None
    with pytest.raises(Fenced), old.report(lease):
        pass


def _until(condition: Callable[[], bool]) -> None:
    """Wait for another thread, for at most half a minute."""
    tick = threading.Event()
    for _ in range(3000):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("it never happened")


def _running(bench: Any, job: Job) -> threading.Thread:
    worker = bench.worker()
    thread = threading.Thread(target=lambda: [worker.work_once() for _ in range(2)])
    thread.start()
    _until(lambda: any(message.startswith("Step 1/") for message in bench.messages(job)))
    return thread


def test_a_paused_job_goes_on_where_it_was(bench: Any, finished: Finished) -> None:
    job = bench.create("SLOW\n" * 20)
    thread = _running(bench, job)
    assert bench.jobs.pause(job.id).status == "paused"
    thread.join(30)
    (bench.home.job(job.id) / "train.jsonl").write_text("{}\n" * 20)
    assert bench.jobs.resume(job.id).status == "queued"
    assert finished(job).status == "succeeded"
    steps = [message for message in bench.messages(job) if message.startswith("Step ")]
    assert len(steps) == len(set(steps)) == 6


def test_a_cancelled_job_ends_at_once_and_its_child_with_it(bench: Any) -> None:
    job = bench.create("SLOW\n" * 20)
    thread = _running(bench, job)
    assert bench.jobs.cancel(job.id).status == "cancelled"
    thread.join(30)
    assert not thread.is_alive()
    assert bench.jobs.get(job.id).status == "cancelled"


def test_a_stopping_worker_gives_its_job_back_to_the_queue(bench: Any) -> None:
    job = bench.create("SLOW\n" * 20)
    thread = _running(bench, job)
    bench.stop.set()
    thread.join(30)
    found = bench.jobs.get(job.id)
    assert (found.status, found.owner, found.attempts) == ("queued", None, 0)


def test_a_worker_outlives_a_job_that_breaks_it(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, tries = bench.worker(), list[int]()

    def broken() -> bool:
        tries.append(1)
        if len(tries) == 2:
            bench.stop.set()
        raise ValueError("unforeseen")

    monkeypatch.setattr(worker, "work_once", broken)
    worker.run()
    assert len(tries) == 2
