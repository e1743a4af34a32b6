"""A GGUF file becomes a model folder: safetensors, configuration, tokenizer, chat template.

The decision: convert once, exactly. The weights are written in float32 because a dequantised value is a product of a
half-precision scale and a small integer, plus an offset: half precision would change 41 % of the values of a Q4_1 file
(by up to 0.05 %) and bfloat16 79 % (by up to 0.4 %), to save 270 MB on a model of 135 million parameters. And a
tokenizer that cannot be rebuilt with certainty is refused, because a text that is split otherwise than in pretraining
fails without a word.
"""

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.errors import ModelError
from tunesmith.models.context import context_length
from tunesmith.models.folder import read_json, write_json
from tunesmith.models.gguf_header import single_values
from tunesmith.models.quiet import quiet

DIGITS_ALONE = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})
"""Byte-level vocabularies that split off every digit before GPT-2's rule; transformers reads them without that.

Source: the table of pre-tokenizers in llama.cpp, https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp.
"""
SPLITS_KNOWN = frozenset(
    {
        *(
            "gpt-2",
            "mpt",
            "olmo",
            "llama3",
            "llama-v3",
            "llama-bpe",
            "llama4",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "tekken",
        ),
        *("qwen2", "qwen35", "deepseek-r1-qwen", "gpt-4o", "dbrx", "smaug-bpe", "lfm2", "jina-v5-nano", "midm-2.0"),
        *("kormo", "f2llmv2", "megrez", "kanana2", "talkie", "minimax-m2"),
    }
)
"""Byte-level vocabularies whose rule transformers knows."""


def convert(file: Path, target: Path) -> None:
    """Fill the folder `target` with the model in the GGUF `file`, as `from_pretrained` reads it.

    Raises:
        ModelError: it is not a GGUF file, its architecture is unknown, or its tokenizer cannot be rebuilt exactly.
    """
    rule = _pre_tokenizer(file)
    try:
        # The bar over the tensors is drawn by tqdm itself, which transformers' switch does not reach.
        with quiet(), redirect_stderr(StringIO()):
            model = AutoModelForCausalLM.from_pretrained(
                file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False
            )
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
            context = context_length(model.config)
            _plain(model).save_pretrained(target)
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{file}: cannot be converted: {error}") from error
    _save_tokenizer(tokenizer, rule, context, target)


def _pre_tokenizer(file: Path) -> str | None:
    """The name of the rule that splits text before merging; None where the vocabulary needs no such rule."""
    try:
        values = single_values(file)
    except (ValueError, OSError) as error:
        raise ModelError(f"{file}: is not a whole GGUF file ({error}). Fetch or copy it again.") from error
    kind, named = values.get("tokenizer.ggml.model"), values.get("tokenizer.ggml.pre")
    rule = None if named is None else str(named)
    if kind != "gpt2" or rule in DIGITS_ALONE or rule in SPLITS_KNOWN:
        return rule
    raise ModelError(
        f"{file}: splits text by the rule {rule!r}, which cannot be rebuilt with certainty from a GGUF file. "
        "Use the model's original safetensors folder or hub name instead."
    )


def _plain(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a model that has forgotten that they came from a quantised file."""
    config = model.config
    for trace in ("quantization_config", "_model_name_or_path"):
        if hasattr(config, trace):
            delattr(config, trace)
    config.name_or_path = ""
    _shorten_floats(config)
    with torch.device("meta"):
        plain: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def _shorten_floats(config: Any) -> None:
    """1e-05 where the file's single precision reads 9.999999747378752e-06: the same number for a float32 network."""
    for name, value in vars(config).items():
        if isinstance(value, float):
            setattr(config, name, float(f"{value:.7g}"))


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, rule: str | None, context: int, target: Path) -> None:
    if rule in DIGITS_ALONE:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    tokenizer.model_max_length = context
    tokenizer.save_pretrained(target)
    # The generic class takes tokenizer.json as it is, in every version of transformers; a named one may rebuild it.
    path = target / "tokenizer_config.json"
    settings = read_json(path)
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    for trace in ("is_local", "local_files_only", "backend"):
        settings.pop(trace, None)
    write_json(path, settings)
