"""A set of data → another one: converted, split, without repetitions, smaller, mixed, balanced or cleaned.

The decision: nothing is ever overwritten, chance follows from a seed and the examples' own words, and beside every
output stands a report of what was done to which record, so that a set can be made again and accounted for.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tunesmith.data.checks import Finding
from tunesmith.data.example import AnyExample
from tunesmith.data.inspection import read_other
from tunesmith.data.mixture import mix, tempered
from tunesmith.data.reading import Reading, field_values, read_examples
from tunesmith.data.selection import Selection, answer_of, apart, balance, clean, dedup, diverse, sample
from tunesmith.data.split import SIDES, assign, prompt_key
from tunesmith.data.writing import write_examples
from tunesmith.errors import UsageError

Examples = Sequence[AnyExample]


@dataclass(frozen=True, slots=True)
class Reshaped:
    """What was written: the files, how many examples in each, and the report that says what was done."""

    written: Mapping[Path, int]
    report: Path
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: the verb and its options as they are reported, where to write, and whether bad records go."""

    verb: str
    out: Path
    drop: bool = False
    seed: int = 0


def convert_file(order: Order, file: str, form: str) -> Reshaped:
    """The examples of a file in another form (`writing.FORMS`).

    Raises:
        DataError: the file cannot be read, or holds records that cannot be used and `drop` is not set.
        UsageError: the form is unknown, or the output exists.
    """
    reading = _read(order, file)
    return _written(order, [reading], {order.out: reading.examples}, {"to": form}, form=form)


def split_file(
    order: Order, file: str, *, validation: float, test: float, stratified: bool = False, by: str | None = None
) -> Reshaped:
    """Train, validation and test in a folder, by content hash; `by` keeps the records of a field's value together.

    Raises:
        DataError, UsageError: as `convert_file`.
    """
    reading = _read(order, file)
    keys = [prompt_key(example) for example in reading.examples]
    if by is not None:
        values = field_values(file, by)
        if all(value is None for value in values.values()):
            raise UsageError(f"{file}: no record has the field {by!r} to group by.")
        given = [values.get(example.origin) for example in reading.examples]
        # A record without the field is a group of its own prompt.
        keys = [key if value is None else repr(value).encode() for key, value in zip(keys, given, strict=True)]
    strata = [answer_of(example) for example in reading.examples] if stratified else None
    sides = assign(keys, validation=validation, test=test, strata=strata)
    parts = {
        order.out / f"{side}.jsonl": [e for e, s in zip(reading.examples, sides, strict=True) if s == side]
        for side in SIDES
    }
    options = {"validation": validation, "test": test, "stratified": stratified, "by": by}
    return _written(order, [reading], {path: part for path, part in parts.items() if part}, options)


def dedup_file(order: Order, file: str, *, near: float | None = None, against: Sequence[str] = ()) -> Reshaped:
    """The examples of a file without those that repeat an earlier one, or with `near` are so alike to one; nor those
    that give away what must not be trained: held-out files, or benchmarks by name.

    Raises:
        DataError, UsageError: as `convert_file`.
    """
    read = {name: read_other(name, {}, name) for name in against}
    held_out = {name: other.examples for name, other in read.items()}
    unread = [finding for other in read.values() for finding in other.findings]

    def choose(examples: Examples) -> Selection:
        once = dedup(examples, near=near)
        rest = apart(once.examples, held_out, near=near)
        return Selection(rest.examples, (*unread, *once.findings, *rest.findings))

    return _selected(order, file, choose, {"near": near, "against": list(against)})


def clean_file(order: Order, file: str, fixes: Sequence[str]) -> Reshaped:
    """The examples of a file after the named fixes (`selection.FIXES`).

    Raises:
        DataError, UsageError: as `convert_file`; there is no such fix.
    """
    return _selected(order, file, lambda examples: clean(examples, fixes), {"fixes": list(fixes)})


def sample_file(order: Order, file: str, count: int, how: Literal["lot", "balanced", "diverse"] = "lot") -> Reshaped:
    """`count` examples of a file: by lot, as evenly from each class as it allows, or far from each other.

    Raises:
        DataError, UsageError: as `convert_file`; there are fewer examples.
    """

    def chosen(examples: Examples) -> Selection:
        if how == "diverse":
            return Selection(diverse(examples, count, seed=order.seed), ())
        return Selection(sample(examples, count, seed=order.seed, by=answer_of if how == "balanced" else None), ())

    return _selected(order, file, chosen, {"count": count, "how": how})


def balance_file(order: Order, file: str, how: Literal["over", "under"] = "over") -> Reshaped:
    """As many examples of each class (last answer) of a file, by repeating the rare or leaving out of the frequent.

    Raises:
        DataError, UsageError: as `convert_file`.
    """
    return _selected(
        order, file, lambda examples: Selection(balance(examples, how=how, seed=order.seed), ()), {"how": how}
    )


def mix_files(
    order: Order,
    files: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    temperature: float = 1.0,
    count: int | None = None,
) -> Reshaped:
    """`count` examples of several files (default: as many as they hold), by weights or by their sizes tempered.

    Raises:
        DataError, UsageError: as `convert_file`; weights do not match the files.
    """
    if temperature <= 0:
        raise UsageError(f"--temperature {temperature:g}: must be above 0.")
    readings = [_read(order, file) for file in files]
    sizes = [len(reading.examples) for reading in readings]
    shares = list(weights) if weights is not None else tempered(sizes, temperature)
    mixed = mix([r.examples for r in readings], shares, count=count or sum(sizes), seed=order.seed)
    options = {"weights": shares, "temperature": None if weights else temperature, "count": len(mixed.examples),
               "from_each": list(mixed.counts), "passes": list(mixed.passes)}  # fmt: skip
    return _written(order, readings, {order.out: mixed.examples}, options)


def _read(order: Order, file: str) -> Reading:
    reading = read_examples(file)
    answer: Literal["drop", "stop"] = "drop" if order.drop else "stop"
    reading.refuse(on_bad_record=answer, on_no_target=answer, way_out="--drop")
    return reading


def _selected(order: Order, file: str, choose: Callable[[Examples], Selection], options: Mapping[str, Any]) -> Reshaped:
    reading = _read(order, file)
    chosen = choose(reading.examples)
    return _written(order, [reading], {order.out: chosen.examples}, options, findings=chosen.findings)


def _written(
    order: Order,
    readings: Sequence[Reading],
    parts: Mapping[Path, Examples],
    options: Mapping[str, Any],
    *,
    form: str = "messages",
    findings: Sequence[Finding] = (),
) -> Reshaped:
    report = order.out.with_name(order.out.name + ".report.json")
    # All or nothing: a report that cannot be written must be known before the data are.
    for path in (order.out, report, *parts):
        if path.exists():
            raise UsageError(f"{path}: exists and is never overwritten. Name another.")
    written, found = {}, list(findings)
    for path, examples in parts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        done = write_examples(examples, path, form)
        written[path] = done.examples
        found += done.findings
    told = {
        "command": f"tunesmith data {order.verb}", "version": version("tunesmith"), "seed": order.seed,
        "options": dict(options),
        "sources": [
            {"format": r.format, "sha256": r.sha256, "read": r.read, "examples": len(r.examples),
             "dropped": dict(r.dropped)}
            for r in readings
        ],
        "written": {str(path): count for path, count in written.items()},
        "changes": [{"name": f.name, "file": f.file, "line": f.line, "message": f.message} for f in found],
    }  # fmt: skip
    report.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return Reshaped(written, report, tuple(found))
