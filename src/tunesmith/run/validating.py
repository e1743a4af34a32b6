"""What is measured on the validation set while a run goes on: the loss, the share of right tokens, and task metrics.

The decision: the questions are made of the encoded examples, once, so what is asked during training is what was
trained. Answers are greedy and of bounded length, and none depends on what is answered beside it; so a number is the
same whatever the batches are.
"""

from collections.abc import Mapping

from tunesmith.evaluation.answering import items_of, suitable
from tunesmith.evaluation.item import Item
from tunesmith.evaluation.metrics import LIKELIHOOD, METRICS, named
from tunesmith.evaluation.question import of_encoded
from tunesmith.run.prepare import TASK, Prepared, Ready
from tunesmith.training.step import Pass, measure

Numbers = Mapping[str, float]


class Validation:
    """Measures the model as it is now: `validation_loss`, `validation_accuracy`, and `task_NAME` where asked.

    `items` are what was answered last; none where no metric asks for answers.
    """

    def __init__(self, prepared: Prepared, ready: Ready) -> None:
        training = prepared.recipe.training
        self._how = Pass(training.micro_batch_tokens or 1, training.sharing)
        self._network, self._examples = ready.probe.network, prepared.sets.validation
        self._encoder = prepared.encoder
        self._metrics = named(training.validation.metrics)
        asked = self._examples[: training.validation.answers] if self._metrics else []
        self._questions = of_encoded(prepared.encoder, asked)
        self._settings, _ = suitable(self._questions, None)
        self.items: list[Item] = []

    @property
    def asks(self) -> bool:
        """Whether it asks questions beside measuring the loss."""
        return bool(self._questions)

    def __call__(self) -> Numbers:
        found = measure(self._network, self._examples, self._how)
        measured = {"validation_loss": found.loss, "validation_accuracy": found.accuracy}
        if self._questions:
            names = {metric.name for metric in self._metrics}
            self.items = items_of(
                self._network,
                self._encoder,
                self._questions,
                settings=self._settings if names - LIKELIHOOD else None,
                likelihood=bool(names & LIKELIHOOD),
            )
            measured |= {TASK + m.name: float(m.value(m.columns(self.items).sum(0))) for m in self._metrics}
        return measured


def higher_is_better(metric: str) -> bool:
    """Whether more of a number of the journal is better."""
    known = METRICS.get(metric.removeprefix(TASK)) if metric.startswith(TASK) else None
    return known.higher_is_better if known is not None else metric == "validation_accuracy"
