"""What a metric needs of its items beside the answers: options, references of a certain form, several answers.

The decision: a metric that cannot be computed is refused, with the first question that it cannot be computed on; such a
question is never counted as a wrong answer. A need reads no answer, so it is looked at before anything is answered.
"""

import ast
import math
from collections import Counter
from collections.abc import Callable, Sequence

from tunesmith.evaluation import execution, instructions, overlap, parsing
from tunesmith.evaluation.item import Item

Needs = Callable[[Sequence[Item]], str | None]
"""Items, answered or not, to what is lacking, in words; None where nothing is."""
LONGEST_LABEL = 60
"""Characters of the longest text that is taken for a label."""


def nothing(items: Sequence[Item]) -> str | None:
    """Any items will do."""
    return None


def every(has: Callable[[Item], bool], what: str) -> Needs:
    """What is lacking where an item does not have it."""

    def lacking(items: Sequence[Item]) -> str | None:
        without = [place for place, item in enumerate(items) if not has(item)]
        if not without:
            return None
        shown = items[without[0]].reference[:80]
        return f"{len(without):,} of {len(items):,} lack {what} (the first is number {without[0] + 1}: {shown!r})"

    return lacking


def options(items: Sequence[Item]) -> str | None:
    """Options to choose between, and the right one among them at least once."""
    if lack := every(lambda item: bool(item.options), "options to choose between")(items):
        return f"{lack}; label scoring (evaluate --labels auto) and benchmarks with options have them"
    if any(item.reference in item.options for item in items):
        return None
    return f"no reference is one of the options, which are {list(items[0].options)[:8]} for {items[0].reference[:80]!r}"


def classes(items: Sequence[Item]) -> str | None:
    """References that are labels: short, or at least coming back."""
    texts = {item.reference.strip() for item in items}
    long = next((text for text in texts if len(text) > LONGEST_LABEL or "\n" in text), None)
    if long is None or len(texts) < len(items) or len(items) == 1:
        return None
    return f"the references are no labels: none comes back, and there are long ones as {long[:80]!r}"


def entities(items: Sequence[Item]) -> str | None:
    """At least one entity in all the references."""
    if any(overlap.entities(item.reference) for item in items):
        return None
    return "no reference names an entity, as IOB2 tags between spaces or as JSON"


def fields(items: Sequence[Item]) -> str | None:
    """References that are JSON objects, at least one of them with a field."""
    found = [_json(item.reference) for item in items]
    wrong = every(lambda item: isinstance(_json(item.reference), dict), "a reference that is a JSON object")(items)
    return wrong or (None if any(found) else "no reference has a field")


def answers(k: int) -> Needs:
    """`k` answers to every question."""

    def lacking(items: Sequence[Item]) -> str | None:
        fewest = min(Counter((item.prompt, item.reference) for item in items).values())
        if fewest < k:
            return f"it needs {k} answers to each question, and one has {fewest} (a task's `samples` says how many)"
        return code(items)

    return lacking


def _json(text: str) -> object:
    try:
        return parsing.json_value(text)
    except parsing.NotJson:
        return parsing.NotJson


def _has_number(item: Item) -> bool:
    return parsing.marked_number(item.reference) is not None or parsing.last_number(item.reference) is not None


def _has_tests(item: Item) -> bool:
    """Whether the reference is Python in which something is asserted or called."""
    try:
        tree = ast.parse(item.reference)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.Assert | ast.Call) for node in ast.walk(tree))


json = every(lambda item: _json(item.reference) is not parsing.NotJson, "a reference that is JSON")
number = every(_has_number, "a number in the reference")
constraints = every(instructions.has_instructions, "IFEval's instructions as reference (JSON with instructions, given)")
likelihood = every(lambda item: not math.isnan(item.nats), "the likelihood of the reference, which was not measured")
_tests = every(_has_tests, "tests as reference (Python that asserts or calls something)")


def code(items: Sequence[Item]) -> str | None:
    """References that are tests, and leave to run answers.

    Raises:
        UsageError: nobody allowed that answers are run.
    """
    lack = _tests(items)
    if lack is None:
        execution.require_allowed()
    return lack
