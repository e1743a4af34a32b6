"""Message trees (Open Assistant): one prompt, several answers to each turn, ranks, languages, deleted messages.

The decision: every answer that was not deleted or rejected in review is learned exactly once. A path ends at a leaf;
answers that an earlier path has learned are context in the later ones (weight 0), so the shared trunk is shared in the
forest and counts once. `tree:best` keeps only the best-ranked path, `tree:en` only messages of a language.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.data.checks import find
from tunesmith.data.example import Message, Origin
from tunesmith.data.formats.conversation import conversation
from tunesmith.data.formats.format import Format, Gathered, Notes, Outcome
from tunesmith.data.formats.roles import ALIASES
from tunesmith.data.formats.turns import read_role
from tunesmith.data.records import Record

DEPTH_LIMIT = 100


@dataclass(slots=True)
class _Node:
    """One message of a tree."""

    raw: Mapping[str, Any]
    origin: Origin
    replies: list["_Node"] = field(default_factory=list)
    used: bool = False

    def wanted(self, language: str | None) -> bool:
        raw = self.raw
        rejected = raw.get("deleted") or raw.get("review_result") is False
        return not rejected and (language is None or raw.get("lang") == language)


def _recognise(value: Mapping[str, Any]) -> bool:
    return _is_nested(value) or {"message_id", "parent_id", "text", "role"} <= value.keys()


def _is_nested(value: Mapping[str, Any]) -> bool:
    prompt = value.get("prompt")
    return isinstance(prompt, Mapping) and "text" in prompt and "role" in prompt


def _nested(raw: Mapping[str, Any], origin: Origin) -> _Node:
    """The tree of a record, built without recursion so that a hostile depth does no harm."""
    root = _Node(raw, origin)
    waiting = [root]
    while waiting:
        node = waiting.pop()
        replies = node.raw.get("replies")
        node.replies = [_Node(r, origin) for r in replies or () if isinstance(r, Mapping)]
        waiting += node.replies
    return root


def _rank(node: _Node) -> float:
    rank = node.raw.get("rank")
    return rank if isinstance(rank, int | float) else float("inf")


def _paths(root: _Node, language: str | None, *, best: bool) -> Iterator[list[_Node]]:
    """The paths from the root to the answers at the ends, best-ranked first."""
    waiting = [[root]] if root.wanted(language) else []
    while waiting:
        path = waiting.pop()
        replies = [node for node in path[-1].replies if node.wanted(language)] if len(path) < DEPTH_LIMIT else []
        following = sorted(replies, key=_rank)[: 1 if best else None]
        waiting += [[*path, node] for node in reversed(following)]
        if not following:
            while path and _role(path[-1]) != "assistant":
                path.pop()
            if path:
                yield path


def _role(node: _Node) -> Any:
    role = node.raw.get("role")
    return ALIASES.get(role, role) if isinstance(role, str) else role


def _read_tree(root: _Node, language: str | None, *, best: bool) -> Outcome:
    """The examples of one tree, one for each path that teaches something new."""
    outcome: Outcome = []
    paths = list(_paths(root, language, best=best))
    # A turn that nobody answered ends its path early; where another path goes on, that one says it all.
    passed = {id(node) for path in paths for node in path[:-1]}
    for path in paths:
        if path[-1].used or id(path[-1]) in passed:
            continue
        notes = Notes(path[-1].origin)
        turns = []
        for i, node in enumerate(path):
            text, role = node.raw.get("text"), read_role(_role(node), f"path[{i}]", notes)
            if not isinstance(text, str):
                notes.add("wrong-type", "the text of a message is no text.", f"path[{i}].text")
            elif role is not None:
                learned = 0.0 if role == "assistant" and node.used else None
                turns.append(Message(role, text, weight=learned))
        made = conversation(turns, notes, at="path")
        outcome += made
        if not notes.stopped:
            for node in path:
                node.used = True
    return outcome


def _gather(records: Iterable[Record], language: str | None, *, best: bool) -> Iterator[Gathered]:
    """The examples of every tree; rows of one tree may stand anywhere in the file, so rows are held to its end."""
    rows: dict[Any, list[_Node]] = {}
    for record in records:
        if _is_nested(record.value):
            root = _nested(record.value["prompt"], record.origin)
            outcome = _read_tree(root, language, best=best)
            yield _balanced(outcome, [root], record.origin)
        else:
            key = record.value.get("message_tree_id") or record.value.get("message_id")
            rows.setdefault(key, []).append(_Node(record.value, record.origin))
    for nodes in rows.values():
        outcome = [item for root in _linked(nodes) for item in _read_tree(root, language, best=best)]
        yield _balanced(outcome, nodes, nodes[0].origin)


def _balanced(outcome: Outcome, nodes: list[_Node], origin: Origin) -> Gathered:
    unused = sum(not node.used for node in nodes)
    if unused:
        what = "the tree gives no example" if unused == len(nodes) else f"{unused} messages of the tree are not used"
        message = f"{what}: deleted, rejected in review, of another language, or not on a chosen path to an answer."
        outcome = [*outcome, find("not-on-a-path", message, origin)]
    return Gathered(outcome, len(nodes), {"not-on-a-path": unused} if unused else {})


def _linked(nodes: list[_Node]) -> list[_Node]:
    """The roots among the messages, after each has been hung under its parent."""
    by_id = {node.raw.get("message_id"): node for node in nodes}
    roots = []
    for node in nodes:
        parent = by_id.get(node.raw.get("parent_id"))
        if node.raw.get("parent_id") is None:
            roots.append(node)
        elif parent is not None:
            parent.replies.append(node)
    return roots


def _tree(*options: str) -> Format:
    """The format with its options: `best`, and a language by its code."""
    language = next((option for option in options if option != "best"), None)
    best = "best" in options
    return Format(
        name=":".join(("tree", *options)),
        about="message trees (Open Assistant), nested or one message a row; also tree:best, tree:en",
        required=("message_id", "parent_id", "text", "role"),
        optional=("message_tree_id", "rank", "lang"),
        recognise=_recognise,
        examples=lambda record: [item for g in _gather([record], language, best=best) for item in g.outcome],
        gather=lambda records: _gather(records, language, best=best),
        variant=_tree,
    )


TREE = _tree()
