"""What becomes of bytes: limits, expiry, names that lie, disks that refuse."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import RequestError
from tunesmith.jobs import files, uploads
from tunesmith.jobs.files import Described
from tunesmith.jobs.pages import Page
from tunesmith.jobs.tables import Job
from tunesmith.jobs.uploads import Uploads

PLAIN = Described("a.jsonl", "fine-tune")


def _stored(bench: Any) -> list[Path]:
    return [path for path in (bench.home.root / "files").rglob("*") if path.is_file()]


def test_the_limits_are_those_of_the_api() -> None:
    assert (files.MOST_BYTES, uploads.MOST_PART, uploads.MOST_WHOLE) == (512 << 20, 64 << 20, 8 << 30)


def test_a_file_beyond_its_limit_is_refused_and_leaves_nothing(bench: Any) -> None:
    with pytest.raises(RequestError) as error:
        bench.files.add(PLAIN, [b"1234", b"5678"], most=7)
    assert (error.value.status, error.value.code) == (413, "file_too_large")
    assert not _stored(bench)


def test_a_full_disk_is_said_and_leaves_nothing(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(RequestError) as error:
            bench.files.add(PLAIN, [b"1234"])
    assert (error.value.status, error.value.code) == (507, "disk_full")
    assert not _stored(bench)
    assert bench.files.page(Page(10), None) == ([], False)


def test_a_file_whose_time_is_over_is_gone_and_so_are_its_bytes(bench: Any) -> None:
    kept, going = bench.files.add(PLAIN, [b"a"]), bench.files.add(Described("b", "fine-tune", 3600), [b"b"])
    assert going.expires_at == bench.store.now + 3600
    bench.clock.now += 3600
    with pytest.raises(RequestError):
        bench.files.get(going.id)
    assert [row.id for row in bench.files.page(Page(10), None)[0]] == [kept.id]
    assert bench.files.expire() == 1
    assert [path.name for path in _stored(bench)] == [kept.id]


def test_a_name_that_looks_like_a_path_is_only_displayed(bench: Any) -> None:
    file = bench.files.add(Described("../../etc/passwd", "fine-tune"), [b"a"])
    assert bench.files.get(file.id).filename == "../../etc/passwd"
    assert bench.files.content(file.id) == bench.home.root / "files" / file.id


def test_a_job_keeps_the_data_that_it_was_created_with(bench: Any, finished: Callable[[Job], Job]) -> None:
    job = bench.create()
    bench.files.delete(job.training_file)
    assert not _stored(bench)
    assert finished(job).status == "succeeded"


def test_parts_beyond_what_was_announced_or_may_be_are_refused(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arriving = Uploads(bench.store, bench.home)
    for size in (0, uploads.MOST_WHOLE + 1):
        with pytest.raises(RequestError):
            arriving.begin(PLAIN, size)
    upload = arriving.begin(PLAIN, 10)
    arriving.add(upload.id, [b"12345678"])
    with pytest.raises(RequestError) as error:
        arriving.add(upload.id, [b"345"])
    assert error.value.status == 413
    monkeypatch.setattr(uploads, "MOST_PART", 4)
    with pytest.raises(RequestError):
        arriving.add(arriving.begin(PLAIN, 10).id, [b"12345"])


def test_an_upload_that_was_left_alone_for_an_hour_takes_no_more_parts(bench: Any) -> None:
    arriving = Uploads(bench.store, bench.home)
    upload = arriving.begin(PLAIN, 3)
    bench.clock.now += uploads.LIVES
    with pytest.raises(RequestError) as error:
        arriving.add(upload.id, [b"abc"])
    assert error.value.code == "upload_expired"
