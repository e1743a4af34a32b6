"""The kernels that torch would run on a GPU, checked where there is none: `make kernels`.

Inductor writes Triton code for attention over a forest, for a model's blocks and for the loss as it would for an H100.
With TRITON_INTERPRET=1 Triton's interpreter runs it: loss and gradient of a step must be those of one example at a time
(some minutes). Without, it becomes machine code (sm_90) at the shapes of known models: everything has to assemble, and
to fit into the shared memory of that chip. Products of matrices and flash attention are libraries' and stay outside.
torch offers none of this on a CPU, so private parts of the pinned version are changed here, and only here. 0: all
holds; 1: not.
"""

import inspect
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from invariants.families import BY_FOREST, build
from invariants.test_forest_equals_alone import one_at_a_time, worst
from torch._inductor import choices, config
from torch._inductor.kernel.flex import flex_attention as lowering
from torch._inductor.runtime import triton_helpers, triton_heuristics
from torch._inductor.template_heuristics.triton import CUDAConfigHeuristic
from torch.nn.attention import flex_attention as torchs
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen3Config

from tunesmith.batches.forest import PrefixForest
from tunesmith.data.example import Origin
from tunesmith.models import flex
from tunesmith.models.compiled import compile_blocks
from tunesmith.models.forward import Network, use_attention
from tunesmith.models.head import Head
from tunesmith.models.methods import apply
from tunesmith.models.probe import probe
from tunesmith.models.settings import Full, Lora, Method
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training import objective
from tunesmith.training.step import Pass, backward
from tunesmith.training.targets import Targets

INTERPRET = os.environ.get("TRITON_INTERPRET") == "1"
"""Triton reads it when it is imported."""
CHIP = 90
"""The compute capability of an H100, 9.0."""
SHARED_BYTES = 227 << 10
"""Shared memory that a block of threads may have there (CUDA C++ Programming Guide, technical specifications)."""
EXACT = 1e-5
INTERPRETED: dict[str, tuple[str, Method]] = {
    "Qwen3, LoRA": ("Qwen3", Lora(rank=2)),
    "Gemma 2 (a window, a soft cap), full": ("Gemma 2", Full()),
}
HEADS = {"SmolLM2": (9, 3, 64), "Qwen3": (16, 8, 128), "Llama 3": (32, 8, 128), "Gemma 3": (4, 1, 256)}
BLOCKS: dict[str, Any] = {
    "Qwen3-0.6B": Qwen3Config(
        hidden_size=1024, intermediate_size=3072, num_attention_heads=16, num_key_value_heads=8, head_dim=128
    ),
    "as wide as Qwen3-8B": Qwen3Config(
        hidden_size=4096, intermediate_size=1024, num_attention_heads=4, num_key_value_heads=2, head_dim=128
    ),
    "SmolLM2-135M": LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3
    ),
    "Gemma 3 270M": Gemma3TextConfig(
        hidden_size=640, intermediate_size=2048, num_attention_heads=4, num_key_value_heads=1, head_dim=256
    ),
}  # fmt: skip


def main() -> int:
    """Interpret the kernels, or assemble them."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.environ["TRITON_CACHE_DIR"] = cache
        as_for_a_gpu()
        return interpreted() if INTERPRET else assembled()


def as_for_a_gpu() -> None:
    """From here on this process compiles for a CPU what it would compile for an H100."""
    import triton
    from triton.backends.compiler import GPUTarget

    class Chip:
        """As much of Triton's driver as choosing kernels asks for."""

        utils = type("", (), {"get_device_properties": lambda _, __: {"max_shared_mem": SHARED_BYTES}})()
        get_current_target = staticmethod(lambda: GPUTarget("cuda", CHIP, 32))
        get_current_device = staticmethod(lambda: 0)
        get_current_stream = staticmethod(lambda _: 0)

    triton.runtime.driver.set_active(Chip())
    config.cpu_backend, config.force_disable_caches, config.compile_threads = "triton", True, 1
    torch.cuda.get_device_capability = lambda *_: divmod(CHIP, 10)
    choices.InductorChoices.get_config_heuristics = lambda *_: CUDAConfigHeuristic()
    torchs._validate_device = lambda *_: None
    rewrite(lowering, "flex_attention", 'query.get_device().type == "cpu"')
    rewrite(torchs, "_apply_kernel_options", *(f'{name}.device.type == "cpu"' for name in ("query", "key", "value")))
    objective.CACHED_BYTES = 1 << 32  # passes over a few rows at a time are for a CPU
    warnings.filterwarnings("ignore", "dynamo_pgo force disabled|Could not find an active CPU backend")
    warnings.filterwarnings("ignore", category=RuntimeWarning)  # of lanes that are masked
    flex._compiled()
    flex.flex_attention = flex.compiled_attention
    if INTERPRET:
        import triton.language as tl

        # Functions of CUDA's library of mathematics, which an interpreter does not have.
        mathematics = triton_helpers.libdevice
        for name in ("rsqrt", "exp", "log"):
            setattr(mathematics, name, lambda x, name=name: getattr(tl, name)(x))
        mathematics.tanh = lambda x: 2 * tl.sigmoid(2 * x) - 1


