"""A chat template compiled so that running it tells whose words it writes, and reaches nothing that it is not given.

The decision: templates are foreign code. They run in Jinja's immutable sandbox, in the dialect that transformers
gives them (trim_blocks, lstrip_blocks, loop controls, `tojson`, `raise_exception`, `strftime_now`, the `generation`
tag), with caps on repetition, iteration and output, inside a process with limits for all else (`renderer`). The syntax
tree is rewritten before it is compiled: literals become Traced, and loops tell which message they stand at. The
rendered text stays what transformers renders.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from threading import RLock
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from tunesmith.errors import TemplateError
from tunesmith.tokens.traced import OUTSIDE, TEMPLATE, UNKNOWN, Source, Traced, join_traced

MAX_OUTPUT = 20_000_000
"""Characters that one rendering may have."""
MAX_REPEAT = 1_000_000
"""Characters or items that one multiplication may make."""
MAX_ITERATIONS = 2_000_000
"""Loop bodies that one rendering may run."""
FROZEN_DATE = datetime(2024, 7, 26)
"""What `strftime_now` tells: the date that Llama's templates fall back on, so that a run can be repeated any day."""


_OWN_TYPE = re.compile(r"tunesmith\.tokens\.\w+\._?(Traced|Watched|Turn)")
_SEEN_AS = {"Traced": "str", "Watched": "str", "Turn": "dict"}


class Turn(dict[str, Any]):
    """A message as a template sees it, which knows its place in the conversation."""

    __slots__ = ("index",)

    def __init__(self, index: int, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.index = index


class _Recorder:
    """Which message the running loop stands at, and how many loop bodies have run."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.reset()

    def reset(self) -> None:
        self.open_turns: list[int] = []
        self.turn = OUTSIDE
        self.iterations = 0
        self._literals: dict[tuple[str, int], Traced] = {}

    def literal(self, _: Context, text: str) -> Traced:
        key = (text, self.turn)
        if key not in self._literals:
            self._literals[key] = Traced.of(text, Source(TEMPLATE, self.turn))
        return self._literals[key]

    def open_loop(self, _: Context, __: object) -> None:
        self.open_turns.append(self.turn)

    def close_loop(self, _: Context, __: object) -> None:
        self.turn = self.open_turns.pop()

    def enter(self, _: Context, item: object) -> None:
        self.iterations += 1
        if self.iterations > MAX_ITERATIONS:
            raise SecurityError(f"the template loops more than {MAX_ITERATIONS:,} times")
        if isinstance(item, Turn):
            self.turn = item.index


class _Instrument(NodeTransformer):
    """Rewrites a template's syntax tree: literals go through `_literal`, loop bodies announce their message.

    `literals` and `filters` are what it met on the way.
    """

    def __init__(self) -> None:
        self.literals: set[str] = set()
        self.filters: set[str] = set()

    def visit_Filter(self, node: nodes.Filter) -> nodes.Filter:
        self.filters.add(node.name)
        self.generic_visit(node)
        return node

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Expr:
        self.literals.add(node.data)
        return _filtered(nodes.Const(node.data), "_literal", node.lineno)

    def visit_Const(self, node: nodes.Const) -> nodes.Expr:
        if not isinstance(node.value, str):
            return node
        self.literals.add(node.value)
        return _filtered(node, "_literal", node.lineno)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        node.node = self.visit(node.node)
        if not isinstance(node.arg, nodes.Const):
            node.arg = self.visit(node.arg)
        return node

    def visit_For(self, node: nodes.For) -> list[nodes.Node]:
        self.generic_visit(node)
        item: nodes.Expr = nodes.Const(None)
        if isinstance(node.target, nodes.Name):
            item = nodes.Name(node.target.name, "load")
        node.body.insert(0, _statement(item, "_enter", node.lineno))
        before = _statement(nodes.Const(None), "_open_loop", node.lineno)
        after = _statement(nodes.Const(None), "_close_loop", node.lineno)
        return [before, node, after]


def _filtered(node: nodes.Expr, name: str, line: int) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=line)


def _statement(node: nodes.Expr, name: str, line: int) -> nodes.ExprStmt:
    return nodes.ExprStmt(_filtered(node, name, line), lineno=line)


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}`: what stands inside is what the assistant generates."""

    tags = {"generation"}  # noqa: RUF012  (declared so by jinja2)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

    def mark(self, caller: Macro) -> Traced:
        held = join_traced([caller()])
        return Traced._made(held, tuple((n, s._replace(marked=True)) for n, s in held._runs))


class _Namespace(Namespace):
    """Jinja's namespace, without names that begin with an underscore."""

    def __setitem__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace may not hold the name {name!r}")
        super().__setitem__(name, value)


class _Environment(ImmutableSandboxedEnvironment):
    """The dialect of transformers' chat templates."""

    intercepted_binops = frozenset({"*", "**", "%"})
    concat = staticmethod(join_traced)

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols])
        self.recorder = _Recorder()
        for name in ("literal", "open_loop", "close_loop", "enter"):
            self.filters[f"_{name}"] = _with_context(getattr(self.recorder, name))
        self.filters["tojson"] = _to_json
        self.filters["join"] = _join
        self.globals.update(
            raise_exception=_raise_exception, strftime_now=_strftime_now, dict=dict, namespace=_Namespace
        )

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not (abs(left) <= MAX_REPEAT and abs(right) <= 64):
            raise SecurityError("the template raises too large a number to too high a power")
        if operator == "*" and _product_size(left, right) > MAX_REPEAT:
            raise SecurityError(f"the template repeats a text beyond {MAX_REPEAT:,} characters")
        return super().call_binop(context, operator, left, right)

    def compiled(self, source: str, instrument: _Instrument) -> jinja2.Template:
        tree = instrument.visit(self.parse(source))
        template = jinja2.Template.from_code(self, self.compile(tree), self.make_globals(None))
        template.root_render_func.__globals__["str_join"] = join_traced
        return template


