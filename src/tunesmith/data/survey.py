"""What a set of examples looks like as a whole: lengths, classes, openings, languages, refusals, personal data.

The decision: a survey is counts, kept in one pass and bounded memory, and it judges little: a finding arises only
where a number has a known consequence (a class that is nearly all of the data, keys and addresses in the text).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.data.checks import Finding, find, find_in_file
from tunesmith.data.duplicates import prompt_text, whole_text
from tunesmith.data.example import AnyExample, Example, Origin, Tokenized
from tunesmith.data.languages import language_of
from tunesmith.data.personal import personal_data

# An answer of at most so many characters may be the name of a class.
LABEL_LENGTH = 60
LABELS_AT_MOST = 500
OPENINGS_AT_MOST = 100_000
DOMINANT = 10.0
REFUSAL = re.compile(
    r"^(I'?m (?:very |really )?sorry,? (?:but )?(?:I|as)|I (?:can ?not|can'?t|am unable|am not able)|"
    r"(?:Sorry, )?(?:but )?as an? (?:AI|artificial|large language)|I do not have (?:access|the ability)|"
    r"I don'?t have (?:access|the ability))",
    re.IGNORECASE,
)
_GAP = re.compile(r"\{\{ ?\w+ ?\}\}|\[(?:INSERT|YOUR|NAME|DATE|COMPANY|ADDRESS)\b[A-Z _]*\]|\bLorem ipsum\b")
_MARKUP = re.compile(r"&(?:amp|lt|gt|quot|nbsp|#\d{2,5});|</?(?:div|span|br|p|font|td|tr|li)\b[^>]{0,80}>")
_BINARY = re.compile(r"[A-Za-z0-9+/]{400}")
# Fewer than one new word in ten, over a hundred words: no prose, list or program comes near it.
LONG, NEW = 100, 0.1
_LENGTHS = ("turns", "prompt_words", "answer_words")


@dataclass(slots=True)
class Survey:
    """Counts over a set. Lengths are in words; the histograms' buckets are powers of two (`bucket` words or more).

    Openings are the first three words: few different ones tell that prompts came from a template, or answers are alike.
    """

    examples: int = 0
    turns: Counter[int] = field(default_factory=Counter)
    prompt_words: Counter[int] = field(default_factory=Counter)
    answer_words: Counter[int] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    openings: Counter[str] = field(default_factory=Counter)
    prompt_openings: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    personal: Counter[str] = field(default_factory=Counter)
    refusals: int = 0

    @property
    def classes(self) -> Counter[str]:
        """How often each class occurs, if the answers are classes: short, few, and each several times; else empty."""
        short = sum(self.labels.values())
        few = len(self.labels) <= LABELS_AT_MOST and len(self.labels) * 5 <= short
        return self.labels if few and short == self.answers else Counter()

    def add(self, other: Mapping[str, Any]) -> None:
        """Add the counts of another survey, by field, also as JSON has kept them."""
        room = {
            "labels": len(self.labels) <= LABELS_AT_MOST,
            "openings": len(self.openings) < OPENINGS_AT_MOST,
            "prompt_openings": len(self.prompt_openings) < OPENINGS_AT_MOST,
        }
        for name, counted in other.items():
            own = getattr(self, name)
            if isinstance(own, int):
                setattr(self, name, own + counted)
            elif room.get(name, True):
                kind = int if name in _LENGTHS else str
                own.update({kind(value): count for value, count in counted.items()})

    def as_dict(self) -> dict[str, Any]:
        """The counts for JSON; of openings and classes the 20 most frequent, and how many different ones there are."""
        lengths = {name: getattr(self, name) for name in _LENGTHS}
        names = {
            "prompt_openings": self.prompt_openings, "answer_openings": self.openings, "classes": self.classes,
            "languages": self.languages, "personal_data": self.personal,
        }  # fmt: skip
        return {
            "examples": self.examples,
            "answers": self.answers,
            "refusals": self.refusals,
            **{name: {str(length): counts[length] for length in sorted(counts)} for name, counts in lengths.items()},
            **{
                name: {"different": len(counts), "most": dict(counts.most_common(20))} for name, counts in names.items()
            },
        }


def bucket(words: int) -> int:
    """The histogram bucket of a length: the power of two at or below it, 0 for 0."""
    return 1 << (words.bit_length() - 1) if words else 0


def survey(examples: Iterable[AnyExample], *, personal: bool = True) -> tuple[Survey, list[Finding]]:
    """The survey of a set and what was found on the way; `personal` looks for personal data, the slowest part."""
    counts = Survey()
    findings = [finding for example in examples for finding in count(example, counts, personal=personal)]
    return counts, findings + judgement(counts)


def count(example: AnyExample, counts: Survey, *, personal: bool = True) -> list[Finding]:
    """Add one example to a survey; what was found in it."""
    counts.examples += 1
    if isinstance(example, Tokenized):
        return []
    findings = []
    text = whole_text(example)
    counts.languages[language_of(text)] += 1
    asked = prompt_text(example).split()
    counts.prompt_words[bucket(len(asked))] += 1
    if isinstance(example, Example) and len(counts.prompt_openings) < OPENINGS_AT_MOST:
        counts.prompt_openings[" ".join(asked[:3])] += 1
    if isinstance(example, Example):
        findings += _count_answers(example, counts)
    findings += _remains(text, example.origin)
    if personal and (kinds := personal_data(text)):
        counts.personal.update(kinds)
        message = f"the text holds what looks like {', '.join(sorted(kinds))}."
        findings.append(find("personal-data", message, example.origin))
    return findings


def _remains(text: str, origin: Origin) -> list[Finding]:
    """What a machine has left in a text."""
    findings = []
    if ("&" in text or "<" in text) and (found := _MARKUP.search(text)):
        findings.append(find("html-remains", f"the text holds {found.group()[:30]!r}.", origin))
    # In a run of 400 signs stands one of the blocks of 200 as a whole.
    blocks = (text[at : at + 200] for at in range(0, len(text) - 199, 200))
    if ";base64," in text or (any(" " not in block for block in blocks) and _BINARY.search(text)):
        findings.append(find("embedded-binary", "the text holds base64 data.", origin))
    return findings


def _answer_faults(words: list[str], text: str, origin: Origin, at: str) -> list[Finding]:
    findings = []
    if ("{{" in text or "[" in text or "ipsum" in text) and (found := _GAP.search(text)):
        findings.append(find("unfilled-placeholder", f"the answer holds {found.group()!r}.", origin, at))
    if len(words) >= LONG and len(set(words)) < NEW * len(words):
        message = f"the answer has {len(words)} words, but only {len(set(words))} different ones."
        findings.append(find("repetition", message, origin, at))
    if REFUSAL.match(text.lstrip()):
        findings.append(find("refusal", "the answer refuses or speaks as an AI.", origin, at))
    return findings


def _count_answers(example: Example, counts: Survey) -> list[Finding]:
    findings = []
    counts.turns[len(example.messages)] += 1
    for i, message in enumerate(example.messages):
        if message.role != "assistant" or message.weight == 0:
            continue
        words = message.content.split()
        counts.answers += 1
        counts.answer_words[bucket(len(words))] += 1
        if len(message.content) <= LABEL_LENGTH and len(counts.labels) <= LABELS_AT_MOST:
            counts.labels[message.content.strip()] += 1
        if len(counts.openings) < OPENINGS_AT_MOST:
            counts.openings[" ".join(words[:3])] += 1
        found = _answer_faults(words, message.content, example.origin, f"messages[{i}].content")
        counts.refusals += any(finding.name == "refusal" for finding in found)
        findings += found
    return findings


def judgement(counts: Survey) -> list[Finding]:
    """What the numbers of a whole set give reason to say."""
    findings = []
    classes = counts.classes
    if len(classes) > 1:
        (most, many), (least, few) = classes.most_common()[0], classes.most_common()[-1]
        if many >= DOMINANT * few:
            message = f"the class {most!r} occurs {many} times, {least!r} {few} times, of {counts.answers}."
            findings.append(find_in_file("imbalance", message, "(all)"))
        rare = [label for label, count in classes.items() if count < 5]
        if rare:
            message = f"{len(rare)} of {len(classes)} classes have fewer than 5 examples: {', '.join(rare[:5])}."
            findings.append(find_in_file("rare-label", message, "(all)"))
    elif counts.openings:
        words, times = counts.openings.most_common(1)[0]
        if len(words.split()) == 3 and times * 2 > counts.answers >= 20:
            findings.append(find_in_file("same-opening", f"{times} answers open with {words!r}.", "(all)"))
    return findings
