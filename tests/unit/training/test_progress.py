import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tunesmith.training.progress import Progress


def entry(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "loss": 1.25, "tokens": 600, "seconds": 4.0, **more}


def run(log: Path, entries: list[dict[str, Any]], *, terminal: bool = False, total: int = 10) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100, color_system=None)
    with Progress(total, log, console=console) as progress:
        progress.say("resolved [brackets] as written")
        for each in entries:
            progress.step(each)
    return screen.getvalue()


def test_without_a_terminal_a_plain_line_comes_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    said = run(tmp_path / "console.log", [entry(step) for step in range(1, 11)])
    assert [line.split()[1] for line in said.splitlines()[1:]] == ["3/10", "6/10", "9/10", "10/10"]
    assert "step 3/10  loss 1.2500  150 tokens/s  28 s left" in said


def test_on_a_terminal_the_line_is_renewed_at_every_step(tmp_path: Path) -> None:
    said = run(tmp_path / "console.log", [entry(1), entry(2)], terminal=True)
    assert "step 1/10" in said
    assert "step 2/10" in said


@pytest.mark.parametrize("terminal", [False, True])
def test_everything_said_stands_in_the_log_too(tmp_path: Path, terminal: bool) -> None:
    log = tmp_path / "console.log"
    run(log, [entry(step) for step in range(1, 4)] + [entry(4, validation_loss=0.5)], terminal=terminal)
    assert log.read_text().splitlines() == [
        "resolved [brackets] as written",
        "step 3/10  loss 1.2500  150 tokens/s  28 s left",
        "step 4: validation_loss 0.5000",
    ]


def test_a_resumed_run_adds_to_the_log(tmp_path: Path) -> None:
    for _ in range(2):
        run(tmp_path / "console.log", [])
    assert (tmp_path / "console.log").read_text().count("resolved") == 2


def test_the_time_left_follows_a_run_that_slows_down(tmp_path: Path) -> None:
    steady, slower = (
        run(tmp_path / "console.log", [entry(1), entry(2, seconds=seconds)], total=2000) for seconds in (10.0, 100.0)
    )
    assert "2 h 33 min left" in steady
    assert "7 h 32 min left" in slower
