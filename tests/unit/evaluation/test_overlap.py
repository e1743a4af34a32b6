from collections import Counter

import numpy as np
import pytest
from nltk.translate.meteor_score import single_meteor_score
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import METRICS, score
from tunesmith.evaluation.overlap import entities
from tunesmith.models import sentences

PAIRS = [
    ("the cat sat on the mat", "the cat is on the mat"),
    ("a quick brown dog, jumping over it", "the quick brown fox jumped over the lazy dog"),
    ("", "nothing was said here at all"),
    ("ab", "abc"),
    ("completely different words stand here now", "this sentence shares very little with that one"),
]
ITEMS = [Item(answer, reference) for answer, reference in PAIRS]
ANSWERS, REFERENCES = [a for a, _ in PAIRS], [[r for _, r in PAIRS]]


def test_bleu_is_sacrebleus() -> None:
    assert score(METRICS["bleu"], ITEMS).value == pytest.approx(BLEU().corpus_score(ANSWERS, REFERENCES).score)


def test_chrf_is_sacrebleus() -> None:
    assert score(METRICS["chrf"], ITEMS).value == pytest.approx(CHRF().corpus_score(ANSWERS, REFERENCES).score)
    for item in ITEMS:
        alone = CHRF().sentence_score(item.answer, [item.reference]).score
        assert score(METRICS["chrf"], [item]).value == pytest.approx(alone)


def test_rouge_counts_words_pairs_and_the_longest_sequence() -> None:
    found = {name: score(METRICS[name], ITEMS[:1]).value for name in ("rouge1", "rouge2", "rougeL")}
    assert found == {"rouge1": pytest.approx(5 / 6), "rouge2": pytest.approx(3 / 5), "rougeL": pytest.approx(5 / 6)}


def test_meteor_takes_equal_stems_but_no_synonyms() -> None:
    class Empty:
        @staticmethod
        def synsets(word: str) -> list[object]:
            return []

    answer, reference = ["the", "dog", "jumped", "quickly"], ["the", "dogs", "jump", "quickly"]
    expected = single_meteor_score(reference, answer, wordnet=Empty())
    found = score(METRICS["meteor_offline"], [Item(" ".join(answer), " ".join(reference))]).value
    assert found == pytest.approx(expected)
    assert found > 0.9


def test_entities_are_read_from_tags_and_from_json() -> None:
    assert entities("O B-PER I-PER O B-LOC") == Counter({("PER", "1", "3"): 1, ("LOC", "4", "5"): 1})
    assert entities('{"person": ["Ann", "Bo"], "place": "Ulm"}') == Counter(
        {("person", "Ann"): 1, ("person", "Bo"): 1, ("place", "Ulm"): 1}
    )
    assert entities('[{"text": "Ann", "type": "person"}]') == entities('[{"type": "person", "text": "Ann"}]')
    assert entities("Ann lives in Ulm.") == Counter()


def test_entity_f1_is_seqevals() -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    tags = [
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC"),
        ("B-PER O O B-LOC B-LOC", "B-PER I-PER O B-LOC I-LOC"),
        ("O O B-ORG", "B-ORG O B-ORG"),
    ]
    expected = seqeval.f1_score([r.split() for _, r in tags], [a.split() for a, _ in tags])
    assert score(METRICS["entity_f1"], [Item(a, r) for a, r in tags]).value == pytest.approx(expected)


def test_the_similarity_is_the_cosine_of_the_meanings_and_0_of_an_empty_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    meanings = {"a": (1.0, 0.0), "b": (0.6, 0.8), "": (1.0, 0.0)}
    monkeypatch.setattr(sentences, "vectors", lambda texts: np.array([meanings[text] for text in texts]))
    items = [Item("a", "a"), Item("a", "b"), Item("", "a")]
    found = score(METRICS["minilm_similarity"], items)
    assert found.value == pytest.approx((1 + 0.6 + 0) / 3)
