import math
from pathlib import Path

import pytest

from tunesmith.errors import DataError
from tunesmith.evaluation.item import Item, load_items, save_items


def test_items_survive_their_score_file(tmp_path: Path) -> None:
    items = [Item("ä\n", "b", False, 1.5, 3, "q"), Item("", "c")]
    save_items(tmp_path / "new" / "scores.jsonl", items, [{"exact_match": 0.0}, {}])
    first, second = load_items(tmp_path / "new" / "scores.jsonl")
    assert first == items[0]
    assert math.isnan(second.nats)


def test_a_line_that_is_not_an_item_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text('{"answer": "x"}\n')
    with pytest.raises(DataError, match=r"scores\.jsonl:1: not a line of a score file"):
        load_items(path)


def test_a_missing_score_file_is_an_error_that_helps(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tunesmith evaluate"):
        load_items(tmp_path / "none.jsonl")
