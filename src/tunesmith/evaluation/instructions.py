"""Verifiable instructions: whether an answer does what was asked of its form, as IFEval checks it.

The decision: each kind of instruction is one function of the answer and its arguments, written after the published
rules (Zhou et al., 2023, "Instruction-Following Evaluation for Large Language Models", https://arxiv.org/abs/2311.07911).
Two things differ, so that no data have to be fetched: sentences end where `.`, `!` or `?` is followed by white space or
the end, and words in capitals are told apart by nltk's tokenizer without its model of sentences. Languages are told
apart by langdetect, as published, with a fixed seed.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from tunesmith.evaluation.intervals import Array
from tunesmith.evaluation.item import Item

Check = Callable[..., bool]

_ENDINGS = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)")
_ABBREVIATIONS = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|[A-Z])\.", re.IGNORECASE)
_FENCES = ("```json", "```Json", "```JSON", "```")
_CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def followed(answer: str, instructions: Sequence[tuple[str, dict[str, Any]]], *, loose: bool = False) -> list[bool]:
    """Whether the answer follows each of the instructions; `loose` allows a line of politeness around it, and marks.

    Raises:
        KeyError: an instruction of a kind that is not known.
    """
    texts = list(_variants(answer)) if loose else [answer]
    return [any(text.strip() and CHECKS[kind](text, **given) for text in texts) for kind, given in instructions]


def _variants(answer: str) -> Iterator[str]:
    """The answer, without its first line, its last, or both; each also without asterisks."""
    lines = answer.split("\n")
    for part in (lines, lines[1:], lines[:-1], lines[1:-1]):
        text = "\n".join(part).strip()
        yield text
        yield text.replace("*", "")


def sentences(text: str) -> int:
    """How many sentences a text has."""
    plain = _ABBREVIATIONS.sub(lambda found: found.group().replace(".", ""), text.strip())
    ends = [found.end() for found in _ENDINGS.finditer(plain)]
    return len(ends) + bool(plain[ends[-1] if ends else 0 :].strip())


def language(text: str) -> str | None:
    """The code of the language that a text is in, as langdetect tells it; None where it cannot."""
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    try:
        return str(detect(text))
    except LangDetectException:
        return None


def _is(actual: int, relation: str, wanted: int) -> bool:
    return actual < wanted if relation == "less than" else actual >= wanted


def _words(text: str) -> int:
    return len(re.findall(r"\w+", text))


@cache
def _tokenizer() -> Any:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()


def _capitals(text: str, capital_relation: str, capital_frequency: int) -> bool:
    count = sum(word.isupper() for word in _tokenizer().tokenize(text))
    return _is(count, capital_relation, capital_frequency)


def _json(text: str) -> bool:
    text = text.strip()
    for fence in _FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except ValueError:
        return False
    return True


def _parts(text: str, mark: str) -> list[str] | None:
    """The parts between marks, empty ones at the ends left out; None where one in the middle is empty."""
    parts = [part.strip() for part in re.split(mark, text)]
    while parts and not parts[0]:
        parts = parts[1:]
    while parts and not parts[-1]:
        parts = parts[:-1]
    return parts if all(parts) else None


def _paragraphs(text: str, num_paragraphs: int) -> bool:
    parts = _parts(text, r"\s?\*\*\*\s?")
    return parts is not None and len(parts) == num_paragraphs


def _first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    parts = re.split(r"\n\n", text)
    if sum(bool(part.strip()) for part in parts) != num_paragraphs or not 1 <= nth_paragraph <= len(parts):
        return False
    words = parts[nth_paragraph - 1].split()
    found = re.match(r"[^.,?!'\"]*", words[0].lstrip("'").lstrip('"')) if words else None
    return found is not None and found.group().lower() == first_word.lower()


def _two_responses(text: str) -> bool:
    parts = _parts(text, r"\*\*\*\*\*\*")
    return parts is not None and len(parts) == 2 and parts[0] != parts[1]


def _postscript(text: str, postscript_marker: str) -> bool:
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    pattern = known.get(postscript_marker, re.escape(postscript_marker.lower()))
    return re.search(pattern, text.lower()) is not None


def _bullets(text: str, num_bullets: int) -> bool:
    found = re.findall(r"^\s*\*[^*].*$", text, re.MULTILINE) + re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return len(found) == num_bullets


def _highlights(text: str, num_highlights: int) -> bool:
    found = re.findall(r"\*[^\n*]*\*", text) + re.findall(r"\*\*[^\n*]*\*\*", text)
    return sum(bool(part.strip("*").strip()) for part in found) >= num_highlights


def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.split(rf"\s?{re.escape(section_spliter)}\s?\d+\s?", text)) - 1 >= num_sections


def _title(text: str) -> bool:
    return any(part.strip("<> ") for part in re.findall(r"<<[^\n]+>>", text))


def _in(text: str, language_code: str) -> bool:
    return language(text) in (language_code, None)


def _any_case(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, re.IGNORECASE))


CHECKS: dict[str, Check] = {
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": lambda text: text.isupper() and _in(text, "en"),
    "change_case:english_lowercase": lambda text: text.islower() and _in(text, "en"),
    "combination:repeat_prompt": lambda text, prompt_to_repeat: (
        text.strip().lower().startswith(prompt_to_repeat.strip().lower())
    ),
    "combination:two_responses": _two_responses,
    "detectable_content:number_placeholders": lambda text, num_placeholders: (
        len(re.findall(r"\[.*?\]", text)) >= num_placeholders
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:constrained_response": lambda text: any(choice in text for choice in _CHOICES),
    "detectable_format:json_format": _json,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:title": _title,
    "keywords:existence": lambda text, keywords: all(_any_case(re.escape(word), text) for word in keywords),
    "keywords:forbidden_words": lambda text, forbidden_words: (
        not any(_any_case(rf"\b{re.escape(word)}\b", text) for word in forbidden_words)
    ),
    "keywords:frequency": lambda text, keyword, frequency, relation: _is(
        _any_case(re.escape(keyword), text), relation, frequency
    ),
    "keywords:letter_frequency": lambda text, letter, let_frequency, let_relation: _is(
        text.lower().count(letter.lower()), let_relation, let_frequency
    ),
    "language:response_language": lambda text, language: _in(text, language),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_sentences": lambda text, num_sentences, relation: _is(
        sentences(text), relation, num_sentences
    ),
    "length_constraints:number_words": lambda text, num_words, relation: _is(_words(text), relation, num_words),
    "punctuation:no_comma": lambda text: "," not in text,
    "startend:end_checker": lambda text, end_phrase: (
        text.strip().strip('"').lower().endswith(end_phrase.strip().lower())
    ),
    "startend:quotation": lambda text: len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] == '"',
}
"""The kinds of instructions by the names that IFEval gives them; each takes the answer and IFEval's own arguments."""


