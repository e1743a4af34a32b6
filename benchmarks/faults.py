"""Forty planted faults: which of them are noticed before or while a model is trained, by Tunesmith and by TRL.

The decision: each fault stands alone among ten good conversations, so that one error does not hide the others, and TRL
gets the best chance to see it: reading the file with `datasets`, `SFTTrainer` with its defaults, and one step with all
rows. An error counts, and so does a warning that the good conversations alone do not give. The faults, their lines and
the whole file of a thousand rows are those of `tests/oracles/planted_faults.py`.

    python benchmarks/faults.py          needs the package `trl`; two minutes of one core
"""

import logging
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from oracles.planted_faults import Planted, write
from oracles.test_planted_faults import TEMPLATE
from tiny_model import tiny_model

from tunesmith.run.check import check

GOOD = 10


class _Heard(logging.Handler):
    """What was warned of, numbers and paths left out."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.add(record.getMessage())

    def add(self, text: str) -> None:
        """Remember a warning."""
        self.said.add(re.sub(r"\S*/\S*|\d+", "…", text)[:200])


@contextmanager
def _listening() -> Iterator[_Heard]:
    heard = _Heard()
    loggers = [logging.getLogger(name) for name in ("", "trl", "transformers", "datasets", "accelerate")]
    for logger in loggers:
        logger.addHandler(heard)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield heard
    for logger in loggers:
        logger.removeHandler(heard)
    for warning in caught:
        heard.add(str(warning.message))


def trained_by_trl(file: Path, model: Path, out: Path) -> tuple[str, set[str]]:
    """The error that TRL ended with, "" for none, and what it warned of."""
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    rows = len(file.read_bytes().splitlines())
    options: dict[str, Any] = {
        "output_dir": str(out / "run"), "use_cpu": True, "bf16": False, "max_steps": 1, "report_to": "none",
        "per_device_train_batch_size": rows, "save_strategy": "no", "disable_tqdm": True,
    }  # fmt: skip
    with _listening() as heard:
        try:
            data = load_dataset("json", data_files=str(file), split="train", cache_dir=str(out / "cache"))
            SFTTrainer(str(model), SFTConfig(**options), train_dataset=data).train()
        except Exception as error:  # whatever it is, it was noticed
            return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:100], heard.said
    return "", heard.said


def main() -> None:
    """Print what each notices of each fault, and the sums."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file, planted = write(folder)
        lines = file.read_bytes().splitlines()
        model = tiny_model(folder / "model", context=8192)
        (model / "chat_template.jinja").write_text(TEMPLATE)
        checked = check([str(file)], model=str(model))
        (folder / "good.jsonl").write_bytes(b"\n".join(lines[:GOOD]) + b"\n")
        error, usual = trained_by_trl(folder / "good.jsonl", model, folder / "good")
        if error:
            sys.exit(f"TRL does not take the good rows: {error}")
        ours = theirs = 0
        for number, fault in enumerate(planted):
            found = sorted({f"{f.name} ({f.level})" for f in checked.findings if f.line == fault.line})
            error, said = trained_by_trl(_alone(fault, lines, folder / f"{number}.jsonl"), model, folder / str(number))
            new = "; ".join(sorted(said - usual))[:100]
            ours, theirs = ours + bool(found), theirs + bool(error or new)
            print(f"{fault.name:38} | {', '.join(found):48} | {error or new or '-'}", flush=True)
        print(f"noticed of {len(planted)}: Tunesmith {ours}, TRL {theirs}")


def _alone(fault: Planted, lines: list[bytes], file: Path) -> Path:
    """A file of good rows, with those that a doubled one repeats, and one fault in their middle."""
    good = [line for line in dict.fromkeys([*lines[:GOOD], lines[10], lines[20]]) if line != lines[fault.line - 1]]
    good += [lines[20]] if lines[20] == lines[fault.line - 1] else []
    file.write_bytes(b"\n".join([*good[:GOOD], lines[fault.line - 1], *good[GOOD:]]) + b"\n")
    return file


if __name__ == "__main__":
    main()
