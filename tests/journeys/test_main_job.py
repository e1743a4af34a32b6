"""The main job as a user does it, with the real default model: train, be killed, go on, evaluate, talk, export."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer

SUPPORT = Path(__file__).parents[2] / "recipes" / "support"
SETTINGS = (
    "method.rank=4", "training.batch_size=4", "training.steps=4", "training.validation.every=1", "checkpoints.every=1",
    "data.test=0",
)  # fmt: skip

pytestmark = pytest.mark.journey


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "tunesmith", *map(str, words)]


def tunesmith(*words: object, stdin: str = "") -> str:
    """Run a command that must succeed; its stdout."""
    done = subprocess.run(command(*words), input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Twelve training and four validation rows of the sample data."""
    folder = tmp_path_factory.mktemp("few")
    for name, count in (("train", 12), ("validation", 4)):
        lines = (SUPPORT / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:count]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "train.jsonl", folder / "validation.jsonl"


@pytest.fixture(scope="module")
def run(few: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished LoRA run that was never interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    printed = tunesmith("train", few[0], f"run={folder}", f"data.validation={few[1]}", *SETTINGS)
    assert printed.strip() == str(folder)
    return folder


def test_a_killed_run_goes_on_to_the_same_weights(run: Path, few: tuple[Path, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    words = command("train", few[0], f"run={broken}", f"data.validation={few[1]}", *SETTINGS)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("step 2:"):  # early enough to come before its end, however late this is heard
                os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    tunesmith("train", "--resume", broken)
    digests = [
        json.loads(tunesmith("models", "show", folder / "final", "--json"))["weights_sha256"]
        for folder in (run, broken)
    ]
    assert digests[0] == digests[1]


def test_ctrl_c_saves_and_says_how_to_go_on(few: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    words = command("train", few[0], f"run={folder}", f"data.validation={few[1]}", *SETTINGS, "training.steps=400")
    said = ""
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            said += line
            if line.startswith("step 1:"):
                os.kill(child.pid, signal.SIGINT)
    assert child.returncode == 130
    assert f"tunesmith train --resume {folder}" in said
    assert list((folder / "checkpoints").glob("step-*"))


# PEFT still asks models by the old name of a property.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_tuned_model_loads_with_peft_and_its_export_with_transformers(run: Path, tmp_path: Path) -> None:
    tunesmith("export", run, "--to", tmp_path / "merged", "--merge")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    ids = torch.tensor([tokenizer("Where is my order?").input_ids])
    with torch.inference_mode():
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)(ids).logits
        adapter = AutoPeftModelForCausalLM.from_pretrained(run / "final", dtype=torch.float32)(ids).logits
    assert tokenizer.chat_template
    assert AutoTokenizer.from_pretrained(run / "final").chat_template == tokenizer.chat_template
    assert float((merged - adapter).abs().max() / adapter.abs().max()) < 1e-2  # merged into 16-bit weights


def test_evaluate_generate_and_chat_answer(run: Path, few: tuple[Path, Path], tmp_path: Path) -> None:
    scores = json.loads(tunesmith("evaluate", run, "--data", few[1], "--limit", 2, "--json"))
    assert all(metric["items"] == 2 for task in scores.values() for metric in task.values())
    tunesmith("generate", run, "--data", few[1], "--out", tmp_path / "answers.jsonl")
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(answers) == 4
    assert tunesmith("chat", run, stdin="Hello\n/reset\n/system Be brief.\nHello\n/quit\n").strip()


def test_the_journal_adds_up(run: Path) -> None:
    journal = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in journal] == [1, 2, 3, 4]
    assert all(entry["computed_tokens"] < entry["tokens"] for entry in journal)
    report = json.loads((run / "report.json").read_text())
    assert report["tokens"] == sum(entry["tokens"] for entry in journal)
    assert report["data"]["read"] == report["data"]["train"] + report["data"]["validation"]
    assert (run / "loss.png").stat().st_size > 10_000
