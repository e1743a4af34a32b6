"""The page of a comparison shows what was won and lost, and nothing of it can run."""

from pathlib import Path

from tunesmith.evaluation.compare import compare, compare_tasks
from tunesmith.evaluation.item import Item
from tunesmith.run.compare import Compared
from tunesmith.run.compare_page import write_page


def test_losses_and_wins_stand_side_by_side_with_their_reference(tmp_path: Path) -> None:
    first = [Item("a", "a", prompt="q1"), Item("x", "b", prompt="q2"), Item("c", "c", prompt="q3")]
    second = [Item("<script>", "a", prompt="q1"), Item("b", "b", prompt="q2"), Item("c", "c", prompt="q3")]
    sides = {"words": [first, second, first]}
    found = compare_tasks(sides, {"words": ["exact_match"]})
    write_page(tmp_path / "page.html", Compared(["<one>", "two", "three"], sides, found))
    text = (tmp_path / "page.html").read_text()
    assert "<script>" not in text
    assert "<one>" not in text
    assert "two lost: 1" in text
    assert "two won: 1" in text
    assert "three lost: 0" in text
    assert "1 items score the same by exact_match" in text
    assert text.index("two lost") < text.index("two won")


def test_the_p_of_several_candidates_is_corrected_for_all_of_them() -> None:
    first = [Item("x", "a", prompt=str(i)) for i in range(6)]
    better = [Item("a", "a", prompt=str(i)) for i in range(6)]
    (alone,) = compare(first, better, ["exact_match"])
    sides = {"words": [first, better, first, better]}
    (one,), (two,), (three,) = compare_tasks(sides, {"words": ["exact_match"]})["words"]
    assert alone.p == 0.03125
    assert (one.p, three.p) == (3 * alone.p, 3 * alone.p)
    assert one.better is None
    assert two.p == 1.0