def all_followed(*, loose: bool) -> Callable[[Item], float]:
    """What gives 1 for an item whose answer follows all instructions of its reference (JSON: instructions, given)."""
    return lambda item: all(_of(item, loose=loose))


def each_followed(*, loose: bool) -> Callable[[Sequence[Item]], Array]:
    """What gives, for each item, how many instructions are followed, and how many there are [n, 2]."""

    def columns(items: Sequence[Item]) -> Array:
        found = [_of(item, loose=loose) for item in items]
        return np.array([(sum(one), len(one)) for one in found], dtype=np.float64).reshape(-1, 2)

    return columns


def has_instructions(item: Item) -> bool:
    """Whether the reference is JSON with `instructions` of known kinds, and what is `given` for each."""
    try:
        return bool(asked := _asked(item)) and all(kind in CHECKS for kind, _ in asked)
    except (ValueError, LookupError, TypeError, AttributeError):
        return False


def _of(item: Item, *, loose: bool) -> list[bool]:
    return followed(item.answer, _asked(item), loose=loose)


def _asked(item: Item) -> list[tuple[str, dict[str, Any]]]:
    asked = json.loads(item.reference)
    given = [{name: value for name, value in part.items() if value is not None} for part in asked["given"]]
    return list(zip(asked["instructions"], given, strict=True))
