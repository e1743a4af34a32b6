"""Rows a second from a file of conversations to token ids with their weights: Tunesmith and `datasets.map`.

The decision: all read the same JSONL file with the same tokenizer and chat template, from cold caches, and their ids
are compared. The peer renders and tokenises through `apply_chat_template`, in batches, as trainers do it; it is run
with one process and with two, and without the weights that Tunesmith makes besides. Ours includes reading, all checks
of the records, the split, and the cache on disk.

    python benchmarks/encode.py 50000          needs the package `datasets`; writes a generated file of so many rows
    python benchmarks/encode.py FILE.jsonl     conversations as `tunesmith data convert --to messages` writes them
"""

import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MODEL = "smollm2-135m-instruct"


def write_rows(path: Path, count: int) -> None:
    """Conversations of 18 to 180 words of a made-up vocabulary, no two alike."""
    chance = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(5000)]
    with path.open("w", encoding="utf-8") as out:
        for _ in range(count):
            question, answer = (" ".join(chance.choices(words, k=chance.randint(*k))) for k in ((8, 60), (10, 120)))
            turns = [("system", "You are a helpful assistant."), ("user", question), ("assistant", answer)]
            out.write(json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}) + "\n")


def ours(file: Path, home: Path) -> Callable[[], object]:
    """Encoding into a cache that is not there yet."""
    from tunesmith.data.settings import DataSettings
    from tunesmith.models.sources import resolve
    from tunesmith.run import encoding
    from tunesmith.tokens.encode import Encoder
    from tunesmith.tokens.tokenizer import Tokenizer

    encoder = Encoder(Tokenizer.load(resolve(MODEL).folder))
    os.environ["TUNESMITH_HOME"] = str(home)
    encoding.LARGE = 0
    data = DataSettings(train=str(file), validation=0, test=0)
    return lambda: encoding.encoded_sets(data, encoder, context=8192)


def theirs(file: Path, home: Path, processes: int) -> Callable[[], object]:
    """`datasets.map` over the same file."""
    import datasets
    from transformers import AutoTokenizer

    from tunesmith.models.sources import resolve

    tokenizer = AutoTokenizer.from_pretrained(resolve(MODEL).folder)

    def encode(rows: dict[str, list[object]]) -> dict[str, list[list[int]]]:
        ids = tokenizer.apply_chat_template(rows["messages"], tokenize=True, return_dict=False)
        return {"input_ids": ids}

    def run() -> object:
        found = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(home))
        return found.map(encode, batched=True, num_proc=processes, remove_columns=["messages"])

    return run


def measured(what: str, file: Path, count: int) -> None:
    """Run one way in a process of its own, and print its rows a second and its memory."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading) as answer:
            print(f"{what:32} {answer.read().strip()}", flush=True)
        os.waitpid(child, 0)
        return
    with tempfile.TemporaryDirectory() as home:
        processes = int(what[-1]) if what[-1].isdigit() else 1
        run = ours(file, Path(home)) if what == "tunesmith" else theirs(file, Path(home), processes)
        wall, busy = time.perf_counter(), time.process_time()
        run()
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        children = os.times().children_user + os.times().children_system
        line = f"{count / wall:9,.0f} rows/s, {wall:6.1f} s, {busy + children:6.1f} s of CPU, {peak:.2f} GiB"
        os.write(writing, line.encode())
    os._exit(0)


def same_ids(file: Path) -> None:
    """Stop unless both make the same ids of the first rows."""
    from transformers import AutoTokenizer

    from tunesmith.data.example import Example
    from tunesmith.data.reading import read_examples
    from tunesmith.models.sources import resolve
    from tunesmith.tokens.encode import Encoder
    from tunesmith.tokens.tokenizer import Tokenizer

    folder = resolve(MODEL).folder
    encoder, peer = Encoder(Tokenizer.load(folder)), AutoTokenizer.from_pretrained(folder)
    lines = file.read_text(encoding="utf-8").splitlines()[:100]
    rows = [json.loads(line) for line in lines]
    examples = [example for example in read_examples(rows).examples if isinstance(example, Example)]
    for row, one in zip(rows, encoder.encode_many(examples), strict=True):
        ids = peer.apply_chat_template(row["messages"], tokenize=True, return_dict=False)
        if ids != one.ids.tolist():
            sys.exit("the two make different ids of a row")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        data = Path(sys.argv[1])
        if not data.is_file():
            data = Path(folder) / "rows.jsonl"
            write_rows(data, int(sys.argv[1]))
        with data.open("rb") as lines:
            rows = sum(1 for _ in lines)
        if sys.argv[2:]:  # one way alone, for instance without the peer's package
            measured(sys.argv[2], data, rows)
        else:
            for way in ("tunesmith", "datasets.map, processes: 1", "datasets.map, processes: 2"):
                measured(way, data, rows)
            same_ids(data)
