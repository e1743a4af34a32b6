"""A service opens models by name, and only those that are whole."""

from pathlib import Path

import pytest
from tiny_model import tiny_model

from tunesmith.errors import CheckpointError
from tunesmith.run.folder import seal
from tunesmith.serving.catalogue import Catalogue


def test_weights_that_were_altered_since_they_were_saved_are_not_served(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model")
    seal(folder)
    file = folder / "tokenizer.json"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not what was saved"):
        Catalogue({}, lambda name: folder).open("ft:tiny")
