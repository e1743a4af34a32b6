"""Formulas of graders: numbers with names put together, and nothing else of Python.

The decision: the text is parsed by Python and walked by us; a node that is not arithmetic is refused.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping

from tunesmith.errors import RequestError

_BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: math.pow,
}  # fmt: skip
_CALLS: dict[str, Callable[..., float]] = {
    "min": min, "max": max, "abs": abs, "floor": math.floor, "ceil": math.ceil, "exp": math.exp, "sqrt": math.sqrt,
    "log": math.log,
}  # fmt: skip
LONGEST = 1000


def value(text: str, names: Mapping[str, float]) -> float:
    """What a formula gives for these names.

    Raises:
        RequestError: it is none, names something unknown, or has no value.

    >>> value("0.5 * exact + max(close, 0)", {"exact": 1.0, "close": 0.25})
    0.75
    """
    try:
        tree = ast.parse(text[: LONGEST + 1].strip(), mode="eval") if len(text) <= LONGEST else None
        if tree is None:
            raise ValueError(f"it is longer than {LONGEST} characters")
        found = float(_of(tree.body, names))
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise RequestError(
            f"calculate_output: {text[:100]!r} has no value: {error}.", param="grader.calculate_output",
            code="formula_parse_error",
        ) from error  # fmt: skip
    if not math.isfinite(found):
        raise RequestError("calculate_output: the value is not finite.", param="grader.calculate_output")
    return found


def _of(node: ast.AST, names: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_of(left, names), _of(right, names))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_of(operand, names)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _of(operand, names)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _CALLS:
            return _CALLS[name](*(_of(arg, names) for arg in args))
        case ast.Name(id=name):
            raise ValueError(f"there is no grader called {name}")
        case _:
            raise ValueError("only numbers, names of graders, + - * / ** and the offered functions are understood")
