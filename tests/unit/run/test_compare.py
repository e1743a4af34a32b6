"""The verb compare: from models and from what an evaluation kept."""

from pathlib import Path

import pytest

from tunesmith.errors import UsageError
from tunesmith.run.compare import compare_models
from tunesmith.run.evaluate import evaluate


def quiet(text: str) -> None:
    """Say nothing."""


def test_a_model_does_not_differ_from_itself(run: Path, folder: Path, chats: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    evaluate(str(run), str(chats), metrics=["loss"], out=kept, say=quiet)
    names = [str(kept), str(run), str(folder)]
    against_itself, against_base = compare_models(names, str(chats), metrics=["loss"], say=quiet).comparisons
    assert [c.difference for c in against_itself] == [0.0]
    assert [c.better for c in against_itself] == [None]
    assert against_base[0].difference != 0.0


def test_one_name_alone_and_a_model_without_data_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="two or more"):
        compare_models([str(folder)], None, say=quiet)
    with pytest.raises(UsageError, match="--data"):
        compare_models([str(folder), str(folder)], None, say=quiet)
