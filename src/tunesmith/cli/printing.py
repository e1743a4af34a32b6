"""JSON for programs, on stdout.

The decision: what is no finite number is null, for JSON has no other word for it and strict readers refuse `NaN`.
"""

from typing import Any

import orjson


def print_json(value: Any, *, indent: bool = True) -> None:
    """One value, over several lines or on one.

    >>> print_json({"difference": float("nan")}, indent=False)
    {"difference":null}
    """
    option = orjson.OPT_SERIALIZE_NUMPY | (orjson.OPT_INDENT_2 if indent else 0)
    print(orjson.dumps(value, option=option).decode())
