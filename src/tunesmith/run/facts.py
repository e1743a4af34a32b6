"""What a check must know of a model and of this machine, remembered: asking anew takes the seconds that torch and
transformers take to be imported, and a check is asked often.

The decision: what is remembered is named after all that it follows from (the model's configuration, the versions of
the libraries, the processor), so it is never stale; and a measured speed is only ever replaced by a higher one, because
other work on the machine can only lower it.
"""

import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.models.cache import home
from tunesmith.run.resolve import Shapes

_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Facts:
    """A model's configuration as far as data and their cost depend on it."""

    context: int
    vocabulary: int
    shapes: Shapes


def facts(folder: Path) -> Facts:
    """The facts of the model in `folder`.

    Raises:
        ModelError: its configuration cannot be read.
    """
    config = (folder / "config.json").read_bytes()
    key = (_VERSION, importlib.metadata.version("transformers"), config.hex())
    known = _remembered("model", key) or _remember("model", key, _asked(folder))
    return Facts(known["context"], known["vocabulary"], Shapes(**known["shapes"]))


def _asked(folder: Path) -> dict[str, Any]:
    from tunesmith.models.context import context_length, read_config

    config = read_config(folder)
    vocabulary = int(config.get_text_config().vocab_size)
    return asdict(Facts(context_length(config), vocabulary, Shapes.of(config)))


def speed(name: str, measure: Callable[[], float]) -> float:
    """A speed of this machine, measured once; again where torch is there already, and the higher of the two counts."""
    key = (_VERSION, importlib.metadata.version("torch"), platform.platform(), _processor(), _cores(), name)
    known = _remembered("speed", key)
    if known is not None and "torch" not in sys.modules:
        return float(known["speed"])
    measured = max(measure(), known["speed"] if known else 0.0)
    return float(_remember("speed", key, {"speed": measured})["speed"])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), "")


def _cores() -> str:
    """How many cores this process may use, and whether there is a GPU, as far as is known without torch."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} {os.environ.get('OMP_NUM_THREADS', '')} {Path('/proc/driver/nvidia/version').exists()}"


def _file(kind: str, key: tuple[str, ...]) -> Path:
    return home() / "facts" / f"{kind}-{hashlib.sha256(chr(0).join(key).encode()).hexdigest()[:24]}.json"


def _remembered(kind: str, key: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        found = orjson.loads(_file(kind, key).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _remember(kind: str, key: tuple[str, ...], known: dict[str, Any]) -> dict[str, Any]:
    """`known`, written down where that is possible; nothing depends on it."""
    file = _file(kind, key)
    fresh = file.with_suffix(f".{os.getpid()}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(orjson.dumps(known))
        os.replace(fresh, file)
    except OSError:
        return known
    return known
