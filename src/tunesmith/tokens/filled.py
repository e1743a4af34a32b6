"""Templates of benchmarks: a text, or a list of texts, made of the fields of one row.

The decision: they are foreign code too, so they run where chat templates do, in the process with limits (`renderer`),
and in the same immutable sandbox. They need none of the tracing: whose words they write does not matter. A field that a
row does not have is an error.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunesmith.errors import TemplateError
from tunesmith.tokens.sandbox import MAX_OUTPUT

_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


def text_of(template: str, fields: Mapping[str, Any]) -> str:
    """What a template writes about a row.

    Raises:
        TemplateError: it needs a field that the row lacks, fails on it, or writes too much.
    """
    with _told():
        return _within(_template(template).generate(fields))


def texts_of(expression: str, fields: Mapping[str, Any]) -> list[str]:
    """The texts in the list that an expression means.

    Raises:
        TemplateError: as `text_of`, or it gives no list.
    """
    with _told():
        found = _expression(expression)(**fields)
        if isinstance(found, str) or not isinstance(found, Sequence) or not found:
            raise TemplateError(f"{expression!r} gives {type(found).__name__}, not a list of texts")
        return [_within([option]) for option in found]


@lru_cache(maxsize=512)
def _template(source: str) -> jinja2.Template:
    return _JINJA.from_string(source)


@lru_cache(maxsize=512)
def _expression(source: str) -> Any:
    return _JINJA.compile_expression(source, undefined_to_none=False)


def _within(pieces: Iterable[object]) -> str:
    kept, size = list[str](), 0
    for piece in map(str, pieces):
        size += len(piece)
        if size > MAX_OUTPUT:
            raise TemplateError(f"it writes more than {MAX_OUTPUT:,} characters")
        kept.append(piece)
    return "".join(kept)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except TemplateError:
        raise
    except jinja2.TemplateError as error:
        raise TemplateError(error.message or str(error)) from error
    except MemoryError as error:
        raise TemplateError("it needs more memory than it is given") from error
    except Exception as error:  # foreign code: whatever goes wrong inside it is its failure, told as such
        raise TemplateError(f"{type(error).__name__}: {error}") from error
