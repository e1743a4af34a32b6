"""The verb judge: files of the benchmarks in, win rates, marks and guards out."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tunesmith.data.example import Message
from tunesmith.errors import DataError, UsageError
from tunesmith.evaluation.judging import Judge
from tunesmith.evaluation.said import Said
from tunesmith.run import judge as module
from tunesmith.run.judge import judge


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    for name in ("alpaca_eval", "mt_bench"):
        (tmp_path / name).mkdir()
    rows = [{"instruction": f"say {i}", "output": "bad" if i % 2 else "good good"} for i in range(6)]
    (tmp_path / module.ALPACA).write_text(json.dumps(rows))
    (tmp_path / module.QUESTIONS).write_text('{"question_id": 1, "turns": ["one", "two"]}\n')
    (tmp_path / module.REFERENCES).write_text('{"question_id": 2, "choices": [{"turns": ["r"]}]}\n')
    prompts = [
        {"name": f"single-v1{end}", "system_prompt": "", "prompt_template": "{answer}"} for end in ("", "-multi-turn")
    ]
    (tmp_path / module.PROMPTS).write_text("\n".join(map(json.dumps, prompts)))
    return tmp_path


def speakers(name: str, *, tokens: int, said: Said, say: object) -> Judge:
    """`good` always says good; the judge prefers what says good and marks 8."""

    def judging(asked: Sequence[Sequence[Message]]) -> list[str]:
        said = []
        for messages in asked:
            parts = messages[-1].content.split("[Answer A]")[-1].split("[Answer B]")
            likes = ["good" in part for part in parts]
            said.append(
                "[[8]] [[A]]" if likes[0] > likes[-1] else "[[8]] [[B]]" if likes[0] < likes[-1] else "[[8]] [[C]]"
            )
        return said

    return judging if name == "judge" else lambda asked: [name] * len(asked)


def test_answers_win_against_the_references_and_the_guards_stand_beside(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "speaker", speakers)
    found = judge("good", "alpaca_eval", "judge", out=files / "out", say=quiet)
    assert found.scores["win_rate"].value == pytest.approx(0.75)
    assert found.scores["win_rate_of_nothing"].value == pytest.approx(0.25)
    assert any("says nothing wins" in text for text in found.warnings)
    assert len((files / "out" / "judged.jsonl").read_text().splitlines()) == 6
    assert judge("good", "alpaca_eval", "judge", against="good", limit=2, say=quiet).scores["win_rate"].value == 0.5


def test_both_turns_of_mt_bench_are_asked_and_marked(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "speaker", speakers)
    found = judge("good", "mt_bench", "judge", say=quiet)
    assert {name: s.value for name, s in found.scores.items()} == {
        "mark": 8.0, "mark_first_turn": 8.0, "mark_second_turn": 8.0, "mark_of_nothing": 8.0,
    }  # fmt: skip
    assert any("says nothing gets 8.0 of 10" in text for text in found.warnings)
    assert judge("good", "mt_bench", "judge", against="bad", say=quiet).scores["win_rate"].value == 1.0


def test_a_judging_that_was_stopped_asks_only_the_rest_and_scores_the_same(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counted(name: str, *, tokens: int, said: Said, say: object) -> Judge:
        speak = speakers(name, tokens=tokens, said=said, say=say)

        def answers(conversations: Sequence[Sequence[Message]]) -> Sequence[str]:
            if stops and name == "judge" and len(asked) >= 10:
                raise KeyboardInterrupt
            asked.extend([name] * len(conversations))
            return speak(conversations)

        return said.by(name, answers)

    monkeypatch.setattr(module, "speaker", counted)
    stops = False
    whole = judge("good", "alpaca_eval", "judge", out=files / "whole", say=quiet)
    count, stops = len(asked), True
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        judge("good", "alpaca_eval", "judge", out=files / "out", say=quiet)
    assert asked.count("good") == 6
    stops, told = False, list[str]()
    again = judge("good", "alpaca_eval", "judge", out=files / "out", say=told.append)
    assert len(asked) == count
    assert any("answers and verdicts were said before" in text for text in told)
    assert again.as_dict() == whole.as_dict()
    lines = [(files / name / "judged.jsonl").read_text() for name in ("whole", "out")]
    assert lines[0] == lines[1]


def test_an_unknown_task_or_a_missing_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="alpaca_eval, mt_bench"):
        judge("a", "chess", "b", say=quiet)
    with pytest.raises(DataError, match="TUNESMITH_DATA"):
        judge("a", "alpaca_eval", "b", say=quiet)
