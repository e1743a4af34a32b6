"""Feed what strangers may send to everything that reads it, and see that nothing but our own errors comes out.

    make fuzz                                        every target for a minute
    python tests/fuzz.py --seconds 600 headers       one target for ten minutes
    python tests/fuzz.py --guided …                  led by coverage, where the package `atheris` is installed

A find is what `fuzz_targets` says, 20 seconds without an end, or more than 2 GiB of memory. The input that made it is
kept in the folder `found` and its name printed.
"""

import argparse
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parent))

HANG = 20
MEMORY = 2 * 2**30
READERS = ["tunesmith", "ruamel.yaml", "jinja2"]
"""The packages whose branches lead the guided form."""


# Arrow's own allocator reserves gigabytes that nobody uses.
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"


def _instrumented() -> AbstractContextManager[object]:
    if "--guided" not in sys.argv:
        return nullcontext()
    import atheris

    found: AbstractContextManager[object] = atheris.instrument_imports(include=READERS)
    return found


with _instrumented():
    from fuzz_targets import PLACE, TARGETS

    from tunesmith.errors import TunesmithError


class Hang(BaseException):
    """A target did not come back."""


def tried(target: Callable[[bytes], None], name: str, data: bytes) -> None:
    """The target, given an input; its own errors are what it is there for."""
    # Counted from here: a damaged .zst leaves some address space with pyarrow each time.
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
    try:
        target(data)
    except TunesmithError:
        pass
    except BaseException:
        found = Path("found") / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
        found.parent.mkdir(exist_ok=True)
        found.write_bytes(data)
        print(f"FOUND by {name}: {found}", file=sys.stderr)
        raise


def mutated(data: bytes, dice: random.Random) -> bytes:
    """The bytes with a few changes: bits turned, pieces doubled, dropped, moved, or numbers made extreme."""
    held = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        place = dice.randrange(len(held) + 1)
        length = dice.choice((1, 2, 8, 64))
        act = dice.randrange(6)
        if act == 0 and held:
            held[place % len(held)] ^= 1 << dice.randrange(8)
        elif act == 1:
            held[place:place] = dice.randbytes(length)
        elif act == 2:
            del held[place : place + length]
        elif act == 3:
            held[place:place] = held[place : place + length] * dice.choice((1, 3, 50))
        elif act == 4:
            held[place : place + 8] = dice.choice((b"\xff" * 8, bytes(8), (1 << 62).to_bytes(8, "little")))
        else:
            held[place : place + 1] = dice.choice(
                (b'"', b"{", b"[", b"\n", b"-", b"1e999", b"\\ud800", b"{{", b"%}", b"&")
            )
    return bytes(held)


def blindly(name: str, seconds: float, seed: int) -> int:
    """Try mutations of the seeds until the time is over; how many were tried."""
    target, seeds = TARGETS[name]
    dice, kept = random.Random(seed), seeds()
    began, count = time.monotonic(), 0

    def hang(number: int, frame: FrameType | None) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, hang)
    while count < len(kept) or time.monotonic() - began < seconds:
        signal.alarm(HANG)
        tried(target, name, kept[count] if count < len(kept) else mutated(dice.choice(kept), dice))
        signal.alarm(0)
        count += 1
    return count


def guided(name: str, seconds: float, seed: int) -> None:
    """The same led by coverage, which tells how many were tried; ends the process."""
    import atheris

    if child := os.fork():  # its library ends without a goodbye, so somebody else must clean up
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    target, seeds = TARGETS[name]
    corpus = PLACE / "corpus"
    corpus.mkdir()
    for place, data in enumerate(seeds()):
        (corpus / str(place)).write_bytes(data)
    options = [f"-max_total_time={int(seconds)}", "-max_len=4096", f"-timeout={HANG}", f"-seed={seed + 1}"]
    quiet = ["-rss_limit_mb=0", f"-artifact_prefix={PLACE}/", "-verbosity=0", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], str(corpus), *options, *quiet], lambda data: tried(target, name, data))
    atheris.Fuzz()


def one(name: str, asked: argparse.Namespace) -> int:
    """One target in this process."""
    if asked.guided:
        guided(name, asked.seconds, asked.seed)
    print(f"{name}: {blindly(name, asked.seconds, asked.seed):,} inputs, nothing found", flush=True)
    return 0


def main() -> int:
    """Every target asked for, each in a process of its own; 0 when nothing was found."""
    words = argparse.ArgumentParser(description="Fuzz everything that reads what strangers send.")
    words.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    words.add_argument("--seconds", type=float, default=60.0)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--guided", action="store_true")
    asked = words.parse_args()
    if len(asked.targets) == 1:
        return one(asked.targets[0], asked)
    rest = [f"--seconds={asked.seconds}", f"--seed={asked.seed}", *(["--guided"] if asked.guided else [])]
    codes = [
        subprocess.run([sys.executable, __file__, *rest, name], check=False).returncode
        for name in asked.targets or TARGETS
    ]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
