"""Memory that is freed and asked for again."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.whole

FAULTS = """
import resource, sys, torch
from tunesmith.models.allocator import keep_freed_memory
assert keep_freed_memory()
def touch():
    [torch.empty(n << 20).fill_(1.0) for n in SIZES]
for _ in range(8):
    touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can be told")
# A freed block is a few bytes too small for its like until its neighbour is free as well, so it takes some rounds.
@pytest.mark.parametrize("sizes", [(2,) * 8, (16, 16)], ids=["8 MiB", "64 MiB"])
def test_large_blocks_that_were_freed_come_back_without_page_faults(sizes: tuple[int, ...]) -> None:
    code = f"SIZES = {sizes}\n{FAULTS}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    pages = 8 * sum(sizes) * (4 << 20) // 4096
    assert int(done.stdout) < pages / 50
