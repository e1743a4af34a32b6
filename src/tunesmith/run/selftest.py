"""The verb `selftest`: the invariants that a user relies on, proven on their model, their template and their data.

The decision: each proof measures a difference and compares it with what rounding explains; nothing is taken from the
tests of this project, which know other models. Proofs that are equalities of bits have a tolerance of zero.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tunesmith.data.example import Example
from tunesmith.data.reading import read_examples
from tunesmith.errors import DataError, TemplateError, UsageError
from tunesmith.generation.decode import generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models import adapters
from tunesmith.models.fingerprint import fingerprint
from tunesmith.models.folder import is_adapter
from tunesmith.models.forward import Network
from tunesmith.models.load import load_model
from tunesmith.models.methods import apply, decoder_layers
from tunesmith.models.save import write_model
from tunesmith.models.settings import Lora
from tunesmith.models.sources import Source
from tunesmith.models.untouched import untouched
from tunesmith.run.memory import USABLE
from tunesmith.run.opened import Opened, open_model
from tunesmith.run.resolve import total_memory
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.step import Pass, backward

EXAMPLES = 6
LONGEST = 512
ROUNDING = 1e-4
"""Largest relative difference of a gradient that rounding explains in float32."""
LOSSES = 1e-5
"""The same of a loss."""
ANSWER = 16
"""Tokens of a greedy answer."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One invariant: what was found, and how much rounding would explain."""

    name: str
    difference: float
    tolerance: float
    detail: str = ""

    @property
    def holds(self) -> bool:
        """Whether the invariant holds here."""
        return self.difference <= self.tolerance


def selftest(model: str, data: str | None = None, *, say: Callable[[str], object]) -> list[Proof]:
    """Every proof on `model`, with the first examples of `data` (or some of our own).

    Raises:
        UsageError: the model carries an adapter.
        DataError: `data` holds no conversation that fits.
    """
    opened = open_model(model, say=say)
    opened.model.float()  # what half precision rounds would hide what is to be proven
    if is_adapter(opened.folder):
        raise UsageError(f"{model}: this is an adapter. Test its base, or export it with --merge and test that.")
    examples = _examples(opened, data)
    encoded = [opened.encoder.encode(example) for example in examples]
    network = opened.network(max(map(len, encoded)))
    say(f"{len(examples)} conversations, {sum(map(len, encoded)):,} tokens")
    proofs = [*of_tokens(opened.encoder, examples, encoded), *_of_steps(network, encoded)]
    return [*proofs, *_of_files(opened, network), *_of_adapters(opened, network)]


def _examples(opened: Opened, data: str | None) -> list[Example]:
    if data is None:
        return own_examples()
    fitting = []
    for example in opened.read(data).examples:
        if isinstance(example, Example) and len(opened.encoder.encode(example)) <= LONGEST:
            fitting.append(example)
        if len(fitting) == EXAMPLES:
            break
    if not fitting:
        raise DataError(f"{data}: no conversation of at most {LONGEST} tokens to test with.")
    return fitting


def own_examples() -> list[Example]:
    """Three conversations that share a beginning, one of several turns."""
    question = "Which of these is a fruit: the apple, the hammer, the river or the cloud? Answer with one word."
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
        for answer in ("Apple", "The apple is a fruit.")
    ]
    rows.append(
        {
            "messages": [
                *rows[0]["messages"],
                {"role": "user", "content": "And which is a tool?"},
                {"role": "assistant", "content": "The hammer."},
            ]
        }
    )
    return [e for e in read_examples(rows).examples if isinstance(e, Example)]


def of_tokens(encoder: Encoder, examples: Sequence[Example], encoded: Sequence[EncodedExample]) -> Iterator[Proof]:
    """Proofs that prompts served are prefixes of what is trained, and every learned turn ends with an end token."""
    differing = endless = turns = 0
    for example, row in zip(examples, encoded, strict=True):
        ids = row.ids.tolist()
        for i, message in enumerate(example.messages):
            if message.role == "assistant":
                turns += 1
                prompt = _prompt(encoder, example, i)
                differing += prompt is None or ids[: len(prompt)] != prompt
        learned = row.weights > 0
        last = np.flatnonzero(learned & ~np.append(learned[1:], False))
        endless += sum(ids[i] not in encoder.stop_ids for i in last)
    yield Proof("the prompt served is a prefix of what is trained", differing, 0, f"{turns} turns")
    yield Proof("every learned turn teaches its end token", endless, 0, f"{turns} turns")


def _prompt(encoder: Encoder, example: Example, turn: int) -> list[int] | None:
    try:
        return encoder.prompt(example.messages[:turn], example.tools)
    except TemplateError:
        return None


def _of_steps(network: Network, encoded: Sequence[EncodedExample]) -> Iterator[Proof]:
    """However a step is computed, it is the step of one example at a time through the untouched model."""
    longest = max(map(len, encoded))
    whole = 1 << 30
    with _first_layer_only(network.model) as parameters:
        alone = _alone(network, encoded, parameters)
        packed = _step(network, encoded, Pass(whole, sharing=False), parameters)
        shared = _step(network, encoded, Pass(whole, sharing=True), parameters)
        parts = _step(network, encoded, Pass(longest, sharing=True), parameters)
    way = "by forest" if network.forest else "one example at a time: this model cannot share"
    for name, one, other in (
        ("packed = alone", packed, alone),
        ("shared = flat", shared, packed),
        ("accumulated = whole", parts, shared),
    ):
        yield Proof(f"{name}, loss", abs(one[0] - other[0]) / abs(other[0]), LOSSES, way)
        yield Proof(f"{name}, gradient", float((one[1] - other[1]).norm() / other[1].norm()), ROUNDING, way)


