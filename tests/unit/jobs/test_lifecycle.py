"""What may happen to a job from outside."""

from typing import Any

import pytest

from tunesmith.errors import RequestError
from tunesmith.jobs.files import Described
from tunesmith.jobs.lifecycle import Sender
from tunesmith.jobs.pages import Page
from tunesmith.jobs.request import JobRequest


def _request(bench: Any, **more: Any) -> JobRequest:
    file = bench.files.add(Described("a.jsonl", "fine-tune"), [b"{}\n" * 20])
    return JobRequest.model_validate({"model": "base", "training_file": file.id, **more})


@pytest.mark.parametrize("order", ["pause", "resume"])
def test_an_order_in_the_wrong_state_is_refused_with_400(bench: Any, order: str) -> None:
    job = bench.create()
    with pytest.raises(RequestError) as error:
        getattr(bench.jobs, order)(job.id)
    assert error.value.status == 400


@pytest.mark.parametrize("order", ["pause", "resume", "cancel"])
def test_a_job_that_ended_stays_as_it_is(bench: Any, order: str) -> None:
    job = bench.create()
    bench.jobs.cancel(job.id)
    with pytest.raises(RequestError):
        getattr(bench.jobs, order)(job.id)
    assert bench.jobs.get(job.id).status == "cancelled"


def test_a_request_with_the_same_key_makes_one_job(bench: Any) -> None:
    asked, sender = _request(bench), Sender("k", request_key="once")
    assert bench.jobs.create(asked, sender).id == bench.jobs.create(asked, sender).id
    with pytest.raises(RequestError):
        bench.jobs.create(asked.model_copy(update={"seed": 7}), sender)


def test_a_retry_of_the_same_request_makes_no_second_job(bench: Any) -> None:
    asked = _request(bench)
    first = bench.jobs.create(asked, Sender("k"))
    assert bench.jobs.create(asked, Sender("k", retry=True)).id == first.id
    assert bench.jobs.create(asked, Sender("k")).id != first.id


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": "gpt-9"}, "model"),
        ({"training_file": "file-none"}, "training_file"),
        ({"method": {"type": "dpo"}}, "method.type"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations"),
        ({"tunesmith": {"data": {"train": "elsewhere"}}}, "tunesmith.data.train"),
        ({"tunesmith": {"supervision": {"chat_template": "file"}}}, "tunesmith.supervision.chat_template"),
        ({"tunesmith": {"training": {"lerning_rate": 1}}}, "tunesmith"),
    ],
)
def test_what_cannot_be_granted_is_refused_by_name(bench: Any, more: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as error:
        bench.jobs.create(_request(bench, **more))
    assert error.value.param == param


def test_a_key_has_a_limit_of_unfinished_jobs(bench: Any) -> None:
    bench.jobs.create(_request(bench), Sender("k", most_jobs=1))
    with pytest.raises(RequestError) as error:
        bench.jobs.create(_request(bench), Sender("k", most_jobs=1))
    assert error.value.status == 429


def test_pages_are_whole_and_without_repeats_while_the_list_grows(bench: Any) -> None:
    made = [bench.create().id for _ in range(5)]
    rows, more = bench.jobs.page(Page(2), {})
    seen = [row.id for row in rows]
    bench.create()
    while more:
        rows, more = bench.jobs.page(Page(2, seen[-1]), {})
        seen += [row.id for row in rows]
    assert seen == made[::-1]


def test_jobs_are_chosen_by_their_labels(bench: Any) -> None:
    chosen = bench.create(metadata={"team": "a"})
    bench.create(metadata={"team": "b"})
    assert [row.id for row in bench.jobs.page(Page(5), {"team": "a"})[0]] == [chosen.id]
