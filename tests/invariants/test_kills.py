"""A short form of the kills of a service's workers; `python tests/kill_service.py` is the long one."""

from pathlib import Path

import pytest
from kill_service import torture

pytestmark = pytest.mark.whole


def test_workers_killed_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    torture(tmp_path, kills=3, seed=1)
