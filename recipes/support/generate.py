"""The sample data: a support message → strict JSON with category, urgency, product and order number.

    python recipes/support/generate.py [FOLDER]

writes train.jsonl, validation.jsonl and test.jsonl, the same bytes on every machine: each choice is a hash of the row
and of what is chosen, so no generator's history matters. The three files share no sentence, product or person.
"""

import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROWS = {"train": 400, "validation": 50, "test": 150}
CATEGORIES = ("billing", "delivery", "returns", "technical", "account")
URGENCIES = ("low", "normal", "high")
ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")
SYSTEM = """Answer with one line of JSON: {"category":…,"urgency":…,"product":…,"order_number":…}
category: billing, delivery, returns, technical or account. urgency: low, normal or high. order_number: null if none."""


def phrases(split: str) -> dict[str, Any]:
    """The wording of one split: lists of options by slot."""
    wording: dict[str, Any] = tomllib.loads((HERE / "phrases.toml").read_text(encoding="utf-8"))
    return wording[split]  # type: ignore[no-any-return]


def rows(split: str) -> list[dict[str, Any]]:
    """The conversations of one split, in the OpenAI `messages` form, in an order that mixes the categories."""
    options = phrases(split)
    made = [_row(f"{split} {number}", number, options) for number in range(ROWS[split])]
    return [row for _, row in sorted(enumerate(made), key=lambda each: _draw(f"{split} {each[0]}", "place"))]


def text(split: str) -> str:
    """The JSONL file of one split."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(split))


def _row(key: str, number: int, options: dict[str, Any]) -> dict[str, Any]:
    category, turn = CATEGORIES[number % len(CATEGORIES)], number // len(CATEGORIES)
    urgency = _choose(key, "urgency", URGENCIES)
    problems = options["problems"][category]
    product = f"{_choose(key, 'maker', options['makers'])} {_choose(key, 'thing', options['things'])}"
    order = str(10000 + _draw(key, "order") % 90000) if _draw(key, "has order") % 3 else None
    request = [
        _vary(key, problems[turn % len(problems)]).format(p=product),
        _choose(key, "order phrase", options["orders"]).format(n=order) if order else "",
    ]
    mood = _vary(key, _choose(key, "urgency phrase", options["urgency"][urgency]))
    parts = [
        _choose(key, "greeting", options["greetings"]),
        *([mood, *request] if _draw(key, "mood first") % 4 == 0 else [*request, mood]),
        _choose(key, "signature", options["signatures"]).format(name=_choose(key, "name", options["names"])),
    ]
    answer = {"category": category, "urgency": urgency, "product": product, "order_number": order}
    return {
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": " ".join(part for part in parts if part)},
            {"role": "assistant", "content": json.dumps(answer, separators=(",", ":"))},
        ]
    }


def _vary(key: str, phrase: str) -> str:
    """The phrase with one of the alternatives of each `(this|that)`."""
    return ALTERNATIVES.sub(lambda found: _choose(key, f"{phrase} {found.start()}", found[1].split("|")), phrase)


def _choose(key: str, what: str, of: Sequence[str]) -> str:
    return of[_draw(key, what) % len(of)]


def _draw(key: str, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{key}: {what}".encode()).digest()[:8], "big")


def main() -> None:
    """Writes the three files into the folder named, or beside this script."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for split in ROWS:
        (folder / f"{split}.jsonl").write_text(text(split), encoding="utf-8")


if __name__ == "__main__":
    main()
