"""Generation against transformers' own `generate`: the same greedy answers, whatever is generated beside them."""

import random
from functools import cache
from typing import Any

import pytest
import torch
import transformers

from tunesmith.generation.decode import generate
from tunesmith.generation.settings import GenerationSettings
from tunesmith.models.trial import refusal

VOCABULARY = 128
STOP = frozenset({3, 17, 40, 41, 42, 43, 44})
LENGTH = 12
GREEDY = GenerationSettings(max_new_tokens=LENGTH)

READ: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 8},
    "gemma3_text": {"head_dim": 8, "sliding_window": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_oss": {"head_dim": 8, "sliding_window": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3": {"head_dim": 8},
    "granite": {"logits_scaling": 4.0},
    "cohere2": {"sliding_window": 8},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}
ALONE: dict[str, dict[str, Any]] = {
    "falcon": {},
    "bloom": {"n_head": 4, "n_layer": 2},
    "stablelm": {},
    "mamba": {"state_size": 4},
}


@cache
def tiny(family: str) -> Any:
    """A random model of a family, its weights large enough that its answers do not repeat one token."""
    given = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3, "init_std": 0.3, **{**READ, **ALONE}[family],
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            transformers.AutoConfig.for_model(family, **given)
        )
    model.generation_config = transformers.GenerationConfig()  # type: ignore[no-untyped-call]
    return model.float().eval()


def prompts() -> list[list[int]]:
    """Nine prompts: five with a beginning in common, two of them equal, and some that have nothing to do with it."""
    draw = random.Random(1)
    trunk = [draw.randrange(45, VOCABULARY) for _ in range(20)]
    tails = [[draw.randrange(45, VOCABULARY) for _ in range(n)] for n in (1, 8, 3)]
    return [[7, 8, 9], *(trunk + tail for tail in tails), [50], [*trunk, 60], [*trunk, 60], [70] * 25, [71, 72] * 7]


def theirs(model: Any, prompt: list[int]) -> tuple[int, ...]:
    """What transformers generates greedily, the end token left out."""
    ids = torch.tensor([prompt])
    answer = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=LENGTH, do_sample=False, eos_token_id=sorted(STOP),
        pad_token_id=0,
    )[0, len(prompt) :].tolist()  # fmt: skip
    return tuple(answer[:-1] if answer[-1] in STOP else answer)


@pytest.mark.parametrize("family", [*READ, *ALONE])
def test_greedy_answers_equal_those_of_transformers(family: str) -> None:
    model = tiny(family)
    found = generate(model, prompts(), settings=GREEDY, stop_ids=STOP)
    assert [answer.ids for answer in found] == [theirs(model, prompt) for prompt in prompts()]
    assert all((answer.finished == "length") == (len(answer.ids) == LENGTH) for answer in found)


@pytest.mark.parametrize("family", ["mistral", "gpt_oss"])
def test_an_answer_does_not_depend_on_what_is_generated_beside_it(family: str) -> None:
    model = tiny(family)
    settings = GenerationSettings(max_new_tokens=8, temperature=0.9, top_p=0.8, seed=5)
    together = generate(model, prompts(), settings=settings, stop_ids=STOP)
    for fewer in ({"concurrency": 2}, {"cache_tokens": 60}):
        assert generate(model, prompts(), settings=settings.model_copy(update=fewer), stop_ids=STOP) == together
    alone = [generate(model, [prompt], settings=GREEDY, stop_ids=STOP)[0] for prompt in prompts()]
    assert generate(model, prompts(), settings=GREEDY, stop_ids=STOP) == alone


@pytest.mark.parametrize("family", READ)
def test_the_reader_is_used_where_it_is_exact(family: str) -> None:
    assert refusal(tiny(family), longest=40) is None


@pytest.mark.parametrize("family", ALONE)
def test_a_model_that_the_reader_does_not_compute_is_found_out(family: str) -> None:
    assert refusal(tiny(family), longest=40) is not None
