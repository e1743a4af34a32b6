import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import transformers
from tiny_model import tiny_model

from tunesmith.cli.main import run
from tunesmith.errors import UsageError
from tunesmith.run.harness import HarnessModel, register, rolling, wishes

TEXTS = [("Colours are", " red"), ("Colours are", " blue"), ("One more", " thing to say")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"), context=64)


@pytest.fixture(scope="module")
def model(folder: Path) -> HarnessModel:
    made = HarnessModel(str(folder))
    made.cache_hook = SimpleNamespace(add_partial=lambda *_: None)
    return made


def log_p(folder: Path, ids: list[int]) -> Any:
    """The log-probabilities of every next token, by transformers alone."""
    with torch.no_grad():
        plain: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
        return plain(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)


def asked(*arguments: Any) -> Any:
    return SimpleNamespace(args=arguments)


def test_a_continuation_is_as_likely_as_transformers_says_and_greedy_where_it_is(
    model: HarnessModel, folder: Path
) -> None:
    pairs = [(text, model.tok_encode(text[0]), model.tok_encode(text[1])) for text in TEXTS]
    start = pairs[0][1]
    likeliest = int(log_p(folder, start)[-1].argmax())
    pairs.append((("", ""), start, [likeliest]))
    for (_, before, after), (nats, greedy) in zip(pairs, model._loglikelihood_tokens(pairs), strict=True):
        table = log_p(folder, [*before, *after])
        rows = range(len(before) - 1, len(before) + len(after) - 1)
        assert nats == pytest.approx(
            sum(float(table[r, token]) for r, token in zip(rows, after, strict=True)), abs=1e-4
        )
        assert greedy == ([int(table[row].argmax()) for row in rows] == after)
    assert model._loglikelihood_tokens(pairs)[-1][1]


def test_of_a_context_longer_than_the_model_reads_the_end_counts(model: HarnessModel, folder: Path) -> None:
    before = model.tok_encode("long " * 40)
    ((nats, _),) = model._loglikelihood_tokens([(("", ""), before, [7])])
    assert nats == pytest.approx(float(log_p(folder, before[-64:])[-1, 7]), abs=1e-4)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 20])
def test_windows_score_every_token_once_after_all_that_the_model_holds(count: int) -> None:
    ids = list(range(1, count + 1))
    windows = rolling(ids, 0, 8)
    assert [token for _, after in windows for token in after] == ids
    assert all(before and len(before) + len(after) - 1 <= 8 for before, after in windows)
    assert all(len(before) + len(after) - 1 == 8 for before, after in windows[1:])


def test_a_whole_text_is_scored_after_the_prefix(model: HarnessModel, folder: Path) -> None:
    ids = model.tok_encode("some words")
    table = log_p(folder, [model.prefix_token_id, *ids])
    expected = sum(float(table[row, token]) for row, token in enumerate(ids))
    assert model.loglikelihood_rolling([asked("some words")]) == [pytest.approx(expected, abs=1e-4)]


def test_an_answer_ends_before_the_first_of_its_texts(model: HarnessModel) -> None:
    (whole,) = model.generate_until([asked("One", {"until": [], "max_gen_toks": 12})])
    assert len(whole) > 4
    mark = whole[3:5]
    (cut,) = model.generate_until([asked("One", {"until": [mark], "max_gen_toks": 12})])
    assert cut == whole[: whole.index(mark)]


def test_requests_with_other_wishes_are_answered_in_their_order(model: HarnessModel) -> None:
    short, long = {"until": "never", "max_gen_toks": 2}, {"until": "never", "max_gen_toks": 9}
    mixed = model.generate_until([asked("a", short), asked("b", long), asked("c", short)])
    assert mixed[1] == model.generate_until([asked("b", long)])[0]
    assert mixed[2] == model.generate_until([asked("c", short)])[0]


def test_wishes_are_read_as_the_harness_means_them() -> None:
    settings, ends = wishes({"until": ["\n"], "do_sample": False, "temperature": 0.7, "max_gen_toks": 5})
    assert (settings.max_new_tokens, settings.temperature, ends) == (5, 0.0, ("\n",))
    assert wishes({"do_sample": True, "temperature": 0.7, "top_p": 0.9})[0].top_p == 0.9
    with pytest.raises(UsageError, match="top_k"):
        wishes({"top_k": 4})


def test_a_conversation_is_the_prompt_that_is_served(model: HarnessModel) -> None:
    text = model.apply_chat_template([{"role": "user", "content": "Hello"}])
    encoder = model._opened.encoder
    from tunesmith.data.example import Message

    assert model.tok_encode(text) == list(encoder.prompt([Message("user", "Hello")]))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A harness that knows no task, and takes each name once, as the real one does."""
    names: set[str] = set()

    def register_model(name: str) -> Any:
        if name in names:
            raise ValueError(f"{name} is registered")
        names.add(name)
        return lambda kind: kind

    def cli_evaluate() -> None:
        raise ValueError("Tasks not found: nope")

    parts: dict[str, dict[str, Any]] = {
        "lm_eval": {}, "lm_eval.models": {}, "lm_eval.api": {}, "lm_eval.api.model": {"TemplateLM": object},
        "lm_eval.api.registry": {"register_model": register_model}, "lm_eval.__main__": {"cli_evaluate": cli_evaluate},
    }  # fmt: skip
    for name, content in parts.items():
        monkeypatch.setitem(sys.modules, name, cast(Any, SimpleNamespace(**content)))
    monkeypatch.setattr(sys, "argv", sys.argv)
    register.cache_clear()
    yield
    register.cache_clear()


@pytest.mark.usefixtures("played")
def test_what_the_harness_refuses_is_said_as_its_own_and_no_bug_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    register()
    assert run(["lm-eval", "tiny", "--tasks", "nope"]) == 1
    assert capsys.readouterr().err == "Error: lm_eval: ValueError: Tasks not found: nope\n"


def test_the_harness_itself_finds_the_same_by_our_model_and_by_its_own(folder: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("lm_eval")
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        rows = [{"q": f"Colour {i}?", "a": i % 2} for i in range(6)]
        (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
        shared = {
            "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
            "test_split": "test", "doc_to_text": "Q: {{q}}\nA:",
        }  # fmt: skip
        choice = {
            "task": "choice",
            "output_type": "multiple_choice",
            "doc_to_choice": ["A", "BB"],
            "doc_to_target": "a",
        }
        write = {
            "task": "write", "output_type": "generate_until", "doc_to_target": "{{a}}",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "do_sample": False},
        }  # fmt: skip
        for task in (choice, write):
            (tmp_path / f"{task['task']}.yaml").write_text(json.dumps({**shared, **task}))
        tasks = TaskManager(include_path=str(tmp_path), include_defaults=False)
        register()
        found = [
            simple_evaluate(
                model=name, model_args={"pretrained": str(folder), **more}, tasks=["choice", "write"],
                num_fewshot=0, task_manager=tasks, bootstrap_iters=0,
            )
            for name, more in (("hf", {"dtype": "float32", "device": "cpu"}), ("tunesmith", {}))
        ]  # fmt: skip
    theirs, ours = found
    assert ours["results"]["choice"]["acc,none"] == theirs["results"]["choice"]["acc,none"]
    for task in ("choice", "write"):
        for a, b in zip(ours["samples"][task], theirs["samples"][task], strict=True):
            if task == "write":
                assert a["filtered_resps"] == b["filtered_resps"]
            else:
                for (mine, greedy), (other, also) in zip(a["filtered_resps"], b["filtered_resps"], strict=True):
                    assert (float(mine), greedy) == (pytest.approx(float(other), abs=1e-4), also)
