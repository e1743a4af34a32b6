"""What is measured on the validation set while a run goes on: the loss, the share of right tokens, and task metrics.

The decision: the questions are made of the encoded examples, once, so what is asked during training is what was
trained. Answers are greedy and of bounded length, and none depends on what is answered beside it; so a number is the
same whatever the batches are.
"""

from collections.abc import Mapping, Sequence

from tunesmith.evaluation.answering import items_of, suitable
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import LIKELIHOOD, METRICS, named
from tunesmith.evaluation.question import of_encoded
from tunesmith.run.prepare import TASK, Prepared, Ready
from tunesmith.tokens.encoded import EncodedExample
from tunesmith.training.step import Measured, Pass, measure

Numbers = Mapping[str, float]


class Validation:
    """Measures the model as it is now: `validation_loss`, `validation_accuracy`, and `task_NAME` where asked.

    The questions are made of the first of the examples, unless others are `asked`. `measured` and `items` are what was
    measured and answered last; no items where no metric asks for answers.
    """

    def __init__(
        self,
        prepared: Prepared,
        ready: Ready,
        examples: Sequence[EncodedExample],
        asked: Sequence[EncodedExample] | None = None,
    ) -> None:
        training = prepared.recipe.training
        self._how = Pass(training.micro_batch_tokens or 1, training.sharing)
        self._network, self.examples = ready.probe.network, examples
        self._encoder = prepared.encoder
        self.metrics = named(training.validation.metrics)
        asked = examples[: training.validation.answers] if asked is None else asked
        self.questions = of_encoded(prepared.encoder, asked if self.metrics else [])
        self._settings, _ = suitable(self.questions, None)
        self.measured: Measured | None = None
        self.items: list[Item] = []

    @property
    def asks(self) -> bool:
        """Whether it asks questions beside measuring the loss."""
        return bool(self.questions)

    def __call__(self) -> Numbers:
        found = self.measured = measure(self._network, self.examples, self._how)
        measured = {"validation_loss": found.loss, "validation_accuracy": found.accuracy}
        if self.questions:
            names = {metric.name for metric in self.metrics}
            self.items = items_of(
                self._network,
                self._encoder,
                self.questions,
                settings=self._settings if names - LIKELIHOOD else None,
                likelihood=bool(names & LIKELIHOOD),
            )
            measured |= {TASK + m.name: float(m.value(m.columns(self.items).sum(0))) for m in self.metrics}
        return measured


def higher_is_better(metric: str) -> bool:
    """Whether more of a number of the journal is better."""
    known = METRICS.get(metric.removeprefix(TASK)) if metric.startswith(TASK) else None
    return known.higher_is_better if known is not None else metric == "validation_accuracy"
