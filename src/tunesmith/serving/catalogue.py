"""Models by name: what answers to `smollm2` or `ft:smollm2:…`, loaded when it is first asked for.

The decision: an adapter is served on its base, which stands in memory once; a whole tuned model is a base of its own.
The names that are known come from outside, so this room knows of no database. What computes is imported with the first
model, so a server that only keeps jobs starts at once.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RequestError
from tunesmith.models.folder import is_adapter
from tunesmith.models.sources import resolve
from tunesmith.serving.constraint import Grammars
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tunesmith.serving.engine import Engine

MOST_ENGINES = 3


@dataclass(frozen=True, slots=True)
class Served:
    """A model ready to answer: its engine, its adapter there, the words that it understands, the forms it can keep."""

    engine: "Engine"
    adapter: str | None
    encoder: Encoder
    grammars: Grammars


class Catalogue:
    """The models of a service. `find(name)` is the folder of a tuned model, None where there is none."""

    def __init__(self, bases: Mapping[str, str], find: Callable[[str], Path | None]) -> None:
        self._bases, self._find = bases, find
        self._engines: OrderedDict[Path, Engine] = OrderedDict()
        self._served: dict[str, Served] = {}
        self._lock = threading.Lock()

    def open(self, name: str) -> Served:
        """The model called `name`, loaded if it is not yet; slow the first time.

        Raises:
            RequestError: there is no such model (404).
            ModelError: it cannot be loaded.
            CheckpointError: its weights are no longer those that were saved.
        """
        with self._lock:
            folder = self._folder(name)
            if name not in self._served:
                self._served[name] = self._load(name, folder)
            return self._served[name]

    def knows(self, name: str) -> bool:
        """Whether a model of this name can be opened."""
        return name in self._bases or self._find(name) is not None

    def forget(self, name: str) -> None:
        """The model is out of memory, as far as it is its own."""
        with self._lock:
            served = self._served.pop(name, None)
        if served is not None and served.adapter is not None:
            served.engine.remove_adapter(served.adapter)

    def load(self) -> tuple[int, int]:
        """Answers in progress and waiting, over all engines."""
        pairs = [engine.load for engine in self._engines.values()]
        return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)

    def close(self) -> None:
        """No engine runs any more."""
        for engine in self._engines.values():
            engine.close()

    def _folder(self, name: str) -> Path:
        folder = resolve(self._bases[name]).folder if name in self._bases else self._find(name)
        if folder is None:
            raise RequestError(
                f"The model `{name}` does not exist or you do not have access to it.",
                status=404,
                code="model_not_found",
                param="model",
            )
        return folder

    def _load(self, name: str, folder: Path) -> Served:
        from tunesmith.models.load import base_of
        from tunesmith.run.folder import require_whole
        from tunesmith.run.opened import encoder_for

        require_whole(folder)

        adapter = is_adapter(folder)
        base = base_of(folder).folder if adapter else folder
        engine = self._engine(base)
        if adapter:
            engine.add_adapter(name, folder)
        words = folder if (folder / "tokenizer.json").is_file() else base
        encoder = encoder_for(Tokenizer.load(words))
        grammars = Grammars(words / "tokenizer.json", sorted(encoder.stop_ids))
        return Served(engine, name if adapter else None, encoder, grammars)

    def _engine(self, folder: Path) -> "Engine":
        found = self._engines.get(folder)
        if found is None:
            self._make_room()
            # In a thread that ends: the OpenMP threads of one that stays would make those of the engine sleep at every
            # product, because together they are more than there are cores.
            with ThreadPoolExecutor(1) as loading:
                found = self._engines[folder] = loading.submit(_opened, folder).result()
        self._engines.move_to_end(folder)
        return found

    def _make_room(self) -> None:
        """Give up the engine that was not asked for longest, if it is idle."""
        idle = [folder for folder, engine in self._engines.items() if engine.load == (0, 0)]
        if len(self._engines) >= MOST_ENGINES and idle:
            engine = self._engines.pop(idle[0])
            self._served = {name: served for name, served in self._served.items() if served.engine is not engine}
            engine.close()


def _opened(folder: Path) -> "Engine":
    import torch

    from tunesmith.models.load import load_model
    from tunesmith.serving.engine import Engine

    cuda = torch.cuda.is_available()
    model = load_model(folder, dtype=torch.bfloat16 if cuda else torch.float32)
    if cuda:
        model.to("cuda")  # type: ignore[arg-type]
    return Engine(model)
