"""Seconds and memory of `data check` on generated conversations, killed on the way and begun again.

The decision: the check runs in a process of its own, which is killed without a word, as by a machine that
loses its power would; the second one must go on from what the first has left.

    python benchmarks/checking.py 1000000 400000          so many rows; killed behind so many
"""

import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from encode import write_rows

from tunesmith.run import check as checking


def looked_at(file: Path, killed_behind: int) -> str:
    """What one process says of its check, "" where it was killed."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading) as answer:
            said = answer.read()
        os.waitpid(child, 0)
        return said

    def tell(count: int) -> None:
        if 0 < killed_behind < count:
            print(f"killed behind {count:,} rows, after {time.process_time():.1f} s of CPU", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    began = time.perf_counter()
    checked = checking.check([str(file)], tell=tell)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    wall = time.perf_counter() - began
    line = f"{checked.read:,} rows read, {checked.usable:,} usable, {checked.tokens.total:,} tokens: "
    os.write(writing, f"{line}{time.process_time():.1f} s of CPU, {wall:.0f} s, {peak:.2f} GiB".encode())
    os._exit(0)


if __name__ == "__main__":
    checking.LARGE = 0  # what has been found is kept for small files, too
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.jsonl"
        write_rows(data, int(sys.argv[1]))
        print(looked_at(data, int(sys.argv[2])) or "begun again", flush=True)
        print(looked_at(data, 0), flush=True)
