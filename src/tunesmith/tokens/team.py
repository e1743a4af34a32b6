"""Examples sifted by several processes, in their order, as one process would do it.

The decision: this process reads, and sifts whatever the others are too busy for, so nobody waits for one that is still
starting. A portion goes through an unnamed file that both have open, as JSON and arrays; only a line that says so goes
through a pipe. What a process was given when it died is done again here, and when this one dies the pipes end, and the
others with them. They never import torch.
"""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Self

import numpy as np

from tunesmith.data.example import AnyExample, Example, Passage, Tokenized
from tunesmith.data.plain import example_of, plain
from tunesmith.data.portions import pack, unpack
from tunesmith.errors import TemplateError
from tunesmith.tokens.confined import search_path
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.tokens.sieve import Sieve, Sifted

MOST = 4
"""Processes in all: reading is the work of one, and keeps no more of them busy."""
SLOTS = 2
"""Portions that a process may have, so that the next one lies ready."""
AHEAD = 16
"""Portions that may be done before the one that comes next is."""


@dataclass(slots=True)
class _Task:
    """A portion, and what became of it; None while another process has it, or where that process died."""

    examples: Sequence[AnyExample]
    sifted: Sifted | None = None
    lost: bool = False


class Team:
    """`Sieve.sift` by at most so many processes; used in a `with`, which ends them."""

    def __init__(self, sieve: Sieve, processes: int) -> None:
        self._sieve, self._beside = sieve, min(processes, MOST) - 1
        self._selector = selectors.DefaultSelector()
        self._members: list[_Member] = []

    def __enter__(self) -> Self:
        if self._beside > 0:
            setup = _setup(self._sieve)
            with suppress(OSError):  # where no more can be started, there are fewer
                for _ in range(self._beside):
                    self._members.append(_Member(setup))
        for member in self._members:
            self._selector.register(member.replies, selectors.EVENT_READ, member)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._selector.close()
        for member in self._members:
            member.end()

    def sift(self, portions: Iterable[Sequence[AnyExample]]) -> Iterator[Sifted]:
        """What became of each portion, in order; a few are read ahead."""
        tasks: deque[_Task] = deque()
        for portion in portions:
            self._listen(0)
            tasks.append(self._handed(portion) or _Task(portion, self._sieve.sift(portion)))
            while tasks and (tasks[0].sifted is not None or len(tasks) > AHEAD):
                yield self._done(tasks.popleft())
        while tasks:
            yield self._done(tasks.popleft())

    def _handed(self, portion: Sequence[AnyExample]) -> _Task | None:
        """The portion in the hands of another process; None where there is none that could take it."""
        free = max(self._members, key=lambda member: len(member.free), default=None)
        written = [example for example in portion if not isinstance(example, Tokenized)]
        if free is None or not free.free or len(written) < len(portion):
            return None
        return free.take(written)

    def _done(self, task: _Task) -> Sifted:
        while task.sifted is None and not task.lost:
            self._listen(None)
        return task.sifted or self._sieve.sift(task.examples)

    def _listen(self, seconds: float | None) -> None:
        """Take what the others have done, waiting for something if nothing has been."""
        for key, _ in self._selector.select(seconds) if self._members else ():
            member: _Member = key.data
            if not member.hear():
                self._selector.unregister(member.replies)
                self._members.remove(member)
                member.end()


