"""A model folder and a run, for the tests of the verbs."""

from pathlib import Path

import pytest
from tiny_model import chat_file, tiny_model

from tunesmith.recipe import load_recipe
from tunesmith.run.train import train


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model."""
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA run of two steps on it, whose recipe brings a system message."""
    place = tmp_path_factory.mktemp("run")
    settings = {
        "model": folder, "run": place / "run", "data.system": "Be short.", "data.validation": 0, "data.test": 0,
        "method.kind": "lora", "method.rank": 2, "training.steps": 2, "training.learning_rate": 0.01,
    }  # fmt: skip
    data = place / "chat.jsonl"
    data.write_text('{"prompt": "ab", "completion": "c"}\n' * 12)
    return train(load_recipe(str(data), [f"{k}={v}" for k, v in settings.items()]), say=lambda _: None).folder


@pytest.fixture(scope="session")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six short conversations with answers."""
    return chat_file(tmp_path_factory.mktemp("data") / "words.jsonl", count=6)
