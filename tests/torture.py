"""Kill real runs at random moments, resume them, and compare what comes out with a run that nobody killed.

    make torture                                   200 kills at random, one at each point of a save; at most 20 minutes;
                                                   then every file of a killed run damaged at random places
    python tests/torture.py --kills 20 --seed 3

Every run is the whole way through `tunesmith.train` on a small model, in a child process that is killed with SIGKILL
after a random time and started again with `resume="auto"` until it ends. Its weights and its journal (apart from times)
must then be those of the reference, byte for byte. The libraries are loaded once and children are forked, so that most
kills fall into training and saving rather than into imports.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

os.environ["OMP_NUM_THREADS"] = "1"  # a forked child cannot use the thread pool of its parent
sys.path.insert(0, str(Path(__file__).parent))

import matplotlib.backends.backend_agg  # for the children: a run imports it when it ends
import matplotlib.figure  # noqa: F401
from tiny_model import chat_file, tiny_model

from tunesmith.errors import TunesmithError
from tunesmith.models.fingerprint import weights_sha256
from tunesmith.recipe import load_recipe
from tunesmith.run.train import train
from tunesmith.training import checkpoint
from tunesmith.training.saving import Saver

METHODS = {
    "full": ["method.kind=full"],
    "frozen": ["method.kind=frozen", "method.layers=1"],
    "lora": ["method.rank=4", "method.dropout=0.1"],
    "small micro-batches": ["method.kind=full", "training.micro_batch_tokens=80"],
}
SETTINGS = (
    "data.test=0", "training.batch_size=4", "training.steps=24", "training.validation.every=3", "checkpoints.every=2",
    "checkpoints.keep=2",
)  # fmt: skip


SHORTEST = 0.6
"""The share of a whole run's time within which each kill falls, so that few runs end before theirs."""
LONGEST = 600
"""Seconds after which a child that does not end is taken for one that hangs."""
TOLD = 3
"""What a child ends with that refuses to go on, with a sentence."""


