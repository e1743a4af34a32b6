import csv
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.data import remote
from tunesmith.errors import DataError
from tunesmith.evaluation.benchmark import asked
from tunesmith.evaluation.places import files_of
from tunesmith.evaluation.task import load_task

SUBJECTS = ("anatomy", "law")


def question(subject: str, part: str, number: int) -> tuple[str, list[str], int]:
    return f"{subject} {part} {number}?", [f"{letter} of {number}" for letter in "wxyz"], number % 4


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """A stand-in for the hub in memory, with MMLU in two subjects as the hub has it."""
    monkeypatch.delenv("TUNESMITH_DATA", raising=False)
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def address(name: str) -> str:
        repository, subset, split = name.removeprefix("hub:").split(":")
        return f"memory://{repository}/{subset}/{split}/*.parquet"

    monkeypatch.setattr(remote, "hub_address", address)
    files = fsspec.filesystem("memory")
    for subject in (*SUBJECTS, "all"):
        for part, count in (("test", 3), ("dev", 5)):
            rows = [question(subject, part, number) for number in range(count)]
            table = pa.table(
                {name: [row[i] for row in rows] for i, name in enumerate(("question", "choices", "answer"))}
            )
            with files.open(f"/cais/mmlu/{subject}/{part}/0000.parquet", "wb") as file:
                pq.write_table(table, file)
    yield files
    files.store.clear()


def local(folder: Path) -> None:
    """The same questions as the files that MMLU is published as."""
    for subject in SUBJECTS:
        for part, count in (("test", 3), ("dev", 5)):
            place = folder / "mmlu" / part
            place.mkdir(parents=True, exist_ok=True)
            with (place / f"{subject}_{part}.csv").open("w", newline="") as file:
                for text, choices, right in (question(subject, part, number) for number in range(count)):
                    csv.writer(file).writerow([text, *choices, "ABCD"[right]])


@pytest.mark.usefixtures("hub")
def test_a_benchmark_of_the_hub_asks_what_its_files_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, place, _ = load_task("mmlu")
    of_hub = asked(task, place, subset=None, shots=None, limit=None)
    assert len(of_hub) == 6
    local(tmp_path / "files")
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path / "files"))
    assert of_hub == asked(task, place, subset=None, shots=None, limit=None)


def test_every_file_of_a_subset_is_asked_one_after_the_other(hub: fsspec.AbstractFileSystem) -> None:
    task, place, subset = load_task("mmlu:law")
    first = asked(task, place, subset=subset, shots=2, limit=None)
    hub.copy("/cais/mmlu/law/dev/0000.parquet", "/cais/mmlu/law/test/0001.parquet")
    both = asked(task, place, subset=subset, shots=2, limit=None)
    assert both[:3] == first
    assert [question.prompt.splitlines()[-6] for question in both[3:]] == [f"law dev {number}?" for number in range(5)]


@pytest.mark.parametrize("name", ["mmlu:law", "mmlu"])
def test_what_was_fetched_is_asked_again_without_the_hub(name: str, hub: fsspec.AbstractFileSystem) -> None:
    task, place, subset = load_task(name)
    first = asked(task, place, subset=subset, shots=1, limit=None)

    def broken(*_: object, **__: object) -> None:
        raise OSError("no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(hub), "glob", broken)
        assert asked(task, place, subset=subset, shots=1, limit=None) == first


@pytest.mark.usefixtures("hub")
def test_a_benchmark_that_is_nowhere_says_where_was_looked() -> None:
    task, place, subset = load_task("gsm8k")
    with pytest.raises(DataError, match=r"TUNESMITH_DATA.*and the hub does not give it: .*openai/gsm8k"):
        asked(task, place, subset=subset, shots=None, limit=None)


def test_a_subset_of_a_benchmark_without_subsets_is_nowhere_on_the_hub_either(hub: fsspec.AbstractFileSystem) -> None:
    task, place, subset = load_task("gsm8k:algebra")
    with hub.open("/openai/gsm8k/main/test/0000.parquet", "wb") as file:
        pq.write_table(pa.table({"question": ["1 + 1?"], "answer": ["#### 2"]}), file)
    with pytest.raises(DataError, match="there is no subset 'algebra'"):
        asked(task, place, subset=subset, shots=0, limit=None)


@pytest.mark.parametrize("error", [OSError, RuntimeError])
@pytest.mark.usefixtures("hub")
def test_a_hub_that_does_not_answer_is_said_whatever_its_client_calls_it(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error("no network")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "glob", broken)
    task, place, subset = load_task("mmlu")
    with pytest.raises(DataError, match=r"TUNESMITH_DATA.*or name a subset.*no network"):
        asked(task, place, subset=subset, shots=None, limit=None)


@pytest.mark.usefixtures("hub")
def test_an_address_of_a_task_is_fetched(tmp_path: Path) -> None:
    ((path, subset),) = files_of("hub:cais/mmlu:law:dev", tmp_path / "task.yaml")
    assert (path.suffix, subset) == (".parquet", "")


def test_files_are_found_with_their_subsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}_test.csv").touch()
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    assert [subset for _, subset in files_of("{subset}_test.csv", Path("task.yaml"))] == ["a", "b"]
    with pytest.raises(DataError, match="TUNESMITH_DATA"):
        files_of("nothing.csv", tmp_path / "task.yaml")
