"""Whatever file of an interrupted run is damaged: what comes out is the run never disturbed, or a sentence.

One place of each kind of file; `python tests/torture.py` damages every file at random places.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from invariants.test_resume import arguments, contents, killed_at, quiet
from tiny_model import chat_file, tiny_model

from tunesmith.errors import CheckpointError, TunesmithError
from tunesmith.recipe import load_recipe
from tunesmith.run.export import export
from tunesmith.run.folder import require_whole, seal, weights_of
from tunesmith.run.opened import open_model
from tunesmith.run.train import resume, train

pytestmark = pytest.mark.whole

Given = tuple[Path, dict[str, Any]]
SETTINGS = ("method.rank=4", "training.steps=5", "checkpoints.every=2", "checkpoints.keep=2", "retention.share=1")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """A run killed after its fifth update, before the save, and what it comes to undisturbed."""
    place = tmp_path_factory.mktemp("given")
    model = tiny_model(place / "model")
    data = chat_file(place / "train.jsonl"), chat_file(place / "validation.jsonl", count=6, start=100)
    with pytest.MonkeyPatch.context() as patch:
        train(load_recipe(None, arguments(model, data, place / "whole", *SETTINGS)), say=quiet)
        recipe = load_recipe(None, arguments(model, data, place / "run", *SETTINGS))
        killed_at(5, patch, lambda: train(recipe, say=quiet))
    return place / "run", contents(place / "whole")


def copied(given: Given, tmp_path: Path) -> Path:
    """The killed run, beside the files that its recipe names."""
    return shutil.copytree(given[0], given[0].with_name(tmp_path.name))


def turn(file: Path, place: int) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


@pytest.mark.parametrize("name", ["baseline.json", "retention.json", "losses.f32", "running.json", "origins.json"])
def test_what_can_be_made_anew_is_made_anew(name: str, given: Given, tmp_path: Path) -> None:
    run = copied(given, tmp_path)
    (run / name).write_bytes(b"{" + (given[0] / "baseline.json").read_bytes()[:10])
    resume(run, say=quiet)
    assert contents(run) == given[1]


def test_a_damaged_journal_is_told_and_the_run_goes_on_from_before_it(given: Given, tmp_path: Path) -> None:
    run = copied(given, tmp_path)
    third = (run / "metrics.jsonl").read_bytes().index(b'"step":3')
    turn(run / "metrics.jsonl", third + 7)
    resume(run, say=quiet)
    assert re.search(r"warning: .*metrics\.jsonl: .*altered since.* step-2 is used", (run / "console.log").read_text())
    assert contents(run) == given[1]


def test_damaged_losses_of_examples_are_told_and_the_run_goes_on(given: Given, tmp_path: Path) -> None:
    run = copied(given, tmp_path)
    turn(run / "losses.f32", 2)
    resume(run, say=quiet)
    assert re.search(r"warning: .*losses\.f32: .*altered since", (run / "console.log").read_text())
    assert contents(run) == given[1]


def test_a_journal_that_no_checkpoint_knows_is_refused(given: Given, tmp_path: Path) -> None:
    run = copied(given, tmp_path)
    turn(run / "metrics.jsonl", 3)
    with pytest.raises(CheckpointError, match="nothing to resume from"):
        resume(run, say=quiet)


@pytest.mark.parametrize("name", ["best/adapter_model.safetensors", "best/tokenizer.json", "best/sha256.json"])
def test_damaged_best_weights_are_refused_before_a_step_and_by_whoever_opens_them(
    name: str, given: Given, tmp_path: Path
) -> None:
    run = copied(given, tmp_path)
    turn(run / name, 100)
    for act in (
        lambda: resume(run, say=quiet),
        lambda: weights_of(run),
        lambda: open_model(str(run / "best"), say=quiet),
        lambda: export(run / "best", tmp_path / "out", say=quiet),
    ):
        with pytest.raises(CheckpointError, match=r"best: .* is not what was saved"):
            act()


@pytest.mark.parametrize("name", ["recipe.yaml", "identity.json"])
def test_a_recipe_or_identity_that_is_cut_is_refused_with_a_sentence(name: str, given: Given, tmp_path: Path) -> None:
    run = copied(given, tmp_path)
    (run / name).write_bytes((run / name).read_bytes()[:-700])
    with pytest.raises(TunesmithError, match=r"recipe\.yaml|identity\.json|no longer the run"):
        resume(run, say=quiet)


def test_weights_are_known_to_be_whole_until_a_bit_turns_or_a_byte_is_cut_anywhere(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    folder.mkdir()
    for name in ("model.safetensors", "config.json"):
        (folder / name).write_bytes(bytes(range(40)))
    seal(folder)
    (folder / "README.md").write_text("what was written later is none of it")
    require_whole(folder)
    for file in (folder / "model.safetensors", folder / "config.json"):
        whole = file.read_bytes()
        for place in range(len(whole)):
            for altered in (whole[:place], whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]):
                file.write_bytes(altered)
                with pytest.raises(CheckpointError, match=file.name):
                    require_whole(folder)
        file.write_bytes(whole)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        require_whole(folder)