def start(arguments: Sequence[str], said: Path, deadly: tuple[str, int] | None = None) -> int:
    """A child that trains (or goes on) and ends with 0 when it has finished; what it says goes to the file `said`.

    With `deadly` it kills itself when one of its saves reaches that point for the so-manieth time.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(LONGEST)
        if deadly is not None:
            kill_at(*deadly)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        train(load_recipe(None, arguments), resume="auto", say=lambda text: None)
        code = 0
    except TunesmithError as error:
        print(error, file=sys.stderr)
        code = TOLD
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def kill_at(point: str, times: int) -> None:
    """This process kills itself when a save reaches `point` for the so-manieth time."""
    left, real = iter(range(times - 1, -1, -1)), Saver._reached

    def reached(self: Saver, at: checkpoint.Point) -> None:
        if at == point and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, at)

    Saver._reached = reached  # type: ignore[method-assign]


def outcome(run: Path) -> tuple[str, str, list[dict[str, object]]]:
    """What must be the same: the last and the best weights, and the journal without its times."""
    journal = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    for entry in journal:
        del entry["seconds"]
    return weights_sha256(run / "final"), weights_sha256(run / "best"), journal


def finish(arguments: Sequence[str], said: Path) -> float:
    """Let a run end undisturbed; the seconds that it took."""
    began = time.monotonic()
    _, status = os.waitpid(start(arguments, said), 0)
    assert status == 0, f"a run that nobody killed failed:\n{said.read_text()}"
    return time.monotonic() - began


def killed_until_done(arguments: Sequence[str], said: Path, most: float, dice: random.Random, left: int) -> int:
    """Start a run again and again, killing it up to `left` times, until it ends; how often it was killed."""
    kills = 0
    while True:
        child = start(arguments, said)
        if kills < left:
            time.sleep(dice.uniform(0, most))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return kills
        require_killed(status, said)
        kills += 1


def require_killed(status: int, said: Path) -> None:
    """Return only if a child ended by a kill, and not by an error or because it hung."""
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed, f"a run failed by itself (status {status}):\n{said.read_text()}"


def damaged(whole: bytes, dice: random.Random) -> bytes:
    """The bytes cut, or with one bit turned, at a random place."""
    place = dice.randrange(len(whole))
    if dice.random() < 0.5:
        return whole[:place]
    return whole[:place] + bytes([whole[place] ^ (1 << dice.randrange(8))]) + whole[place + 1 :]


def survived(run: Path, name: str, arguments: Sequence[str], said: Path, dice: random.Random) -> str | None:
    """How a run went on after one of its files was damaged: "same", "told", or None where it did neither."""
    whole = (run / name).read_bytes()
    if not whole:
        return "same"
    (run / name).write_bytes(damaged(whole, dice))
    _, status = os.waitpid(start(arguments, said), 0)
    if os.waitstatus_to_exitcode(status) == TOLD:
        return "told"
    return "same" if status == 0 else None


def damage(
    place: Path, arguments: Sequence[str], expected: object, said: Path, dice: random.Random, times: int
) -> dict[str, int]:
    """How often a killed run with one damaged file came out the same, was refused, or went wrong (each is printed)."""
    killed, run = place / "killed", place / "run"
    _, status = os.waitpid(start([*arguments, f"run={run}"], said, ("synced", 4)), 0)
    require_killed(status, said)
    run.rename(killed)
    names = sorted(str(file.relative_to(killed)) for file in killed.rglob("*") if file.is_file())
    counts = {"same": 0, "told": 0, "wrong": 0}
    for number in range(times):
        name = names[number % len(names)]
        shutil.copytree(killed, run)
        how = survived(run, name, [*arguments, f"run={run}"], said, dice)
        if how is None or (how == "same" and outcome(run) != expected):
            print(f"WRONG after damage to {name}:\n{said.read_text()}")
            how = "wrong"
        counts[how] += 1
        shutil.rmtree(run)
    return counts


def main() -> int:
    """Torture; 0 when every run came out as the reference did."""
    words = argparse.ArgumentParser(description="Kill runs at random moments and compare what comes out.")
    words.add_argument("--kills", type=int, default=200)
    words.add_argument("--seconds", type=float, default=1200.0)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--damages", type=int, default=100)
    words.add_argument("--points", action=argparse.BooleanOptionalAction, default=True)
    asked = words.parse_args()
    dice = random.Random(asked.seed)
    began = time.monotonic()
    kills = runs = wrong = 0
    with tempfile.TemporaryDirectory(prefix="tunesmith-torture-") as name:
        place, said = Path(name), Path(name) / "said"
        model, data = tiny_model(place / "model"), chat_file(place / "train.jsonl")
        held_out = chat_file(place / "validation.jsonl", count=6, start=100)
        files = [f"model={model}", f"data.train={data}", f"data.validation={held_out}", *SETTINGS]
        expected, took = {}, {}
        for method, settings in METHODS.items():
            run = place / f"reference {method}"
            took[method] = finish([*files, *settings, f"run={run}"], said)
            expected[method] = outcome(run)
        while kills < asked.kills and time.monotonic() - began < asked.seconds:
            method = list(METHODS)[runs % len(METHODS)]
            run = place / f"run {runs}"
            arguments = [*files, *METHODS[method], f"run={run}"]
            kills += killed_until_done(arguments, said, SHORTEST * took[method], dice, min(12, asked.kills - kills))
            runs += 1
            print(f"{kills} kills in {runs} runs", file=sys.stderr, flush=True)
            if outcome(run) != expected[method]:
                wrong += 1
                print(f"WRONG after kills: {method} (seed {asked.seed}, run {runs})")
        points = get_args(checkpoint.Point) if asked.points else ()
        for place_of, point in enumerate(points):
            method = list(METHODS)[place_of % len(METHODS)]
            arguments = [*files, *METHODS[method], f"run={place / point}"]
            _, status = os.waitpid(start(arguments, said, (point, dice.randint(1, 6))), 0)
            require_killed(status, said)
            finish(arguments, said)
            if outcome(place / point) != expected[method]:
                wrong += 1
                print(f"WRONG after a kill at {point!r}: {method} (seed {asked.seed})")
        counts = {"same": 0, "told": 0, "wrong": 0}
        if asked.damages:
            (place / "damage").mkdir()
            arguments = [*files, *METHODS["full"]]
            counts = damage(place / "damage", arguments, expected["full"], said, dice, asked.damages)
    print(f"{kills} kills at random in {runs} runs, and one at each of {len(points)} points of a save: "
          f"{runs + len(points) - wrong} of {runs + len(points)} runs came out as if nobody had killed them, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    print(f"{asked.damages} damaged files: {counts['same']} runs came out all the same, {counts['told']} were refused, "
          f"{counts['wrong']} went wrong")  # fmt: skip
    return 1 if wrong or counts["wrong"] or kills < asked.kills else 0


if __name__ == "__main__":
    sys.exit(main())
