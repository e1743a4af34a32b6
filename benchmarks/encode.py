"""Rows a second from a file of conversations to token ids with their weights: Tunesmith and `datasets.map`.

The decision: all read the same JSONL file with the same tokenizer and chat template, from cold caches, and their ids
are compared. The peer renders and tokenises through `apply_chat_template`, in batches, as trainers do it, without the
weights that Tunesmith makes besides. Ours includes reading, all checks of the records, the split, and the cache on
disk. Both are run with one process and with two. Seconds of CPU are those of all processes; memory is the most that
this process had, and the most that another had, times their number.

    python benchmarks/encode.py 50000          needs the package `datasets`; writes a generated file of so many rows
    python benchmarks/encode.py FILE.jsonl     conversations as `tunesmith data convert --to messages` writes them
    python benchmarks/encode.py FILE.jsonl 5   both with two processes in turn, five times, and how their times compare
    python benchmarks/encode.py 1000000 "tunesmith, processes: 2"                      one way alone
"""

import json
import os
import random
import resource
import statistics
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


def ours(file: Path, home: Path, processes: int) -> Callable[[], object]:
    """Encoding into a cache that is not there yet, in the way of large files."""
    from tunesmith.data.settings import DataSettings
    from tunesmith.models.sources import resolve
    from tunesmith.run import encoding
    from tunesmith.tokens.encode import Encoder
    from tunesmith.tokens.tokenizer import Tokenizer

    encoder = Encoder(Tokenizer.load(resolve(MODEL).folder))
    os.environ["TUNESMITH_HOME"] = str(home)
    encoding.LARGE = encoding.SHARED = 0
    data = DataSettings(train=str(file), validation=0, test=0)
    return lambda: encoding.encoded_sets(data, encoder, context=8192, processes=processes)


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


def measured(what: str, file: Path, count: int) -> float:
    """Run one way in a process of its own, print what it took, and tell its seconds."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading) as answer:
            seconds, told = answer.read().split(" ", 1)
        os.waitpid(child, 0)
        print(f"{what:28} {told}", flush=True)
        return float(seconds)
    with tempfile.TemporaryDirectory() as home:
        way, processes = WAYS[what]
        run = way(file, Path(home), processes)
        before, wall = os.times(), time.perf_counter()
        run()
        wall, after = time.perf_counter() - wall, os.times()
        own, others = (sum(after[i : i + 2]) - sum(before[i : i + 2]) for i in (0, 2))
        beside = processes - 1 if way is ours else processes * (processes > 1)
        peak, most = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        line = f"{wall} {count / wall:9,.0f} rows/s, {wall:6.1f} s, {own:5.1f} + {others:.1f} s of CPU"
        os.write(writing, f"{line}, {(peak + beside * most) / 2**20:.2f} GiB".encode())
    os._exit(0)


WAYS = {
    f"{name}, processes: {n}": (way, n) for name, way in (("tunesmith", ours), ("datasets.map", theirs)) for n in (1, 2)
}


def in_turn(file: Path, count: int, times: int) -> None:
    """Both ways with two processes, one after the other, as often as asked, and how they compare."""
    us, them = (name for name, (_, processes) in WAYS.items() if processes == 2)
    ratios = sorted(1 / measured(us, file, count) * measured(them, file, count) for _ in range(times))
    print(f"times as fast: median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")


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
        if not sys.argv[2:]:
            for name in WAYS:
                measured(name, data, rows)
            same_ids(data)
        elif sys.argv[2].isdigit():
            in_turn(data, rows, int(sys.argv[2]))
        else:
            measured(sys.argv[2], data, rows)
