"""What fine-tuning forgets, and what each way keeps: a table over ways and seeds, written to docs/forgetting.md.

The decision: a cell is one training (`tunesmith train`) and the measurement of its weights on the same test questions,
the same WikiText-2 and the same text that the base wrote itself. What was measured stays in the cell's folder, the
weights go; so the study goes on where it was stopped, fits on a small disk, and every size is an option that stands in
the table. Going back towards the base (WiSE-FT) is measured on the run of plain fine-tuning: it costs no training.

    python benchmarks/forgetting.py TUNESMITH_DATA --out runs/forgetting --rows 320 --steps 20 --seeds 3
    python benchmarks/forgetting.py TUNESMITH_DATA --out runs/forgetting --table
"""

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any

PLAIN, WISE = "full", "full, WiSE-FT"
WAYS: dict[str, list[str]] = {
    PLAIN: ["keeping.interpolate=whole"],  # final/ is plain, kept/ is the mixture
    "full, KL": ["keeping.kl=0.3"],
    "full, KL 0.1": ["keeping.kl=0.1"],
    "full, KL 0.03": ["keeping.kl=0.03"],
    "full, replay": ["keeping.replay=0.2"],
    "full, replay + KL": ["keeping.replay=0.2", "keeping.kl=0.1"],
    "full, L2-SP": ["keeping.l2_sp=0.1"],
    "full, EWC": ["keeping.ewc=1"],
    "full, EAFT": ["training.token_weighting=entropy"],
    "LoRA": ["method.kind=lora", "training.learning_rate=5e-4"],
}
"""What each way says beside plain full fine-tuning."""
USUAL = (PLAIN, "full, KL")
LOSS = "loss"
TASKS = {"banking77": ("accuracy",), "gsm8k": ("numeric_form", "numeric_answer", LOSS)}
"""What the answers of a task are scored by; the first stands beside what was lost."""
CHOOSING = {"banking77": "task_accuracy", "gsm8k": "validation_loss"}
"""What a run looks at while it trains; answers to word problems are long."""
LONGEST = {"banking77": 32, "gsm8k": 256}
"""Tokens of an answer at most."""
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t for the 95 % interval of the mean of so many seeds."""
WEIGHTS = ("checkpoints", "best", "final", "kept")


def banking77(folder: Path, part: str, count: int, labels: int) -> Iterator[dict[str, Any]]:
    """Queries with their intents, `labels` of the 77, which the system message names."""
    known = json.loads((folder / "banking77/categories.json").read_text())
    chosen = known[:: len(known) // labels][:labels]
    system = "Name the intent of the customer's message, one of: " + ", ".join(chosen) + "."
    with (folder / f"banking77/{part}.csv").open(newline="") as file:
        every = [row for row in csv.DictReader(file) if row["category"] in chosen]
    for row in (every[i * len(every) // count] for i in range(min(count, len(every)))):  # the file is sorted by intent
        turns = (("system", system), ("user", row["text"]), ("assistant", row["category"]))
        yield {"messages": [{"role": role, "content": text} for role, text in turns]}


def gsm8k(folder: Path, part: str, count: int, _labels: int) -> Iterator[dict[str, Any]]:
    """Word problems with their solutions."""
    with (folder / f"gsm8k/{part}.jsonl").open() as file:
        for row in islice(map(json.loads, file), count):
            turns = (("user", row["question"]), ("assistant", row["answer"]))
            yield {"messages": [{"role": role, "content": text} for role, text in turns]}


def folder_of_study(asked: argparse.Namespace) -> Path:
    """Where everything of a model and a task is kept."""
    return asked.out / asked.model / asked.task  # type: ignore[no-any-return]


def data_of(asked: argparse.Namespace, part: str, count: int) -> Path:
    """The file of a part of the task's data, written once."""
    path: Path = folder_of_study(asked) / f"{part}.jsonl"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = banking77 if asked.task == "banking77" else gsm8k
        path.write_text("".join(json.dumps(row) + "\n" for row in made(asked.data, part, count, asked.labels)))
    return path