@contextmanager
def _first_layer_only(model: Any) -> Iterator[list[nn.Parameter]]:
    """Only the lowest layer trains: its gradient has passed through every other, and needs no second model."""
    model.requires_grad_(False)
    layer = decoder_layers(model)[1][0]
    layer.requires_grad_(True)
    yield list(layer.parameters())
    model.zero_grad()
    model.requires_grad_(True)


def _step(
    network: Network, encoded: Sequence[EncodedExample], how: Pass, parameters: list[nn.Parameter]
) -> tuple[float, Tensor]:
    network.model.zero_grad()
    loss = backward(network, encoded, how, dropout_seed=None).loss
    return loss, _gradient(parameters)


def _alone(network: Network, encoded: Sequence[EncodedExample], parameters: list[nn.Parameter]) -> tuple[float, Tensor]:
    """The same by nothing but the model's own forward and torch's own cross entropy; in float64 where that fits."""
    weights = sum(p.numel() * (p.element_size() + 8) for p in network.model.parameters())
    if weights <= USABLE * total_memory(network.device.type):
        with suppress(RuntimeError):  # experts and some recurrent layers have no float64
            return _by_itself(network, encoded, parameters, double=True)
    return _by_itself(network, encoded, parameters, double=False)


def _by_itself(
    network: Network, encoded: Sequence[EncodedExample], parameters: list[nn.Parameter], *, double: bool
) -> tuple[float, Tensor]:
    model = network.model
    model.zero_grad()
    weight = sum(e.target_weight for e in encoded)
    total = 0.0
    with untouched(model, double=double):
        for example in encoded:
            ids = network.on_device(example.ids.astype(np.int64))
            logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1]
            each = nn.functional.cross_entropy(logits if double else logits.float(), ids[1:], reduction="none")
            part = (each * network.on_device(example.weights[1:])).sum() / weight
            part.backward()  # type: ignore[no-untyped-call]
            total += float(part.detach())
        return total, _gradient(parameters)


def _gradient(parameters: Sequence[nn.Parameter]) -> Tensor:
    return torch.cat([p.grad.detach().flatten().float() for p in parameters if p.grad is not None])


def _of_files(opened: Opened, network: Network) -> Iterator[Proof]:
    """A model written and loaded again is the model."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-selftest-") as name:
        write_model(opened.model, Path(name), source_folder=opened.folder)
        again = load_model(Path(name), dtype=next(opened.model.parameters()).dtype).to(network.device)  # type: ignore[arg-type]
        yield Proof("saved = in memory, logits", _apart(_logits(again), _logits(opened.model)), ROUNDING)
        prompts = [_some_ids(opened.model).tolist()[0], *_served(opened.encoder)]
        found, expected = (greedy(model, prompts, opened.encoder.stop_ids) for model in (again, opened.model))
        differing = sum(a != b for a, b in zip(found, expected, strict=True))
        yield Proof("saved = in memory, greedy answers", differing, 0, f"{len(prompts)} prompts, {ANSWER} tokens")


def greedy(model: Any, prompts: Sequence[Sequence[int]], stop_ids: frozenset[int]) -> list[tuple[int, ...]]:
    """The likeliest answer to each prompt, cut after `ANSWER` tokens."""
    settings = GenerationSettings(max_new_tokens=ANSWER)
    return [answer.ids for answer in generate(model, prompts, settings=settings, stop_ids=stop_ids)]


def _served(encoder: Encoder) -> list[list[int]]:
    prompt = _prompt(encoder, own_examples()[0], 1)
    return [] if prompt is None else [prompt]


def _of_adapters(opened: Opened, network: Network) -> Iterator[Proof]:
    """An adapter starts as the base, can be switched off, and merges into what it was."""
    model = opened.model
    base = _logits(model)
    method = Lora(rank=4)
    apply(method, model, seed=0)
    yield Proof("LoRA at step 0 = base, logits", _apart(_logits(model), base), 0)
    with torch.no_grad():
        for layer in adapters.adapted(model).values():
            layer.lora_B.normal_(std=0.02, generator=torch.Generator(layer.lora_B.device).manual_seed(0))
    adapted = _logits(model)
    with adapters.disabled(model):
        yield Proof("adapter switched off = base, logits", _apart(_logits(model), base), 0)
    with tempfile.TemporaryDirectory(prefix="tunesmith-selftest-") as name:
        source = Source(opened.folder, opened.folder.name, None, None, fingerprint(opened.folder))
        adapters.save_adapter(model, Path(name), method, source)
        again = load_model(Path(name), dtype=next(model.parameters()).dtype).to(network.device)  # type: ignore[arg-type]
        yield Proof("saved adapter = in memory, logits", _apart(_logits(again), adapted), ROUNDING)
        del again
    adapters.merge(model)
    yield Proof("merged = adapter, logits", _apart(_logits(model), adapted), ROUNDING)


def _logits(model: Any) -> Tensor:
    """Logits of a fixed prompt from the middle of the vocabulary, by the model's own forward."""
    with torch.inference_mode(), untouched(model):
        logits: Tensor = model(input_ids=_some_ids(model), use_cache=False).logits.float()
    return logits


def _some_ids(model: Any) -> Tensor:
    vocabulary = int(model.config.get_text_config().vocab_size)
    return torch.arange(vocabulary // 3, vocabulary // 3 + 24)[None].to(next(model.parameters()).device)


def _apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())
