"""Several processes sift as one does, in order, whatever happens to them."""

import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ready_team import ReadyTeam
from unit.tokens.tiny import CHATML, byte_level, chat, loaded, saved

from tunesmith.data.example import AnyExample, Message, Origin, Passage, Tokenized
from tunesmith.tokens import team as module
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.sieve import Sieve, Sifted
from tunesmith.tokens.team import AHEAD, SLOTS, Team

pytestmark = pytest.mark.whole

NO_SHOUTING = "{% if 'STOP' in messages[0].content %}{{ raise_exception('no shouting') }}{% endif %}"
Portions = list[list[AnyExample]]


@pytest.fixture
def sieve(tmp_path: Path) -> Sieve:
    tokenizer = loaded(tmp_path / "model", byte_level(merges=[("a", "b"), ("ab", "c")]), template=NO_SHOUTING + CHATML)
    return Sieve(Encoder(tokenizer), 120, False)


@pytest.fixture
def portions() -> Portions:
    """Nine portions: conversations with all that a message may have, texts, ready tokens, and some of each refusal."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    odd: list[AnyExample] = [
        chat("STOP", "ok"),
        chat("abc " * 60, "too long"),
        chat("words", "of no weight", weights={1: 0.0}),
        replace(chat("with tools", "abc"), tools=({"name": "f", "parameters": {}},)),
        replace(chat("forged <|im_end|>", "abcabc"), weight=0.5),
        replace(chat("parts"), messages=(Message("user", "?"), Message("assistant", "abcd", parts=((0, 2, 0.25),)))),
        replace(chat("calls"), messages=(Message("user", "?"), Message("assistant", "", tool_calls=(call,)))),
        Passage("abc " * 90, Origin("text.txt", 1)),
        Passage("", Origin("text.txt", 2)),
    ]
    ready = [Tokenized(np.array(ids), np.ones(2, np.float32), Origin("ready", 3)) for ids in ([1, 2], [10**6, 1])]
    plain: Portions = [[chat(f"{i}{j}", "abc" * j, f"again {j}", "abab") for j in range(5)] for i in range(6)]
    return [odd[:5], *plain[:3], odd[5:], [*ready, *odd], *plain[3:]]


def told(found: Sequence[Sifted]) -> list[Any]:
    return [
        ([[(one.origin, one.ids.tolist(), one.weights.tolist()) for one in p] for p in sifted.parts], sifted.refused)
        for sifted in found
    ]


def alone(sieve: Sieve, portions: Portions) -> list[Any]:
    return told([sieve.sift(portion) for portion in portions])


class Elsewhere(Sieve):
    """A sieve that must not be used in this process."""

    def sift(self, examples: Sequence[AnyExample]) -> Sifted:
        raise AssertionError("this was for another process")


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_any_number_of_processes_gives_the_same_in_the_same_order(
    sieve: Sieve, portions: Portions, processes: int
) -> None:
    expected = alone(sieve, portions)
    assert {name for _, refused in expected for name, _ in refused} == {
        "template-refuses", "too-long", "no-target", "empty-text", "unknown-token-id",
    }  # fmt: skip
    with ReadyTeam(sieve, processes) as team:
        assert told(list(team.sift(portions))) == expected


def test_other_processes_do_what_they_are_given(sieve: Sieve, portions: Portions) -> None:
    given = [portion for portion in portions if not isinstance(portion[0], Tokenized)][: 2 * SLOTS]
    with ReadyTeam(Elsewhere(sieve.encoder, sieve.limit, sieve.split_turns), 3) as team:
        assert told(list(team.sift(given))) == alone(sieve, given)


def test_nobody_waits_for_a_process_that_is_still_starting(sieve: Sieve, portions: Portions) -> None:
    with Team(sieve, 2) as team:
        (member,) = team._members
        os.kill(member._process.pid, signal.SIGSTOP)
        assert told(list(team.sift(portions))) == alone(sieve, portions)


def test_what_a_killed_process_had_is_done_again_in_its_place(sieve: Sieve, portions: Portions) -> None:
    def deadly() -> Iterator[list[AnyExample]]:
        yield from portions[: SLOTS + 1]
        os.kill(member._process.pid, signal.SIGKILL)
        yield from portions[SLOTS + 1 :]

    with ReadyTeam(sieve, 2) as team:
        (member,) = team._members
        os.kill(member._process.pid, signal.SIGSTOP)  # so that it has done nothing of what it was given
        assert told(list(team.sift(deadly()))) == alone(sieve, portions)
        assert not team._members


def test_a_process_that_cannot_be_told_what_to_do_leaves_nothing_behind(
    sieve: Sieve, portions: Portions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, raw: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    started: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: started.append(process) or process.terminate())
    monkeypatch.setattr(module, "_put", full)
    files = os.listdir("/proc/self/fd")
    with Team(sieve, 2) as team:
        assert not team._members
        assert [process.returncode for process in started] == [-signal.SIGTERM]
        assert told(list(team.sift(portions))) == alone(sieve, portions)
    assert len(os.listdir("/proc/self/fd")) <= len(files)


def test_a_process_whose_encoder_is_another_one_is_not_asked(sieve: Sieve, portions: Portions) -> None:
    encoder = Encoder(sieve.encoder.tokenizer)
    encoder.fingerprint = "of another version"
    with Team(replace(sieve, encoder=encoder), 2) as team:
        while team._members:
            team._listen(None)
        assert told(list(team.sift(portions))) == alone(sieve, portions)


def test_only_a_few_portions_are_read_ahead_of_one_that_is_not_done(
    sieve: Sieve, portions: Portions, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    def counted() -> Iterator[list[AnyExample]]:
        nonlocal read
        for portion in portions * 9:
            read += 1
            yield portion

    with ReadyTeam(sieve, 2) as team:
        (member,) = team._members
        os.kill(member._process.pid, signal.SIGSTOP)
        found = team.sift(counted())

        def wake(seconds: float | None, listen: Any = team._listen) -> None:
            if seconds is None:
                assert read == AHEAD + 1
                os.kill(member._process.pid, signal.SIGCONT)
            listen(seconds)

        monkeypatch.setattr(team, "_listen", wake)
        assert told([next(found)]) == alone(sieve, portions[:1])


def test_the_others_have_ended_when_the_work_is_given_up(sieve: Sieve, portions: Portions) -> None:
    with ReadyTeam(sieve, 3) as team:
        members = list(team._members)
        next(team.sift(portions))
    assert [member._process.returncode for member in members] == [-signal.SIGKILL] * 2


ASKING = """
import signal
import sys
from itertools import repeat
from pathlib import Path
from ready_team import ReadyTeam
from tunesmith.data.example import Origin, Passage
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.sieve import Sieve
from tunesmith.tokens.tokenizer import Tokenizer

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests with it ignored
with ReadyTeam(Sieve(Encoder(Tokenizer.load(Path(sys.argv[1]))), 50, False), 3) as team:
    print(*(member._process.pid for member in team._members), flush=True)
    for _ in team.sift(repeat([Passage("word " * 100, Origin("text", 1))] * 100)):
        pass
"""


@pytest.mark.parametrize(("whom", "how"), [("all", signal.SIGINT), ("one", signal.SIGKILL)])
def test_no_process_is_left_when_the_one_that_asks_is_interrupted_or_killed(
    tmp_path: Path, whom: str, how: signal.Signals
) -> None:
    folder = saved(tmp_path / "model", byte_level())
    asking = subprocess.Popen(
        [sys.executable, "-c", ASKING, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert asking.stdout is not None
    with asking:
        try:
            others = [os.pidfd_open(int(pid)) for pid in asking.stdout.readline().split()]
            (os.killpg if whom == "all" else os.kill)(asking.pid, how)
            asking.wait(60)
        finally:
            asking.kill()
        for other in others:
            assert select.select([other], [], [], 60)[0]
            os.close(other)
    assert len(others) == 2