def cell(asked: argparse.Namespace, way: str, seed: int) -> None:
    """Train a way with a seed and measure it, unless both have been done."""
    study = folder_of_study(asked)
    place = study / name_of(way) / str(seed)
    measured = [place] if way != PLAIN else [place, study / name_of(WISE) / str(seed)]
    if all((one / "measured.json").is_file() for one in measured):
        return
    settings = [
        f"model={asked.model}", f"data.train={data_of(asked, 'train', asked.rows)}", "data.validation=0.2",
        "data.test=0", f"run={place / 'run'}", f"seed={seed}", f"training.steps={asked.steps}",
        f"training.batch_size={asked.batch}",
        "method.kind=full", f"training.learning_rate={asked.rate}", "retention.text=off",
        *([f"supervision.chat_template={asked.template}"] if asked.template else []),
        f"training.validation.metric={CHOOSING[asked.task]}", f"training.validation.every={asked.steps}", *WAYS[way],
    ]  # fmt: skip
    begun, before = (place / "run").exists(), _children()
    subprocess.run([sys.executable, "-m", "tunesmith", "train", "--resume", "auto", *settings], check=True)
    seconds = None if begun else round(_children() - before, 1)
    for target, weights in zip(measured, ("final", "kept"), strict=False):
        measure(asked, place / "run" / weights, target, seconds)
    for name in WEIGHTS:
        shutil.rmtree(place / "run" / name, ignore_errors=True)


