"""The verb judge: files of the benchmarks in, win rates, marks and guards out."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_server import chat_server
from tiny_model import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunesmith.data.example import Message
from tunesmith.errors import DataError, ModelError, UsageError
from tunesmith.evaluation.judging import Judge
from tunesmith.evaluation.said import Said
from tunesmith.run import judge as module
from tunesmith.run.judge import judge, speaker


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
    (tmp_path / module.REFERENCES).write_text('{"question_id": 2, "choices": [{"turns": ["r", "s"]}]}\n')
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


def test_the_outputs_to_win_against_may_be_another_file(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "speaker", speakers)
    rows = [{"instruction": f"ask {i}", "output": "bad"} for i in range(3)]
    (files / "alpaca_eval" / "gpt4.json").write_text(json.dumps(rows))
    found = judge("good", "alpaca_eval", "judge", against="gpt4.json", out=files / "out", say=quiet)
    assert (found.scores["win_rate"].value, found.scores["win_rate"].items) == (1.0, 3)
    assert found.items[0]["request"] == "ask 0"
    assert json.loads((files / "out" / "judged.json").read_text())["against"] == "gpt4.json"
    (files / "mine.json").write_text(json.dumps(rows[:1]))
    mine = judge("good", "alpaca_eval", "judge", against=str(files / "mine.json"), say=quiet)
    assert mine.scores["win_rate"].items == 1
    (files / "mine.json").write_text('[{"instruction": "say"}]')
    with pytest.raises(DataError, match="instruction and output"):
        judge("good", "alpaca_eval", "judge", against=str(files / "mine.json"), say=quiet)
    with pytest.raises(UsageError, match="no published outputs"):
        judge("good", "mt_bench", "judge", against="gpt4.json", say=quiet)


def test_both_turns_of_mt_bench_are_asked_and_marked(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "speaker", speakers)
    found = judge("good", "mt_bench", "judge", say=quiet)
    assert {name: s.value for name, s in found.scores.items()} == {
        "mark": 8.0, "mark_first_turn": 8.0, "mark_second_turn": 8.0, "mark_of_nothing": 8.0,
    }  # fmt: skip
    assert any("says nothing gets 8.0 of 10" in text for text in found.warnings)
    (item,) = found.items
    assert (item["answers"], item["references"]) == (("good", "good"), ())


@pytest.mark.parametrize("published", [True, False])
def test_pairs_of_mt_bench_are_judged_turn_by_turn_by_the_published_prompts_where_they_are_here(
    files: Path, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    monkeypatch.setattr(module, "speaker", speakers)
    both = "[Answer A]{answer_a}[Answer B]{answer_b}"
    last = "[Answer A]{answer_a_1}{answer_a_2}[Answer B]{answer_b_1}{answer_b_2}"
    if published:
        prompts = [
            {"name": f"{kind}{end}", "system_prompt": "", "prompt_template": last if end else both}
            for kind in ("pair-v2", "pair-math-v1") for end in ("", "-multi-turn")
        ]  # fmt: skip
        (files / module.PROMPTS).write_text("\n".join(map(json.dumps, prompts)))
    else:
        (files / module.PROMPTS).unlink()
    (files / module.REFERENCES).write_text('{"question_id": 1, "choices": [{"turns": ["r", "s"]}]}\n')
    found = judge("good", "mt_bench", "judge", against="bad", out=files / "out", say=quiet)
    assert {name: s.value for name, s in found.scores.items()} == {
        "win_rate": 1.0, "win_rate_first_turn": 1.0, "win_rate_second_turn": 1.0, "win_rate_of_nothing": 0.5,
        "longer_wins": 1.0,
    }  # fmt: skip
    assert found.scores["win_rate"].items == 1
    assert any("our own were used" in text for text in found.warnings) != published
    (item,) = [json.loads(line) for line in (files / "out" / "judged.jsonl").read_text().splitlines()]
    assert (item["references"], item["points"]) == (["r", "s"], [1.0, 1.0])


def test_a_reference_without_both_turns_is_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "speaker", speakers)
    (files / module.REFERENCES).write_text('{"question_id": 1, "choices": [{"turns": ["r"]}]}\n')
    with pytest.raises(DataError, match="question 1 has no reference for each of 2 turns"):
        judge("good", "mt_bench", "judge", say=quiet)


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


ASKED = [[Message("system", "Be short."), Message("user", word)] for word in ("an apple?", "a pear?", "a long plum?")]


@pytest.fixture
def talkative(folder: Path, tmp_path: Path) -> Path:
    """The small model with layers strong enough that it does not only repeat what it read last."""
    shutil.copytree(folder, tmp_path / "talkative")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for weight in model.model.layers.parameters():
        weight.data *= 10 if weight.dim() > 1 else 1
    model.save_pretrained(tmp_path / "talkative")
    return tmp_path / "talkative"


def test_a_model_that_speaks_says_what_transformers_says(talkative: Path) -> None:
    words = AutoTokenizer.from_pretrained(talkative)
    model = AutoModelForCausalLM.from_pretrained(talkative, dtype=torch.float32)
    expected = []
    for messages in ASKED:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        ids = words.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        found = model.generate(**ids, max_new_tokens=6, do_sample=False, pad_token_id=0)
        expected.append(words.decode(found[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
    assert speaker(str(talkative), tokens=6, said=Said(), say=quiet)(ASKED) == expected
    assert len(set(expected)) > 1, "a model that says the same to everything proves nothing"


def test_a_model_is_known_again_by_its_weights_and_not_by_its_name(folder: Path, run: Path, tmp_path: Path) -> None:
    said = Said(tmp_path / "said.jsonl")
    before = speaker(str(folder), tokens=4, said=said, say=quiet)(ASKED)
    shutil.copytree(folder, tmp_path / "copy")
    assert speaker(str(tmp_path / "copy"), tokens=4, said=said, say=quiet)(ASKED) == before
    assert said.taken == 3
    speaker(str(run), tokens=4, said=said, say=quiet)(ASKED)
    speaker(str(folder), tokens=3, said=said, say=quiet)(ASKED)
    assert said.taken == 3


def likes_good(body: dict[str, Any]) -> str:
    """A judge that prefers what says good, and otherwise what the model of the name `good` says."""
    if body["model"] != "judge":
        return str(body["model"])
    first, second = body["messages"][-1]["content"].split("[Answer A]")[1].split("[Answer B]")
    return "[[A]]" if "good" in first and "good" not in second else "[[B]]" if "good" in second else "[[C]]"


def test_endpoints_answer_and_judge_and_are_not_asked_twice(files: Path) -> None:
    with chat_server(likes_good) as server:
        names = (f"{server.url}#good", "alpaca_eval", f"{server.url}#judge")
        found = judge(*names, out=files / "out", say=quiet)
        asked = list(server.asked)
        again = judge(*names, out=files / "out", say=quiet)
        assert len(server.asked) == len(asked)
    assert again.as_dict() == found.as_dict()
    assert {(body["model"], body["max_tokens"], body["temperature"]) for body in asked} == {
        ("good", module.ANSWER_TOKENS, 0), ("judge", module.VERDICT_TOKENS, 0),
    }  # fmt: skip
    assert found.items[1]["ours"] == "good"
    assert found.items[1]["points"] == 1.0


def test_a_model_here_may_judge_and_what_it_mumbles_counts_for_nobody(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_TOKENS", 4)
    monkeypatch.setattr(module, "VERDICT_TOKENS", 4)
    model = str(tiny_model(tmp_path / "model", context=2048))
    told: list[str] = []
    with pytest.raises(ModelError, match="none of its verdicts could be read"):
        judge(model, "alpaca_eval", model, limit=2, out=files / "out", say=told.append)
    assert any("4 of 4 verdicts could not be read" in text for text in told)
    assert json.loads((files / "out" / "judged.json").read_text())["scores"] == {}
    said = [json.loads(line)["said"] for line in (files / "out" / "said.jsonl").read_text().splitlines()]
    assert len(said) == 2 + 4 + 4
    assert any(said)
