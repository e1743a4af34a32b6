"""GSM8K as conversations: the problem asks, the worked solution that ends with `#### number` answers.

    python recipes/gsm8k/prepare.py FOLDER      FOLDER holds train.jsonl and test.jsonl

Writes data/gsm8k/{train,validation,test}.jsonl: 500 training rows, 100 for validation, 200 for test, by a hash of the
question. Data: Cobbe et al., 2021, https://arxiv.org/abs/2110.14168, MIT.
"""

import hashlib
import json
import sys
from pathlib import Path

OUT = Path("data/gsm8k")
SIZES = {"train": 500, "validation": 100, "test": 200}


def conversation(row: dict[str, str]) -> str:
    """One line of JSONL."""
    turns = [("user", row["question"].strip()), ("assistant", row["answer"].strip())]
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]}, ensure_ascii=False)


def shuffled(file: Path) -> list[dict[str, str]]:
    """The rows of a file, ordered by the hash of their question."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: hashlib.sha256(row["question"].encode()).digest())


def main(folder: Path) -> None:
    """Read the two files of `folder` and write the three of this recipe."""
    rows, held_out = shuffled(folder / "train.jsonl"), shuffled(folder / "test.jsonl")
    size = SIZES["train"]
    parts = {
        "train": rows[:size],
        "validation": rows[size : size + SIZES["validation"]],
        "test": held_out[: SIZES["test"]],
    }
    OUT.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        (OUT / f"{name}.jsonl").write_text("".join(conversation(row) + "\n" for row in part), encoding="utf-8")
        print(f"{OUT / name}.jsonl: {len(part)} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
