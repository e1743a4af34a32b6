"""The examples of a comparison as token ids and weights, in the batches of its steps, as one JSON file."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

from tunesmith.data.example import Example, Message, Origin
from tunesmith.models.sources import resolve
from tunesmith.run.opened import encoder_for
from tunesmith.tokens.tokenizer import Tokenizer


def conversations(work: str, data: Path) -> list[list[tuple[str, str]]]:
    """(role, content) of each turn of each row."""
    if work == "alpaca":
        rows = json.loads((data / "llamafactory_demo/alpaca_en_demo.json").read_text(encoding="utf-8"))
        asked = [r["instruction"] + ("\n" + r["input"] if r["input"] else "") for r in rows]
        return [[("user", ask), ("assistant", r["output"])] for ask, r in zip(asked, rows, strict=True)]
    folder = data / "banking77"
    names = sorted(json.loads((folder / "categories.json").read_text(encoding="utf-8")))
    system = "Name the intent of the bank customer's query. Answer with one of: " + ", ".join(names) + "."
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    step = max(1, len(rows) // 1000)  # the file is sorted by intent
    return [[("system", system), ("user", r["text"]), ("assistant", r["category"])] for r in rows[::step]]


def main(job: Path, asked: dict[str, Any]) -> None:
    """Write the job of one comparison."""
    source = resolve(asked["model"])
    encoder = encoder_for(Tokenizer.load(source.folder))
    wanted = asked["batch"] * asked["steps"]
    made = []
    for number, turns in enumerate(conversations(asked["work"], Path(asked["data"]))[:wanted], 1):
        messages = tuple(Message(role, content) for role, content in turns)
        made.append(encoder.encode(Example(messages, Origin(asked["work"], number))))
    if asked["peer"] != "defaults":
        made.sort(key=len)
    batches = [made[start : start + asked["batch"]] for start in range(0, wanted, asked["batch"])]
    # The first is not counted. As the longest, it has each side ask for all of its memory: what a step waits for new
    # pages would otherwise be counted with most of them, while a run of many steps hardly meets it.
    longest = max(batches, key=lambda batch: max(map(len, batch)))
    made = longest + [e for batch in batches if batch is not longest for e in batch]
    rows = [{"ids": e.ids.tolist(), "weights": e.weights.tolist()} for e in made]
    job.write_text(json.dumps({**asked, "folder": str(source.folder), "rows": rows}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
