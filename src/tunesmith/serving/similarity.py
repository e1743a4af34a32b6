"""How alike two texts are, from 0 to 1, by the metrics that text graders name.

The decision: the counts are those of evaluation, so a grader and a report agree. `cosine` compares embeddings, which
nothing here makes; it is refused by name.
"""

from typing import Literal, get_args

from tunesmith.evaluation import overlap
from tunesmith.evaluation.item import Item

Metric = Literal[
    "cosine", "fuzzy_match", "bleu", "gleu", "meteor",
    "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l",
]  # fmt: skip
OFFERED = tuple(name for name in get_args(Metric) if name != "cosine")


def similarity(metric: Metric, text: str, reference: str) -> float:
    """The metric of a text against its reference.

    `fuzzy_match` is the share of characters in a longest common subsequence (rapidfuzz's ratio); `bleu` is sacrebleu's
    sentence score; `gleu` is nltk's (Wu et al., 2016, https://arxiv.org/abs/1609.08144); the others are F measures.
    """
    item = Item(text, reference)
    if metric == "fuzzy_match":
        from rapidfuzz import fuzz

        return fuzz.ratio(text, reference) / 100
    if metric == "gleu":
        from nltk.translate.gleu_score import sentence_gleu

        return float(sentence_gleu([reference.split()], text.split())) if text.split() else 0.0
    if metric == "bleu":
        return float(overlap.bleu(overlap.bleu_counts([item])[0])) / 100
    columns: overlap.Columns = (
        overlap.meteor if metric == "meteor" else overlap.rouge(metric.replace("_l", "L").replace("_", ""))
    )
    return float(columns([item])[0, 0])
