"""The short form of the torture: a handful of kills, every one survived."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole
SCRIPT = Path(__file__).parents[1] / "torture.py"
SHORT = ("--kills", "8", "--no-points", "--damages", "0")


def test_runs_that_are_killed_at_random_moments_come_out_as_if_they_had_not_been() -> None:
    done = subprocess.run([sys.executable, SCRIPT, *SHORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("8 kills")