def rewrite(module: ModuleType, name: str, *untrue: str) -> None:
    """A function of torch's, in whose source each of these conditions is never true."""
    source = inspect.getsource(getattr(module, name))
    for condition in untrue:
        assert condition in source, f"torch's {name} no longer asks for {condition}"
        source = source.replace(condition, "False")
    exec(compile(source, str(module.__file__), "exec"), module.__dict__)


def members() -> list[EncodedExample]:
    """One alone before a trunk with branches: three blocks, in which one is full and one must not be taken for full."""
    rng = np.random.default_rng(0)
    trunk = rng.integers(3, 99, 250)
    made = [np.r_[trunk, rng.integers(3, 99, n)] for n in (61, 51, 16)] + [np.r_[0, rng.integers(3, 99, 9)]]
    return [example(ids) for ids in made]


def example(ids: np.ndarray) -> EncodedExample:
    """These tokens, all but the first of them learned."""
    weights = np.r_[0, np.ones(len(ids) - 1)].astype(np.float32)
    return EncodedExample(ids.astype(np.int32), weights, Origin("made", 1))


def interpreted() -> int:
    """A step whose kernels are Inductor's, beside one example at a time by plain operations."""
    bad = 0
    for label, (family, method) in INTERPRETED.items():
        began = time.perf_counter()
        model, made = small(family), members()
        generator = torch.Generator().manual_seed(0)
        for _, parameter in apply(method, model, seed=0).trainable:
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)  # adapters begin with a half that is zero
        loss, grads = one_at_a_time(model, made)
        network = probe(model, longest=max(map(len, made)), ways=("flex",)).network
        done, reason = compile_blocks(network)
        found = backward(replace(network, compiled=True), made, Pass(4096, sharing=True), dropout_seed=None)
        apart = abs(found.loss / loss - 1), worst(model, grads)
        bad += not (network.forest and done and max(apart) < EXACT)
        print(f"{label}: {reason}; loss {apart[0]:.0e} apart, gradient {apart[1]:.0e}", end="")
        print(f" ({time.perf_counter() - began:.0f} s)", flush=True)
    return int(bad > 0)


