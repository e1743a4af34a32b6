import math
from pathlib import Path
from typing import Any

import pytest

from tunesmith.training.curves import curves, drawing, picture, smoothed


def journal(steps: int = 40) -> list[dict[str, Any]]:
    """Training falls all the way; validation is best at step 20."""
    entries: list[dict[str, Any]] = [
        {"step": step, "loss": 1 + math.exp(-step / 8), "learning_rate": 1e-4} for step in range(1, steps + 1)
    ]
    for entry in entries[9::10]:
        entry["validation_loss"] = 1 + abs(entry["step"] - 20) / 20
    return entries


def test_the_best_is_the_lowest_validation_loss() -> None:
    assert curves(journal()).best == (20, 1.0)


def test_values_missing_or_not_finite_are_left_out() -> None:
    found = curves([{"step": 1, "loss": None}, {"step": 2, "loss": 1.0, "validation_loss": float("nan")}])
    assert (found.loss, found.validation, found.best) == ([(2, 1.0)], [], None)


def test_smoothing_leaves_a_straight_line_where_it_is() -> None:
    line = [(step, 2.0 * step) for step in range(100)]
    assert smoothed(line) == line


def test_smoothing_quietens_what_alternates() -> None:
    values = [value for _, value in smoothed([(step, float(step % 2)) for step in range(100)])]
    assert all(0.3 < value < 0.7 for value in values[10:-10])


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    picture(journal(), tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("steps", [0, 1])
def test_a_run_that_hardly_began_can_be_drawn(tmp_path: Path, steps: int) -> None:
    picture(journal(steps), tmp_path / "loss.png")
    assert drawing(journal(steps))


def test_the_drawing_falls_from_the_upper_left_to_the_lower_right() -> None:
    lines = drawing([{"step": step, "loss": 2.0 - step / 20} for step in range(1, 41)], width=20, height=5).splitlines()
    ends = [len(line) for line in lines[:5]]
    assert ends == sorted(ends)
    assert len(set(ends)) == 5


def test_the_drawing_marks_every_validation_and_the_best() -> None:
    text, legend = drawing(journal()).rsplit("\n", 1)
    assert (text.count("●"), text.count("★")) == (3, 1)
    assert "best" in legend


def test_a_drawing_without_validation_has_no_word_of_it() -> None:
    assert "validation" not in drawing([{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}])
