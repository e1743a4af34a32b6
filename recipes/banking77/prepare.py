"""Banking77 as conversations: the 77 intents stand in the system message, the query asks, the intent answers.

    python recipes/banking77/prepare.py FOLDER      FOLDER holds train.csv, test.csv and categories.json

Writes data/banking77/{train,validation,test}.jsonl: 2,000 training rows and 200 for validation, both taken evenly from
all intents by a hash of the text, and the whole test file. Data: Casanueva et al., 2020, https://arxiv.org/abs/2003.04807,
CC BY 4.0.
"""

import csv
import hashlib
import json
import sys
from pathlib import Path

OUT = Path("data/banking77")
TRAIN, VALIDATION = 2000, 200


def words(intent: str) -> str:
    """An intent as people write it: fewer tokens, and words that the model knows."""
    return intent.replace("_", " ")


def conversation(row: dict[str, str], system: str) -> str:
    """One line of JSONL."""
    turns = [("system", system), ("user", row["text"].strip()), ("assistant", words(row["category"]))]
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]}, ensure_ascii=False)


def evenly(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows in an order that takes one of each intent in turn; within an intent by the hash of the text."""
    by_intent: dict[str, list[dict[str, str]]] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row["text"].encode()).digest()):
        by_intent.setdefault(row["category"], []).append(row)
    rounds = max(map(len, by_intent.values()))
    return [group[i] for i in range(rounds) for _, group in sorted(by_intent.items()) if i < len(group)]


def main(folder: Path) -> None:
    """Read the three files of `folder` and write the three of this recipe."""
    intents = json.loads((folder / "categories.json").read_text(encoding="utf-8"))
    system = (
        "Name the intent of the customer's message. Answer with exactly one of these: "
        + ", ".join(map(words, sorted(intents)))
        + "."
    )
    rows = {name: list(csv.DictReader((folder / f"{name}.csv").open(encoding="utf-8"))) for name in ("train", "test")}
    chosen = evenly(rows["train"])
    parts = {
        "train": chosen[:TRAIN],
        "validation": chosen[TRAIN : TRAIN + VALIDATION],
        "test": rows["test"],
    }
    OUT.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        text = "".join(conversation(row, system) + "\n" for row in part)
        (OUT / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{OUT / name}.jsonl: {len(part)} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