def _with_context(function: Callable[[Context, Any], Any]) -> Callable[[Context, Any], Any]:
    # A filter that takes the context is never folded into a constant at compile time.
    return jinja2.pass_context(lambda context, value: function(context, value))


def _product_size(left: Any, right: Any) -> int:
    for many, count in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(count, int):
            return len(many) * count
    return 0


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> Traced:
    own = isinstance(format, Traced) and format._source.author == TEMPLATE
    return Traced.of(FROZEN_DATE.strftime(format), Source(TEMPLATE if own else UNKNOWN))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> Traced:
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    return Traced.of(text, _source_of(value))


def _source_of(value: Any) -> Source:
    """The source of the first traced string in a JSON-like value."""
    return next((text._source for text in _strings(value) if isinstance(text, Traced) and text._runs), Source(UNKNOWN))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(item)
            yield from _strings(key)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _join(value: Any, d: str = "", attribute: str | None = None) -> Traced:
    items = [item[attribute] for item in value] if attribute is not None else list(value)
    return Traced.of(d, d._source if isinstance(d, Traced) else Source(TEMPLATE)).join(map(str, items))


class CompiledTemplate:
    """A chat template that is ready to run, safe to be used from several threads.

    `literals` are the texts that it may write by itself; `filters` the names of the filters that it uses.
    """

    def __init__(self, source: str) -> None:
        self._environment = _Environment()
        instrument = _Instrument()
        try:
            self._template = self._environment.compiled(source, instrument)
        except jinja2.TemplateSyntaxError as error:
            where = f"line {error.lineno}"
            raise TemplateError(f"The chat template is not valid Jinja ({where}): {error.message}") from error
        except (RecursionError, SyntaxError, ValueError) as error:
            raise TemplateError(f"The chat template cannot be compiled: {error}") from error
        self.literals = frozenset(instrument.literals)
        self.filters = frozenset(instrument.filters)

    def run(self, variables: Mapping[str, Any]) -> Traced:
        """The text that the template writes, with its sources.

        Raises:
            TemplateError: the template refuses the conversation, fails, or goes beyond a limit.
        """
        with self._environment.recorder.lock, _told():
            self._environment.recorder.reset()
            return join_traced(self._pieces(variables))

    def _pieces(self, variables: Mapping[str, Any]) -> Iterator[str]:
        size = 0
        for piece in self._template.root_render_func(self._template.new_context(dict(variables))):
            size += str.__len__(piece)
            if size > MAX_OUTPUT:
                raise SecurityError(f"the template writes more than {MAX_OUTPUT:,} characters")
            yield _written_at(piece, self._environment.recorder.turn)


def _written_at(piece: str, turn: int) -> Traced:
    """The piece, with `turn` for what was made at no turn of its own: a message's words, `eos_token`, a number."""
    if not isinstance(piece, Traced):
        return Traced.of(piece, Source(UNKNOWN, turn))
    if turn == OUTSIDE or all(source.turn != OUTSIDE for _, source in piece._runs):
        return piece
    runs = ((length, s._replace(turn=turn) if s.turn == OUTSIDE else s) for length, s in piece._runs)
    return Traced._made(piece, tuple(runs))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except jinja2.TemplateError as error:
        # What stands for text and messages here has names of its own, which say nothing to the user.
        message = _OWN_TYPE.sub(lambda match: _SEEN_AS[match[1]], error.message or str(error))
        raise TemplateError(f"The chat template refuses this conversation: {message}") from error
    except MemoryError as error:
        raise TemplateError("The chat template needs more memory than it is given.") from error
    except Exception as error:  # a template is foreign code: whatever goes wrong inside it is its failure, told as such
        raise TemplateError(f"The chat template fails on this conversation: {type(error).__name__}: {error}") from error
