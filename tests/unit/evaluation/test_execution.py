"""Code of answers: run only when allowed, within limits, and counted without bias."""

import contextlib
import itertools
import os
import socket
import sys
import uuid
from pathlib import Path

import pytest

from tunesmith.errors import UsageError
from tunesmith.evaluation.alone import LEVELS
from tunesmith.evaluation.compare import compare
from tunesmith.evaluation.execution import ALLOWED, _level, code_of, containment, pass_at, passes
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import METRICS, score

pytestmark = pytest.mark.whole


@pytest.fixture
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "1")


def test_nothing_runs_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(ALLOWED, raising=False)
    with pytest.raises(UsageError, match="TUNESMITH_RUN_CODE=1"):
        passes(f"open({str(tmp_path / 'made')!r}, 'w')", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize(
    ("code", "right"),
    [
        ("def f(x): return x + 1", True),
        ("def f(x): return x", False),
        ("def f(x): return", False),
        ("import os\ndef f(x): return x + 1 + ('SECRET' in os.environ)", True),
        ("while True: pass", False),
        ("x = 'a' * (1 << 31)\ndef f(x): return x + 1", False),
        ("open('large', 'w').write('a' * (1 << 22))\ndef f(x): return x + 1", False),
    ],
)
def test_code_passes_if_its_tests_do_within_the_limits(code: str, right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    assert passes(code, "assert f(1) == 2", seconds=2) == right


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize(
    "code",
    [
        "import sys\nsys.exit(0)",
        "import os\nos._exit(0)",
        "import sys\ndef f(x): sys.exit(0)",
        "import os\ndef f(x): os._exit(0)",
        "def f(x): return 2\nend = '''",
        "def f(x): return 3\nimport os\nfor n in range(3, 9):\n try: os.write(n, b'passed')\n except OSError: pass",
    ],
)
def test_a_program_that_keeps_its_tests_from_running_has_not_passed(code: str) -> None:
    assert not passes(code, "assert f(1) == 2\nend = ''''''")


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize(("result", "right"), [(2, True), (3, False)])
def test_tests_may_end_as_unittest_does(result: int, right: bool) -> None:
    tests = "import unittest\nclass T(unittest.TestCase):\n def test(self): self.assertEqual(f(1), 2)\nunittest.main()"
    assert passes(f"def f(x): return {result}", tests) == right


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _allowed: None) -> str:
    """Answers run at this level, where the machine has it."""
    monkeypatch.setattr("tunesmith.evaluation.execution._level", lambda: request.param)
    if not passes("", "assert True"):
        pytest.skip(f"the kernel has no level {request.param}")
    return str(request.param)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process that leaves its group stays")
def test_nothing_that_a_program_started_outlives_it(level: str) -> None:
    waiting = f"import signal; signal.pause()  # {uuid.uuid4()}"
    start = f"subprocess.Popen([sys.executable, '-c', {waiting!r}], start_new_session=True)"
    assert passes(f"import subprocess, sys\nchild = {start}", "assert child.poll() is None")
    assert not passes(f"import subprocess, sys\nchild = {start}\nwhile True: pass", "", seconds=1)
    assert not [place for place in Path("/proc").glob("[0-9]*/cmdline") if waiting.encode() in _read(place)]


def _read(place: Path) -> bytes:
    """Its bytes; none of a process that ends meanwhile."""
    with contextlib.suppress(OSError):
        return place.read_bytes()
    return b""


def test_what_a_level_says_is_kept_from_a_program_is(level: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"import socket\nsocket.create_connection({server.getsockname()!r}, timeout=3)"
        assert passes(connect, "") == (level == "near")
    assert passes("open('here', 'w').write('x')", "assert open('here').read() == 'x'")
    assert passes(f"open({str(tmp_path / 'there')!r}, 'w')", "") == (level != "closed")
    assert ("without network" in containment()) == (level != "near")


@pytest.mark.skipif(os.getuid() == 0, reason="root's processes are not counted")
def test_a_program_has_so_many_processes_and_no_more(level: str) -> None:
    fork = "import os, signal\nfor _ in range(70):\n    if not os.fork(): signal.pause()"
    assert passes(fork, "") == (level == "near")


@pytest.mark.usefixtures("_allowed")
def test_a_machine_on_which_nothing_can_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.evaluation.execution.alone.LEVELS", ("unknown",))
    monkeypatch.setattr("tunesmith.evaluation.execution.sys.executable", "/bin/false")
    _level.cache_clear()
    with pytest.raises(UsageError, match="no answer could pass"):
        passes("", "")


def test_the_fenced_block_of_an_answer_is_its_code() -> None:
    assert code_of("Here:\n```python\nx = 1\n```\nDone.") == "x = 1\n"
    assert code_of("x = 1") == "x = 1"


@pytest.mark.parametrize("k", [1, 2, 3])
def test_pass_at_k_is_the_mean_over_all_choices_of_k(k: int) -> None:
    results = [True, False, True, False, False]
    chosen = [any(part) for part in itertools.combinations(results, k)]
    assert pass_at(k, results) == pytest.approx(sum(chosen) / len(chosen))
    with pytest.raises(UsageError, match="needs 6 answers"):
        pass_at(6, results)


@pytest.mark.usefixtures("_allowed")
def test_the_metric_runs_the_answer_after_its_prompt_with_the_tests_of_its_reference() -> None:
    items = [
        Item("    return x + 1\n", "assert f(1) == 2", prompt="def f(x):\n"),
        Item("```python\ndef f(x):\n    return x\n```", "assert f(1) == 2", prompt="def f(x):\n"),
    ]
    assert score(METRICS["code_runs"], items).value == 0.5


@pytest.mark.usefixtures("_allowed")
def test_pass_at_k_takes_all_answers_to_a_question_together() -> None:
    texts = ["    return x + 1", *["    return x"] * 9]
    items = [Item(text, "assert f(1) == 2", prompt="def f(x):\n") for text in texts]
    assert score(METRICS["pass_at_1"], items).value == pytest.approx(0.1)
    assert score(METRICS["pass_at_10"], items).value == 1.0


def test_pass_at_k_counts_questions_and_has_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "1")
    monkeypatch.setattr("tunesmith.evaluation.execution.passes", lambda code, tests: code.endswith("right"))
    answers = {"p": ("right", "wrong", "wrong"), "q": ("right", "right", "right")}
    items = [Item(text, "check(f)", prompt=prompt) for prompt, texts in answers.items() for text in texts]
    found = score(METRICS["pass_at_1"], items)
    assert (found.value, found.items) == (pytest.approx(2 / 3), 2)
    assert (found.low, found.high) == (pytest.approx(1 / 3), 1.0)
    (compared,) = compare(items, [*items[:3], Item("wrong", "check(f)", prompt="q"), *items[4:]], ["pass_at_1"])
    assert (compared.items, compared.difference) == (2, pytest.approx(-1 / 6))