def _children() -> float:
    """Seconds of CPU that ended children of this process took: other work beside them does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(asked: argparse.Namespace, weights: Path, target: Path, seconds: float | None) -> None:
    """Score the weights on the test questions, and hold them against the base on general text; `seconds` of CPU trained
    them, None where the training was gone on with.
    """
    from tunesmith.evaluation.retention import retention
    from tunesmith.models.context import context_length
    from tunesmith.models.sources import resolve
    from tunesmith.run import general
    from tunesmith.run.evaluate import evaluate
    from tunesmith.run.opened import open_model

    test = str(data_of(asked, "test", asked.test))
    began = time.perf_counter()
    evaluate(str(weights), test, metrics=TASKS[asked.task], settings=answers(asked), out=target)
    found: dict[str, Any] = {"training_cpu_seconds": seconds, "sizes": sizes(asked)}
    source = resolve(asked.model)
    base, tuned = open_model(str(source.folder)), open_model(str(weights))
    context = context_length(base.model.config)
    wiki = general.from_file(str(asked.data / "wikitext2/test.txt"), base.encoder, tokens=asked.tokens, context=context)
    own = general.from_base(base.model, base.encoder, source.fingerprint, tokens=asked.tokens // 2, say=print)
    for name, text in (("wikitext2", wiki), ("own", own)):
        longest = max(len(example) for example in text)
        found[name] = retention(tuned.network(longest), base.network(longest), text).as_dict()
    abilities(asked, str(weights), target)
    found["measuring_seconds"] = round(time.perf_counter() - began, 1)
    (target / "measured.json").write_text(json.dumps(found, indent=1))


def abilities(asked: argparse.Namespace, model: str, place: Path) -> None:
    """The items of the benchmarks that are asked for, scored under `place`."""
    from tunesmith.run.evaluate import evaluate_tasks, folder_of

    for one in asked.ability:
        name, _, items = one.partition("=")
        out = place / "abilities" / folder_of(name)
        if not (out / "evaluation.json").is_file():
            evaluate_tasks(model, [name], limit=int(items or 100), out=out)


def answers(asked: argparse.Namespace) -> Any:
    """How the test questions are answered."""
    from tunesmith.generation.settings import GenerationSettings

    return GenerationSettings(max_new_tokens=LONGEST[asked.task])


def sizes(asked: argparse.Namespace) -> dict[str, Any]:
    """What a cell depends on beside its way and seed."""
    return {
        name: getattr(asked, name) for name in ("model", "rows", "labels", "steps", "batch", "rate", "test", "tokens")
    }


def base_score(asked: argparse.Namespace) -> None:
    """The test score of the base, once."""
    from tunesmith.run.evaluate import evaluate

    place = folder_of_study(asked) / "base"
    if not (place / "evaluation.json").is_file():
        test = str(data_of(asked, "test", asked.test))
        evaluate(asked.model, test, metrics=TASKS[asked.task], settings=answers(asked), out=place)
    abilities(asked, asked.model, place)


def table(study: Path) -> str:
    """Every way that was measured: its score, what it lost, and both beside plain fine-tuning."""
    metrics = TASKS[study.name]
    cells = {way: sorted((study / name_of(way)).glob("*/measured.json")) for way in (PLAIN, WISE, *list(WAYS)[1:])}
    plain = {path.parent.name: path for path in cells[PLAIN]}
    lost_by_plain = [_read(path)["wikitext2"]["forgotten"] for path in plain.values()]
    forgets = interval(lost_by_plain)[0] > 0
    known = _known(study / "base")
    lines = [
        f"| way | seeds | {' | '.join(map(_with_unit, metrics))} | beside plain, points [95 %] | "
        "lost on WikiText-2, nats [95 %] | kept | KL on own text | training, s of CPU |"
        + "".join(f" {name} ({items}), % |" for name, (_, _, _, items) in known.items()),
        "|---|---|---|---|---|---|---|" + "---|" * (len(metrics) + len(known)),
        f"| base | | {_scored([study / 'base'], metrics)} | | 0 | | 0 | |"
        + "".join(f" {100 * value:.1f} |" for _, _, value, _ in known.values()),
    ]
    for way, paths in cells.items():
        if not paths:
            continue
        found = [_read(path) for path in paths]
        lost = [one["wikitext2"]["forgotten"] for one in found]
        beside = ""
        if way != PLAIN:
            both = [path.parent for path in paths if path.parent.name in plain]
            theirs = [plain[folder.name].parent / "scores.jsonl" for folder in both]
            ours = [folder / "scores.jsonl" for folder in both]
            beside = _apart(theirs, ours, metrics[0])
            if len(both) > 1:
                each = (_apart([a], [b], metrics[0]) for a, b in zip(theirs, ours, strict=True))
                beside += f" ({', '.join(one.split()[0] for one in each)})"
        low, high = interval(lost)
        same = [_read(plain[path.parent.name])["wikitext2"]["forgotten"] for path in paths if path.parent.name in plain]
        share = 1 - mean(x["value"] for x in lost) / mean(x["value"] for x in same)
        kept = f"{share:.0%}" if forgets and way != PLAIN else ""
        lines.append(
            f"| {way} | {len(paths)} | {_scored([path.parent for path in paths], metrics)} | {beside} | "
            f"{mean(x['value'] for x in lost):+.4f} [{low:+.4f}, {high:+.4f}] | {kept} | "
            f"{mean(one['own']['kl']['value'] for one in found):.4f} | "
            f"{_seconds(found)} |" + "".join(f" {_ability(study / 'base', paths, name)} |" for name in known)
        )
    said = ", ".join(f"{name} {value}" for name, value in _read(cells[PLAIN][0])["sizes"].items() if name != "model")
    return f"## {study.name}, {study.parent.name}\n\n{said}\n\n" + "\n".join(lines) + "\n"


def _scored(cells: Sequence[Path], metrics: Sequence[str]) -> str:
    """The mean of each metric on the test questions."""
    scores = [_read(cell / "evaluation.json")["test"] for cell in cells]
    means = {name: mean(one[name]["value"] for one in scores) for name in metrics}
    return " | ".join(f"{value:.3f}" if name == LOSS else f"{100 * value:.1f}" for name, value in means.items())


def _with_unit(metric: str) -> str:
    return f"{metric}, nats a token" if metric == LOSS else f"{metric}, %"


def _seconds(found: Sequence[dict[str, Any]]) -> str:
    known = [one["training_cpu_seconds"] for one in found if one["training_cpu_seconds"] is not None]
    return f"{mean(known):,.0f}" if known else ""


def _known(place: Path) -> dict[str, tuple[Path, str, float, int]]:
    """Of each benchmark that was measured in a cell: its items, the metric that decides, its score, and of how many."""
    found = {}
    for file in sorted(place.glob("abilities/*/evaluation.json")):
        ((name, scores),) = list(_read(file).items())[:1]
        metric = next(iter(scores))
        score = scores[metric]
        found[name] = next(file.parent.glob("*/scores.jsonl")), metric, score["value"], score["items"]
    return found


def _ability(base: Path, cells: Sequence[Path], name: str) -> str:
    """The mean score of a benchmark, and how far it is from the base's on the same items."""
    after = [known[name] for path in cells if name in (known := _known(path.parent))]
    if not after:
        return ""
    scores, metric, *_ = _known(base)[name]
    apart = _apart([scores] * len(after), [one[0] for one in after], metric)
    return f"{100 * mean(one[2] for one in after):.1f}, {apart}"


