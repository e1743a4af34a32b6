"""What an answer says, read from its text: a label, a number, a JSON value, a bag of words.

The decision: reading is strict and the same for answer and reference. An answer that has to be searched for its meaning
with ever cleverer patterns is a worse answer, and a metric that hides this misleads.
"""

import json
import re
import string
from collections import Counter
from collections.abc import Collection
from decimal import Decimal, InvalidOperation
from typing import Any

MARKED_NUMBER = re.compile(r"####\s*(-?[\d.,]*\d)")
ANY_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_FINAL = re.compile(r"the answer is\s*:?", re.IGNORECASE)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class NotJson(ValueError):
    """The text is not one JSON value."""


def label(answer: str, labels: Collection[str]) -> str | None:
    """The label an answer names, or None if it names none or several.

    The whole answer wins (case and the quotes or full stop around it aside); else the one label that stands in it as
    whole words. A label inside a longer one (`card` in `card arrival`) does not count beside it.
    """
    known = {_bare(name): name for name in labels}
    if _bare(answer) in known:
        return known[_bare(answer)]
    longest_first = sorted(filter(None, known), key=len, reverse=True)
    if not longest_first:
        return None
    pattern = r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)"
    found = {match.group() for match in re.finditer(pattern, answer.casefold())}
    return known[found.pop()] if len(found) == 1 else None


def _bare(text: str) -> str:
    return text.strip().strip("\"'`*.").strip().casefold()


def marked_number(text: str) -> Decimal | None:
    """The number after the last `####`, GSM8K's mark (https://arxiv.org/abs/2110.14168); None without one."""
    found = MARKED_NUMBER.findall(text)
    return _decimal(found[-1]) if found else None


def last_number(text: str) -> Decimal | None:
    """The last number in the text, commas between thousands allowed."""
    found = ANY_NUMBER.findall(text)
    return _decimal(found[-1]) if found else None


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text.replace(",", "").rstrip("."))
    except InvalidOperation:
        return None


def json_value(text: str) -> Any:
    """The JSON value that the whole text is; numbers as Decimal, so nothing is rounded.

    Raises:
        NotJson: anything before or after it, NaN or Infinity, a key twice, or nested too deep to read.
    """
    try:
        return json.loads(
            text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error


def _refuse(constant: str) -> None:
    raise NotJson(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise NotJson("a key stands twice")
    return dict(pairs)


def same_json(left: Any, right: Any) -> bool:
    """Whether two values from `json_value` are equal as JSON: 1 is 1.0, true is not 1, order of keys does not count."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    return bool(left == right)


def words(text: str) -> Counter[str]:
    """The words of SQuAD's scoring: lower case, no punctuation, no articles (https://arxiv.org/abs/1606.05250)."""
    return Counter(_plain(text.casefold()))


def squad_form(text: str) -> str:
    """The text as SQuAD compares it: lower case, then no punctuation, no articles, and single spaces.

    Rajpurkar et al., 2016, https://arxiv.org/abs/1606.05250, as their `evaluate-v1.1.py` does it.

    >>> squad_form(" The U.S.  Army, an army. ")
    'us army army'
    """
    return " ".join(_plain(text.lower()))


def _plain(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.translate(_PUNCTUATION)).split()


def final_answer(text: str) -> str:
    """What follows the last `the answer is` up to the end of its line, without the full stop or marks around it.

    The form that answers with reasoning are asked for (Wei et al., 2022, https://arxiv.org/abs/2201.11903); empty where
    it does not stand there.
    """
    _, *after = _FINAL.split(text)
    said = after[-1].partition("\n")[0] if after else ""
    return " ".join(said.strip().rstrip(".").strip("*`\"' ").casefold().split())


def same_shape(value: Any, example: Any) -> bool:
    """Whether two values from `json_value` have the same fields all the way down, of the same kinds.

    Lists are of a shape if every element has the shape of the example's first one.
    """
    if isinstance(example, dict):
        same = isinstance(value, dict) and value.keys() == example.keys()
        return same and all(same_shape(value[key], example[key]) for key in example)
    if isinstance(example, list):
        return isinstance(value, list) and (not example or all(same_shape(one, example[0]) for one in value))
    return type(value) is type(example)


def fits_schema(value: Any, schema: Any) -> bool:
    """Whether a JSON value is valid under a JSON Schema; references that lead out of it are not followed."""
    from jsonschema import ValidationError, validators
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable

    kind = validators.validator_for(schema, default=validators.validator_for({}))
    try:
        kind.check_schema(schema)
        kind(schema).validate(value)
    except (ValidationError, SchemaError, Unresolvable):
        return False
    return True
