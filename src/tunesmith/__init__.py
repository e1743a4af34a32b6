"""Tunesmith: supervised fine-tuning that proves what it does.

The verbs of the command line, as functions, and the values that pass between them:

    import tunesmith

    result = tunesmith.train(tunesmith.load_recipe("support.jsonl", ["training.epochs=3"]))
    print(tunesmith.evaluate(str(result.folder), "held_out.jsonl").as_dict())
    chat = tunesmith.Chat(str(result.folder))
    print("".join(chat.reply("Where is my order?")))
    tunesmith.export(result.folder, Path("support-model"), merge=True)

The decision: a name is imported when it is first used, so `import tunesmith` costs nothing and reading data never
loads torch. Nor does anything that is imported later run strangers' code: transformers and bitsandbytes fetch compiled
kernels from the hub where the package `kernels` is installed, so for them it is not.
"""

import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunesmith.data.example import Example, Message, Passage
    from tunesmith.data.reading import read_examples
    from tunesmith.errors import TunesmithError
    from tunesmith.recipe import Loaded, Recipe, load_recipe
    from tunesmith.run.chat import Chat
    from tunesmith.run.evaluate import evaluate
    from tunesmith.run.export import export
    from tunesmith.run.generate import generate
    from tunesmith.run.train import RunResult, resume, train

sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # on AVX512-BF16 it warns of the kernel that it did not get

_PLACES = {
    "Chat": "tunesmith.run.chat",
    "Example": "tunesmith.data.example",
    "Loaded": "tunesmith.recipe",
    "Message": "tunesmith.data.example",
    "Passage": "tunesmith.data.example",
    "Recipe": "tunesmith.recipe",
    "RunResult": "tunesmith.run.train",
    "TunesmithError": "tunesmith.errors",
    "evaluate": "tunesmith.run.evaluate",
    "export": "tunesmith.run.export",
    "generate": "tunesmith.run.generate",
    "load_recipe": "tunesmith.recipe",
    "read_examples": "tunesmith.data.reading",
    "resume": "tunesmith.run.train",
    "train": "tunesmith.run.train",
}

__all__ = [
    "Chat",
    "Example",
    "Loaded",
    "Message",
    "Passage",
    "Recipe",
    "RunResult",
    "TunesmithError",
    "evaluate",
    "export",
    "generate",
    "load_recipe",
    "read_examples",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    """The public name, imported now."""
    if name not in _PLACES:
        raise AttributeError(f"tunesmith has no name {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_PLACES[name]), name)