def small(family: str) -> Any:
    """Two layers of a family, of two heads that share a key."""
    settings = BY_FOREST[family]()
    settings.update({"num_hidden_layers": 2, "layer_types": settings.layer_types[-2:], "max_position_embeddings": 512})
    if getattr(settings, "sliding_window", None):
        settings.sliding_window = 24  # another than that of the small copy which is tried first
    settings.update({"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 1})
    return build(settings)


@dataclass(frozen=True, slots=True)
class Assembled:
    """What the chip would need for one kernel, or why there is none."""

    name: str
    shared: int = 0
    registers: int = 0
    spilled: int = 0
    refusal: str | None = None


def assembled() -> int:
    """Every kernel as machine code, none of it run: what they compute here is nonsense."""
    kernels: list[Assembled] = []
    triton_heuristics.CachingAutotuner._precompile_config = lambda self, form: kernels.append(assemble(self, form))
    triton_heuristics.CachingAutotuner._make_launchers = lambda _: None
    triton_heuristics.CachingAutotuner.run = lambda *_, **__: None
    bad = False
    print("| what | kernels | shared memory, KiB | registers | spilled, bytes | s |\n|---|---|---|---|---|---|")
    for what, work in works():
        began = time.perf_counter()
        kernels.clear()
        work()
        refused = [f"{k.name}: {k.refusal}" for k in kernels if k.refusal]
        most = [max((getattr(k, of) for k in kernels), default=0) for of in ("shared", "registers", "spilled")]
        bad |= bool(refused) or not kernels or most[0] > SHARED_BYTES
        took = time.perf_counter() - began
        print(f"| {what} | {len(kernels)} | {most[0] / 1024:.0f} | {most[1]} | {most[2]} | {took:.0f} |", flush=True)
        print("".join(f"{line}\n" for line in refused), end="", file=sys.stderr)
    return int(bad)


def assemble(kernel: Any, form: Any) -> Assembled:
    """One form of a kernel through Triton and NVIDIA's assembler."""
    import triton
    from triton.backends import nvidia
    from triton.backends.compiler import GPUTarget

    name = kernel.inductor_meta.get("kernel_name", "?")
    meta = kernel._create_compile_meta(form)
    source = triton_heuristics.ASTSource(kernel.fn, meta["signature"], meta["constants"], meta["configs"][0])
    try:
        options = kernel._create_compile_options(form, meta)
        made = triton.compile(source, target=GPUTarget("cuda", CHIP, 32), options=options)
    except Exception as error:  # whatever it is, it is the finding
        return Assembled(name, refusal=f"{type(error).__name__}: {error}")
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        Path(file.name).write_text(made.asm["ptx"])
        told = subprocess.run(
            [Path(nvidia.__file__).parent / "bin" / "ptxas", "-v", f"-arch=sm_{CHIP}a", file.name, "-o", os.devnull],
            capture_output=True, text=True, check=True,
        ).stderr  # fmt: skip
    registers, spilled = (
        int(re.search(words, told)[1]) for words in (r"Used (\d+) registers", r"(\d+) bytes spill st")
    )
    return Assembled(name, made.metadata.shared, registers, spilled)


def works() -> Iterator[tuple[str, Callable[[], object]]]:
    """What is compiled: attention of heads, blocks of models, and the loss."""
    for label, heads in HEADS.items():
        for window in (None, 512):
            for dtype in (torch.bfloat16, torch.float32):
                seen = "" if window is None else f", a window of {window}"
                told = f"attention, heads of {label}{seen}, {str(dtype).removeprefix('torch.')}"
                yield told, lambda h=heads, w=window, d=dtype: attention(h, w, d)
    for label, settings in BLOCKS.items():
        for method in (Full(), Lora(rank=16)):
            yield f"blocks of {label}, {method.kind}, bfloat16", lambda s=settings, m=method: block(s, m)
    yield "the loss over 151,936 logits", loss


def attention(heads: tuple[int, int, int], window: int | None, dtype: torch.dtype) -> None:
    """Forward and backward of attention over forests of two lengths: the first, and one for all."""
    queries, keys, size = heads
    rng = np.random.default_rng(0)
    trunk = rng.integers(0, 99, 1000)
    for branches in (1, 4):
        made = [example(np.r_[trunk, rng.integers(0, 99, 700)]) for _ in range(branches)]
        batch = PrefixForest(made).batch()
        mask = flex.ForestMask.of(batch, "cpu")
        q, k, v = (
            torch.zeros(1, h, len(mask.end), size, dtype=dtype, requires_grad=True) for h in (queries, keys, keys)
        )
        flex.by_flex(q, k, v, mask, flex.Scores(size**-0.5, window, None, None)).sum().backward()


def block(settings: Any, method: Method) -> None:
    """Forward and backward of a model's blocks, two of them, with a method applied."""
    settings.update({"num_hidden_layers": 2, "vocab_size": 512})
    model = AutoModelForCausalLM.from_config(settings, dtype=torch.bfloat16).eval()
    use_attention(model, forest=True)
    apply(method, model, seed=0)
    compile_blocks(Network(model, True, Head.of(model), "flex"))


def loss() -> None:
    """Cross entropy with its gradient, by the passes over logits that are compiled."""
    head = Head(torch.nn.Parameter(torch.zeros(151936, 16)), None, 1.0, None)
    targets = Targets(torch.arange(64), torch.arange(64), torch.ones(64))
    objective.cross_entropy(torch.zeros(64, 16), head, targets, scale=1.0, compiled=True)


if __name__ == "__main__":
    sys.exit(main())
