"""A run that was interrupted and resumed is, bit for bit, the run that never was."""

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import chat_file, tiny_model

from tunesmith.disk import sha256_of
from tunesmith.errors import CheckpointError, Interrupted, TrainingError, UsageError
from tunesmith.recipe import load_recipe
from tunesmith.run import folder as places
from tunesmith.run import stopping
from tunesmith.run.train import resume, train
from tunesmith.training import step
from tunesmith.training.progress import Progress

pytestmark = pytest.mark.whole

METHODS = {
    "full": ["method.kind=full"],
    "frozen": ["method.kind=frozen", "method.layers=1"],
    "lora": ["method.rank=4"],
    "lora with dropout": ["method.rank=4", "method.dropout=0.2"],
    "small micro-batches": ["method.kind=full", "training.micro_batch_tokens=80"],
    "momentum": ["method.kind=full", "training.optimizer={kind: sgd, momentum: 0.9}"],
    "early stopping": [
        "method.kind=full",
        "checkpoints.every=1",
        "training.validation={patience: 2, min_improvement: 100.0, every: 2}",
    ],
    "deterministic": ["method.kind=full", "training.deterministic=true"],
}
KILLS = {"early stopping": (1, 5)}
"""After which updates a run is killed, where not after 4 and 8: here when one of two validations was not better."""
STEPS = 11


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.fixture(autouse=True)
def any_operation() -> Iterator[None]:
    """What a deterministic run settles for its process is undone."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("data")
    return chat_file(folder / "train.jsonl"), chat_file(folder / "validation.jsonl", count=6, start=100)


def arguments(model: Path, data: tuple[Path, Path], run: Path, *more: str) -> list[str]:
    return [
        f"model={model}", f"run={run}", f"data.train={data[0]}", f"data.validation={data[1]}", "data.test=0",
        "training.batch_size=5", f"training.steps={STEPS}", "training.validation.every=2", "checkpoints.every=3", *more,
    ]  # fmt: skip


def contents(run: Path) -> dict[str, Any]:
    """Everything that must be the same: the journal apart from times, and the bytes of every tensor file."""
    journal = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for entry in journal:
        del entry["seconds"]
    files = {str(f.relative_to(run)): sha256_of(f) for f in sorted(run.rglob("*.safetensors"))}
    return {"journal": journal, "files": files}


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Run `act`, and tear it down in the middle of the loop right after update `step`."""

    class Killed(BaseException):
        pass

    real = Progress.step

    def deadly(self: Progress, entry: Any) -> None:
        real(self, entry)
        if entry["step"] == step:
            raise Killed

    monkeypatch.setattr(Progress, "step", deadly)
    with pytest.raises(Killed):
        act()
    monkeypatch.setattr(Progress, "step", real)


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_gives_the_same_bits(
    method: str, model: Path, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    train(load_recipe(None, arguments(model, data, whole, *METHODS[method])), say=quiet)
    expected = contents(whole)
    assert expected["files"]
    broken = tmp_path / "broken"
    first, second = KILLS.get(method, (4, 8))
    recipe = load_recipe(None, arguments(model, data, broken, *METHODS[method]))
    killed_at(first, monkeypatch, lambda: train(recipe, say=quiet))
    killed_at(second, monkeypatch, lambda: resume(broken, say=quiet))
    resume(broken, say=quiet)
    assert contents(broken) == expected


def test_a_run_killed_between_two_micro_batches_gives_the_same_bits(
    model: Path, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = METHODS["small micro-batches"]
    train(load_recipe(None, arguments(model, data, tmp_path / "whole", *settings)), say=quiet)

    class Killed(BaseException):
        pass

    real, done = step._losses, list[float | None]()

    def deadly(*given: Any, scale: float | None, **more: Any) -> Any:
        done.append(scale)
        # A step's micro-batches share their scale, so the one before belongs to this step too.
        if scale is not None and len(done) > 30 and done[-2] == scale:
            raise Killed
        return real(*given, scale=scale, **more)

    broken = tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(step, "_losses", deadly)
        with pytest.raises(Killed):
            train(load_recipe(None, arguments(model, data, broken, *settings)), say=quiet)
    resume(broken, say=quiet)
    assert contents(broken) == contents(tmp_path / "whole")


def test_early_stopping_ends_the_run_early(model: Path, data: tuple[Path, Path], tmp_path: Path) -> None:
    result = train(load_recipe(None, arguments(model, data, tmp_path / "run", *METHODS["early stopping"])), say=quiet)
    assert result.report["ended"] == "patience"
    assert result.report["steps"] < STEPS


def test_resuming_a_finished_run_changes_nothing_and_loads_no_model(
    model: Path, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, said = tmp_path / "run", list[str]()
    done = train(load_recipe(None, arguments(model, data, run)), say=quiet)
    before = contents(run)
    (run / "report.json").rename(tmp_path / "report.json")  # killed before its last word
    assert resume(run, say=quiet).report["steps"] == STEPS
    assert contents(run) == before
    (tmp_path / "report.json").rename(run / "report.json")
    monkeypatch.delattr("tunesmith.run.train.make_ready")
    assert resume(run, say=said.append).report == done.report
    assert f"is finished, after {STEPS} steps" in said[-1]
    assert contents(run) == before


def test_resume_auto_starts_and_then_goes_on(
    model: Path, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    recipe = load_recipe(None, arguments(model, data, run))
    killed_at(2, monkeypatch, lambda: train(recipe, resume="auto", say=quiet))
    assert train(recipe, resume="auto", say=quiet).report["steps"] == STEPS


def test_changed_data_are_refused_unless_accepted(
    model: Path, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    moved = chat_file(tmp_path / "train.jsonl"), data[1]
    killed_at(4, monkeypatch, lambda: train(load_recipe(None, arguments(model, moved, run)), say=quiet))
    chat_file(moved[0], count=23)
    with pytest.raises(CheckpointError, match=r"(?s)data\.train: was .*--accept"):
        resume(run, say=quiet)
    assert resume(run, ["data.train"], say=quiet).report["steps"] == STEPS


@pytest.fixture(scope="module")
def whole(model: Path, data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run of no settings of its own gives that nobody disturbs."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(load_recipe(None, arguments(model, data, run)), say=quiet)
    return contents(run)


def at_step(step: int, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have `act` happen right after update `step`, the first time."""
    real, waiting = Progress.step, [act]

    def acting(self: Progress, entry: Any) -> None:
        real(self, entry)
        if entry["step"] == step and waiting:
            waiting.pop()()

    monkeypatch.setattr(Progress, "step", acting)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_asked_to_end_saves_its_step_says_how_to_go_on_and_does_so_with_the_same_bits(
    number: signal.Signals, whole: dict[str, Any], model: Path, data: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    at_step(4, monkeypatch, lambda: signal.raise_signal(number))
    with pytest.raises(Interrupted, match=rf"after step 4 of {STEPS}, saved.*train --resume {run}") as ended:
        train(load_recipe(None, arguments(model, data, run)), say=quiet)
    assert ended.value.exit_code == 130
    assert (run / "checkpoints" / "step-4").is_dir()
    resume(run, say=quiet)
    assert contents(run) == whole


def test_a_run_asked_twice_stops_at_once_and_goes_on_with_the_same_bits(
    whole: dict[str, Any], model: Path, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(stopping, "SAME_REQUEST", 0.0)

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    at_step(4, monkeypatch, twice)
    with pytest.raises(KeyboardInterrupt):
        train(load_recipe(None, arguments(model, data, run)), say=quiet)
    assert not (run / "checkpoints" / "step-4").exists()
    resume(run, say=quiet)
    assert contents(run) == whole


def test_too_little_memory_proposes_the_setting_that_needs_less(
    model: Path, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def refuse() -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    at_step(4, monkeypatch, refuse)
    with pytest.raises(TrainingError, match=rf"--resume {run} training\.micro_batch_tokens=512") as told:
        train(load_recipe(None, arguments(model, data, run, "training.micro_batch_tokens=1024")), say=quiet)
    proposed = str(told.value).split()[-1]
    assert resume(run, longer=[proposed], say=quiet).report["steps"] == STEPS


def test_the_best_checkpoint_stays_beside_the_last(model: Path, data: tuple[Path, Path], tmp_path: Path) -> None:
    once = ("checkpoints.every=2", "checkpoints.keep=1")
    first_is_best = "training.validation={every: 2, min_improvement: 100.0}"
    train(load_recipe(None, arguments(model, data, tmp_path / "run", *once, first_is_best)), say=quiet)
    assert {folder.name for folder in (tmp_path / "run" / "checkpoints").iterdir()} == {"step-2", f"step-{STEPS}"}


@pytest.fixture
def interrupted(
    model: Path, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[str]]:
    """A run that was killed after its fourth update, on a model of its own, and how it was begun."""
    own = shutil.copytree(model, tmp_path / "model")
    begun = arguments(own, data, tmp_path / "run", "training.learning_rate=0.001")
    killed_at(4, monkeypatch, lambda: train(load_recipe(None, begun), say=quiet))
    return tmp_path / "run", begun


def altered(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def test_whatever_changed_is_refused_by_name_and_what_was_accepted_is_not_asked_again(
    interrupted: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = interrupted
    altered(run / "recipe.yaml", "learning_rate: 0.001", "learning_rate: 0.5")
    with pytest.raises(CheckpointError, match=r"training\.learning_rate: was 0\.001, is 0\.5"):
        resume(run, say=quiet)
    altered(run / "recipe.yaml", "learning_rate: 0.5", "learning_rate: 0.001")
    monkeypatch.setattr(places, "NUMERICS", 99)
    with pytest.raises(CheckpointError, match=r"numerics: was .*, is 99"):
        resume(run, say=quiet)
    killed_at(5, monkeypatch, lambda: resume(run, ["numerics"], say=quiet))
    assert resume(run, say=quiet).report["steps"] == STEPS


def test_another_template_and_other_weights_are_refused_and_accepted_by_the_names_that_are_told(
    interrupted: tuple[Path, list[str]],
) -> None:
    run, _ = interrupted
    model = run.parent / "model"
    altered(model / "chat_template.jinja", "<|im_start|>", "<|im_start|> ")
    weights = load_file(model / "model.safetensors")
    save_file({name: weight + 0.01 for name, weight in weights.items()}, model / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"(?s)model: was .*tokenizer and template: was") as told:
        resume(run, say=quiet)
    names = re.findall(r"--accept '([^']+)'", str(told.value))
    assert names == ["model", "tokenizer and template"]
    assert resume(run, names, say=quiet).report["steps"] == STEPS


def test_a_run_begun_otherwise_is_not_gone_on_with_in_silence(interrupted: tuple[Path, list[str]]) -> None:
    _, begun = interrupted
    other = load_recipe(None, [*begun, "training.learning_rate=0.002"])
    with pytest.raises(CheckpointError, match=r"training\.learning_rate: was 0\.001, is 0\.002"):
        train(other, resume="auto", say=quiet)
    assert train(load_recipe(None, begun), resume="auto", say=quiet).report["steps"] == STEPS


def test_a_run_folder_is_never_overwritten(model: Path, data: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="never overwritten"):
        train(load_recipe(None, arguments(model, data, run)), say=quiet)
    assert [f.name for f in run.iterdir()] == ["thesis.txt"]


def test_a_finished_run_can_grow_and_says_what_that_does_to_the_schedule(
    model: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    run, said = tmp_path / "run", list[str]()
    train(load_recipe(None, arguments(model, data, run)), say=quiet)
    assert resume(run, longer=[f"training.steps={STEPS + 4}"], say=said.append).report["steps"] == STEPS + 4
    assert any("the learning rate follows the longer schedule" in line for line in said)
    assert [entry["step"] for entry in contents(run)["journal"]] == list(range(1, STEPS + 5))
    with pytest.raises(UsageError, match="only grow"):
        resume(run, longer=["training.steps=3"], say=quiet)
    with pytest.raises(UsageError, match="keeps its settings"):
        resume(run, longer=["training.learning_rate=1"], say=quiet)
