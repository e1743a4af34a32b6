"""How much of a text is that of its reference: BLEU, chrF, ROUGE, METEOR, named entities, and the meaning by MiniLM.

The decision: each is counted item by item in numbers that add up, and its formula works on sums; so the one bootstrap
gives intervals for corpus scores too. sacrebleu counts BLEU's n-grams and has its formula, rouge-score and nltk score
single items; the libraries are loaded when the metric is asked for.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tunesmith.evaluation import parsing
from tunesmith.evaluation.intervals import Array
from tunesmith.evaluation.item import Item

_ORDER = 6
_BETA = 2.0
_TAG = re.compile(r"O|[BI]-\S+")

Columns = Callable[[Sequence[Item]], Array]


def bleu_counts(items: Sequence[Item]) -> Array:
    """[n, 10]: matched and possible n-grams of 1 to 4 words, and the lengths of answer and reference.

    Tokens are sacrebleu's (`13a`); so is the score (Post, 2018, https://arxiv.org/abs/1804.08771).
    """
    from sacrebleu.metrics.bleu import BLEU

    scorer = BLEU(effective_order=True)
    found = [scorer.sentence_score(item.answer, [item.reference]) for item in items]
    return np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in found], dtype=np.float64).reshape(-1, 10)


def bleu(sums: Array) -> Array:
    """BLEU from 0 to 100, smoothed as sacrebleu does by default, of summed `bleu_counts`."""
    from sacrebleu.metrics.bleu import BLEU

    def one(row: Array) -> float:
        counts = [round(float(number)) for number in row]
        score = BLEU.compute_bleu(counts[:4], counts[4:8], counts[8], counts[9], smooth_method="exp")
        return float(score.score)

    return np.apply_along_axis(one, -1, sums)


def chrf_counts(items: Sequence[Item]) -> Array:
    """[n, 18]: for runs of 1 to 6 characters those of the answer, of the reference, and of both; no white space."""
    return np.array([list(_runs(item)) for item in items], dtype=np.float64).reshape(-1, 3 * _ORDER)


def _runs(item: Item) -> Iterator[int]:
    answer, reference = ("".join(text.split()) for text in (item.answer, item.reference))
    for n in range(1, _ORDER + 1):
        a, b = (Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in (answer, reference))
        # Where the reference has no run so long, the answer's say nothing.
        yield from (a.total() if b else 0, b.total(), (a & b).total())


def chrf(sums: Array) -> Array:
    """chrF2 from 0 to 100 of summed `chrf_counts` (Popović, 2015, https://aclanthology.org/W15-3049), as sacrebleu."""
    answer, reference, both = np.moveaxis(sums.reshape(*sums.shape[:-1], _ORDER, 3), -1, 0)
    counted = (answer > 0) & (reference > 0)
    orders = np.maximum(counted.sum(-1), 1)
    precision = (np.divide(both, answer, out=np.zeros_like(both), where=counted)).sum(-1) / orders
    recall = (np.divide(both, reference, out=np.zeros_like(both), where=counted)).sum(-1) / orders
    under = _BETA**2 * precision + recall
    score: Array = 100 * np.divide(
        (1 + _BETA**2) * precision * recall, under, out=np.zeros_like(under), where=under > 0
    )
    return score


def rouge(kind: str) -> Columns:
    """[n, 2]: the F measure of rouge-score for `rouge1`, `rouge2` or `rougeL`, without stemming, and 1.

    Lin, 2004, https://aclanthology.org/W04-1013.
    """

    def columns(items: Sequence[Item]) -> Array:
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer([kind])
        return _means([scorer.score(item.reference, item.answer)[kind].fmeasure for item in items])

    return columns


class _NoSynonyms:
    """A dictionary without entries, in the place of WordNet, which would have to be fetched."""

    @staticmethod
    def synsets(word: str) -> list[Any]:
        """No meaning at all."""
        return []


def meteor(items: Sequence[Item]) -> Array:
    """[n, 2]: METEOR by equal words and equal stems alone, without synonyms (offline form), and 1.

    Banerjee & Lavie, 2005, https://aclanthology.org/W05-0909.
    """
    from nltk.translate.meteor_score import single_meteor_score

    words = [(item.reference.split(), item.answer.split()) for item in items]
    return _means([float(single_meteor_score(a, b, wordnet=_NoSynonyms())) if a and b else 0.0 for a, b in words])


def minilm(items: Sequence[Item]) -> Array:
    """[n, 2]: cosine of the meanings of answer and reference as all-MiniLM-L6-v2 has them, and 1.

    Each text's first 256 tokens count. An empty answer means nothing, so it has 0.
    """
    from tunesmith.models.sentences import vectors

    texts = list(dict.fromkeys(text for item in items for text in (item.answer, item.reference)))
    places = {text: place for place, text in enumerate(texts)}
    meanings = vectors(texts)
    pairs = [(item.answer, item.reference) for item in items]
    return _means([float(meanings[places[a]] @ meanings[places[b]]) if a.strip() else 0.0 for a, b in pairs])


def _means(scores: Sequence[float]) -> Array:
    return np.array([(score, 1.0) for score in scores], dtype=np.float64).reshape(-1, 2)


def entity_counts(items: Sequence[Item]) -> Array:
    """[n, 3]: entities that are right, that the answer names, that the reference names."""
    pairs = [(entities(item.answer), entities(item.reference)) for item in items]
    return np.array([((a & b).total(), a.total(), b.total()) for a, b in pairs], dtype=np.float64).reshape(-1, 3)


def entity_f1(sums: Array) -> Array:
    """2 · right / (named by the answer + by the reference), over all items together, as seqeval's micro average."""
    under = sums[..., 1] + sums[..., 2]
    score: Array = np.divide(2 * sums[..., 0], under, out=np.zeros_like(under), where=under > 0)
    return score


def entities(text: str) -> Counter[tuple[str, ...]]:
    """The entities that a text names: IOB2 tags between spaces, or JSON (a list of objects, or type → texts).

    An entity of tags is its type and its places; one of JSON is its type and its text.
    """
    tags = text.split()
    if tags and all(_TAG.fullmatch(tag) for tag in tags):
        return Counter(_of_tags(tags))
    try:
        value = parsing.json_value(text)
    except parsing.NotJson:
        return Counter()
    if isinstance(value, dict):
        named = [
            (kind, one) for kind, texts in value.items() for one in (texts if isinstance(texts, list) else [texts])
        ]
        return Counter((kind, str(one)) for kind, one in named if one is not None)
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    return Counter(tuple(f"{key}={row[key]}" for key in sorted(row)) for row in rows)


def _of_tags(tags: Sequence[str]) -> Iterator[tuple[str, ...]]:
    start = 0
    for place in range(1, len(tags) + 1):
        goes_on = place < len(tags) and tags[place].startswith("I-") and tags[place][2:] == tags[start][2:]
        if goes_on and tags[start] != "O":
            continue
        if tags[start] != "O":
            yield tags[start][2:], str(start), str(place)
        start = place
