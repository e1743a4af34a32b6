"""What is answered when a setting is unknown."""

import pytest

from tunesmith.recipe.faults import known, suggest
from tunesmith.recipe.peers import PEERS


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("training.lerning_rate", "training.learning_rate"),
        ("lerning_rate", "training.learning_rate"),
        ("learning_rate", "training.learning_rate"),
        ("epoch", "training.epochs"),
        ("trainig.epochs", "training.epochs"),
        ("num_train_epochs", "training.epochs"),
        ("training.num_train_epochs", "training.epochs"),
        ("n_epochs", "training.epochs"),
        ("lora_r", "method.rank"),
        ("method.r", "method.rank"),
        ("per_device_train_batch_size", "training.batch_size"),
        ("max_seq_length", "supervision.max_length"),
        ("max-seq-length", "supervision.max_length"),
        ("bf16", "training.dtype"),
        ("learning_rate_multiplier", "training.learning_rate"),
        ("data.trian", "data.train"),
        ("checkpoint.every", "checkpoints.every"),
    ],
)
def test_an_unknown_name_is_answered_with_the_one_that_was_meant(written: str, meant: str) -> None:
    assert meant in suggest(written)


@pytest.mark.parametrize("name", ["packing", "gradient_accumulation_steps", "deepspeed", "trust_remote_code"])
def test_a_setting_of_a_peer_without_a_counterpart_is_explained(name: str) -> None:
    assert suggest(name).startswith("There is nothing like it here: ")


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert suggest("qwertyuiop") == ""


def test_every_name_that_peers_are_answered_with_exists() -> None:
    names = {setting.name for setting in known()}
    assert {peer.setting for peer in PEERS.values() if peer.setting} <= names


def test_no_setting_of_ours_is_taken_for_a_peer_of_another() -> None:
    ours = {setting.name for setting in known()}
    assert not ours & set(PEERS)
