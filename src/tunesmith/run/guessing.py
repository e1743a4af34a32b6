"""The metric of a run whose recipe names none: guessed from the references where answers are labels, and said aloud.

The decision: it is only measured where it is cheap (labels are a few tokens), beside the loss; what chooses the best
checkpoint and ends a run stays what it was. Being a resolved setting like others, it stands in the run's recipe with
its reason, and a resumed run guesses nothing.
"""

from tunesmith.batches.order import permutation
from tunesmith.evaluation.metrics import guessed
from tunesmith.evaluation.question import of_encoded
from tunesmith.recipe import Loaded
from tunesmith.run.examples import Sets
from tunesmith.tokens.encode import Encoder

METRIC = "accuracy"
LONGEST = 32
"""Tokens of the longest reference, its end token among them."""
FEWEST, ANSWERS = 8, 64
"""Questions below which a share of right answers says too little, and the most that are asked where nobody asked."""
LOOKED_AT = 256
"""Training examples whose references are looked at, drawn because a file may be sorted by label."""
_METRICS, _ANSWERS = "training.validation.metrics", "training.validation.answers"


def with_guess(loaded: Loaded, sets: Sets, encoder: Encoder) -> Loaded:
    """The recipe with `accuracy` among its metrics where it leaves them open and the references are short labels."""
    if loaded.origins[_METRICS].source != "default" or loaded.recipe.training.validation.metrics:
        return loaded
    if len(sets.validation or sets.test) < FEWEST:
        return loaded
    places = permutation(0, 0, len(sets.train))[:LOOKED_AT]
    asked = of_encoded(encoder, [sets.train[int(place)] for place in places])
    if len(asked) < len(places) or max(question.targets for question in asked) > LONGEST:
        return loaded
    (deciding, *_), why = guessed([question.reference for question in asked])
    if deciding.name != METRIC:
        return loaded
    loaded = loaded.resolve(_METRICS, [METRIC], f"guessed: {why}; it chooses nothing, and [] measures none")
    if loaded.origins[_ANSWERS].source == "default":
        loaded = loaded.resolve(_ANSWERS, ANSWERS, "enough for a metric that was guessed")
    return loaded