class _Member:
    """Another process; `free` are the files in which it can be given a portion, none before it is ready."""

    def __init__(self, setup: bytes) -> None:
        self._tasks: dict[int, _Task] = {}
        self.free: list[int] = []
        with ExitStack() as begun:  # undone where it cannot be begun whole
            self._files: list[int] = []
            for _ in range(SLOTS):
                self._files.append(_unnamed_file())
                begun.callback(os.close, self._files[-1])
            self._process = process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tunesmith.tokens.team", *map(str, self._files)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=self._files,
                env={**os.environ, "PYTHONPATH": search_path(), "RAYON_NUM_THREADS": "1"},
                bufsize=0,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            self._requests, self.replies = process.stdin, process.stdout
            for undo in (self._requests.close, self.replies.close, process.wait, process.kill):
                begun.callback(undo)  # the last one first
            self._say(0, setup)
            self._begun = begun.pop_all()

    def take(self, examples: Sequence[Example | Passage]) -> _Task | None:
        """Begin with a portion; None where it cannot be handed over."""
        try:
            self._say(self.free[-1], pack({"examples": list(map(plain, examples))}, {}))
        except (TypeError, ValueError, RecursionError, OSError):
            return None  # it holds what is no JSON, or the disk is full: whoever reads it can sift it, too
        task = self._tasks[self.free.pop()] = _Task(examples)
        return task

    def hear(self) -> bool:
        """Take what it has done; whether it still lives."""
        said = os.read(self.replies.fileno(), 4096)
        for line in said.splitlines():
            slot, length = map(int, line.split())
            if (task := self._tasks.pop(slot, None)) is None:
                self.free = list(range(SLOTS))  # the first thing that it says is that it is ready
            else:
                self.free.append(slot)
                task.sifted = _sifted(_get(self._files[slot], length), task.examples)
        return bool(said)

    def end(self) -> None:
        """It is gone, and what it had is lost."""
        self._begun.close()
        for task in self._tasks.values():
            task.lost = True

    def _say(self, slot: int, raw: bytes) -> None:
        _put(self._files[slot], raw)
        self._requests.write(b"%d %d\n" % (slot, len(raw)))


def serve(files: Sequence[int]) -> None:
    """Be the other process: sift portions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks; this one ends with it
    sieve: Sieve | None = None
    for line in sys.stdin.buffer:
        slot, length = map(int, line.split())
        raw, reply = _get(files[slot], length), b""
        if sieve is None:
            sieve = _sieve(raw)
        else:
            reply = _told(sieve.sift(list(map(example_of, unpack(raw)[0]["examples"]))))
        _put(files[slot], reply)
        sys.stdout.buffer.write(b"%d %d\n" % (slot, len(reply)))
        sys.stdout.buffer.flush()


def _setup(sieve: Sieve) -> bytes:
    facts = {"encoder": sieve.encoder.plain(), "fingerprint": sieve.encoder.fingerprint}
    return pack({**facts, "limit": sieve.limit, "split_turns": sieve.split_turns}, {})


def _sieve(setup: bytes) -> Sieve:
    facts, _ = unpack(setup)
    encoder = Encoder.of(facts["encoder"])
    if encoder.fingerprint != facts["fingerprint"]:
        raise TemplateError("The encoder is another one here.")
    return Sieve(encoder, facts["limit"], facts["split_turns"])


def _told(sifted: Sifted) -> bytes:
    """What became of a portion, as bytes."""
    ones = [one for parts in sifted.parts for one in parts]
    facts = {
        "counts": list(map(len, sifted.parts)), "lengths": list(map(len, ones)), "refused": sifted.refused,
    }  # fmt: skip
    arrays = {
        "ids": b"".join(one.ids.tobytes() for one in ones), "weights": b"".join(one.weights.tobytes() for one in ones),
    }  # fmt: skip
    return pack(facts, arrays)


def _sifted(told: bytes, examples: Sequence[AnyExample]) -> Sifted:
    facts, arrays = unpack(told)
    ids, weights = np.frombuffer(arrays["ids"], np.int32), np.frombuffer(arrays["weights"], np.float32)
    at, lengths = 0, iter(facts["lengths"])
    parts: list[list[EncodedExample]] = []
    for example, count in zip(examples, facts["counts"], strict=True):
        parts.append([])
        for length in islice(lengths, count):
            parts[-1].append(EncodedExample(ids[at : at + length], weights[at : at + length], example.origin))
            at += length
    return Sifted(parts, [(name, what) for name, what in facts["refused"]])


def _unnamed_file() -> int:
    """A fresh file that is gone when all who have it open are."""
    file, path = tempfile.mkstemp()
    os.unlink(path)
    return file


def _put(file: int, raw: bytes) -> None:
    at, whole = 0, memoryview(raw)
    while at < len(whole):
        at += os.pwrite(file, whole[at:], at)


def _get(file: int, length: int) -> bytes:
    raw = bytearray()
    while len(raw) < length:
        raw += os.pread(file, length - len(raw), len(raw))
    return bytes(raw)


if __name__ == "__main__":
    serve(list(map(int, sys.argv[1:])))