def _apart(before: Sequence[Path], after: Sequence[Path], metric: str) -> str:
    """The difference of the items in two groups of files, in points, with its paired interval: a question that several
    seeds answered counts as one, with what its answers score together.
    """
    from tunesmith.evaluation.compare import compare
    from tunesmith.evaluation.intervals import paired_bootstrap
    from tunesmith.evaluation.item import load_items
    from tunesmith.evaluation.metrics import named

    if len(after) == 1:
        (one,) = compare(load_items(before[0]), load_items(after[0]), [metric])
        difference, low, high = one.difference, one.low, one.high
    else:
        (known,) = named([metric])
        columns = [sum(known.columns(load_items(file)) for file in files) for files in (before, after)]
        left, right = (float(known.value(each.sum(0))) for each in columns)
        difference = right - left
        low, high = paired_bootstrap(*columns, known.value)
    return f"{100 * difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def interval(lost: Sequence[dict[str, float]]) -> tuple[float, float]:
    """Of several seeds Student's interval of their mean; of one that of the texts."""
    if len(lost) == 1:
        return lost[0]["low"], lost[0]["high"]
    values = [one["value"] for one in lost]
    half = T_95.get(len(values), 1.96) * stdev(values) / len(values) ** 0.5
    return mean(values) - half, mean(values) + half


def page(out: Path, before: str) -> str:
    """docs/forgetting.md: how it was measured, and one table for each task and model; a table that stands in the page
    `before` stays where `out` has nothing of its study.
    """
    tables = {part.partition("\n")[0]: f"## {part.strip()}\n" for part in before.split("\n## ")[1:]}
    for folder in (folder for task in TASKS for folder in out.glob(f"*/{task}")):
        if list(folder.glob("full/*/measured.json")):
            tables[f"{folder.name}, {folder.parent.name}"] = table(folder)
    return HEAD + "\n".join(tables[name] for name in sorted(tables))


HEAD = """# What fine-tuning forgets, and what keeps it

Written by `python benchmarks/forgetting.py TUNESMITH_DATA --out DIR` from what it measured; every size is one of its
options. Scores are of test questions that no run saw. Lost is the loss on WikiText-2 above the base's; kept is the
share of what plain fine-tuning lost there that a way does not lose, told where plain fine-tuning lost something beyond
chance. Intervals of several seeds are Student's, of one seed those of the texts; the column beside plain pairs the same
questions (that of each seed in brackets), that of a benchmark pairs the base's answers, and a question that several
seeds answered counts as one: these intervals tell of other questions, not of other seeds. WiSE-FT goes back as far
towards the base as the validation set allows; KL is `keeping.kl=0.3` where no other strength is named. A benchmark's
heading says how many of its questions were asked.

The commands, where `study` stands for `python benchmarks/forgetting.py TUNESMITH_DATA --out runs/forgetting --ability
mmlu:high_school_geography`; `--way` asks for a way (`full, KL` where none is), and `--seeds` says how many:

    study --rate 3e-4 --test 200 --ability ifeval=24
    study --rate 3e-4 --task gsm8k --rows 130 --steps 8 --test 40
    study --rate 5e-5 --test 200 --model gemma3-270m --template gemma
    study --rate 5e-5 --task gsm8k --rows 130 --steps 8 --test 40 --model gemma3-270m --template gemma

"""


def name_of(way: str) -> str:
    return way.replace(", ", "-").replace(" + ", "-").replace(" ", "-")


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--template", help="the chat template of a model that has none, as `evaluate` chooses it")
    parser.add_argument("--task", choices=TASKS, default="banking77")
    parser.add_argument("--way", choices=WAYS, action="append", help="may be given again; plain is always measured")
    for name, value, about in (
        ("rows", 320, "training rows, a fifth of them for validation"), ("labels", 10, "intents of Banking77"),
        ("steps", 20, "updates"), ("batch", 16, "rows of an update"), ("seeds", 3, "runs of each way"),
        ("test", 300, "test questions"), ("tokens", 4096, "of WikiText-2; half as many of the base's own text"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value, help=about)
    parser.add_argument(
        "--ability", action="append", default=[], metavar="NAME[=ITEMS]",
        help="a benchmark to measure too, on so many questions (100); may be given again",
    )  # fmt: skip
    parser.add_argument("--rate", type=float, default=1e-4, help="the learning rate of full fine-tuning")
    parser.add_argument("--table", action="store_true", help="write docs/forgetting.md from what there is")
    asked = parser.parse_args()
    os.environ.setdefault("TUNESMITH_DATA", str(asked.data))  # where the benchmarks lie
    if not asked.table:
        base_score(asked)
        for seed in range(asked.seeds):
            for way in dict.fromkeys((PLAIN, *(asked.way or USUAL))):
                cell(asked, way, seed)
    place = Path(__file__).parents[1] / "docs/forgetting.md"
    text = page(asked.out, place.read_text() if place.is_file() else "")
    place.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
