"""The self-test holds on a plain model, and does not where something is computed otherwise."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import DataError
from tunesmith.models.forward import Network
from tunesmith.run import selftest as room
from tunesmith.run.selftest import selftest
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.step import Measured, Pass, backward


def broken(proofs: Sequence[room.Proof]) -> set[str]:
    return {proof.name for proof in proofs if not proof.holds}


def test_every_proof_holds_on_a_plain_model_and_on_data_of_its_user(folder: Path, chats: Path) -> None:
    said: list[str] = []
    assert not broken(selftest(str(folder), str(chats), say=said.append))
    assert any("6 conversations" in line for line in said)


def test_a_step_that_learns_a_little_else_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(network: Network, examples: Sequence[EncodedExample], how: Pass, **given: Any) -> Measured:
        found = backward(network, examples, how, **given)
        return replace(found, loss=found.loss * (1 + 2e-5)) if how.sharing else found

    monkeypatch.setattr(room, "backward", wrong)
    assert broken(selftest(str(folder), say=lambda _: None)) == {"shared = flat, loss"}


def test_data_without_a_conversation_that_fits_is_an_error(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text('{"prompt": "' + "word " * 600 + '", "completion": "yes"}\n')
    with pytest.raises(DataError, match="no conversation of at most 512 tokens"):
        selftest(str(folder), str(file), say=lambda _: None)
