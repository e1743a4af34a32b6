"""What is measured on the validation set while a run goes on: the loss, the share of right tokens, and task metrics.

The decision: the questions are made of the encoded examples, once, so what is asked during training is what was
trained. Answers are greedy and of bounded length, and none depends on what is answered beside it; so a number is the
same whatever the batches are.
"""

from collections.abc import Callable, Mapping

from tunesmith.evaluation.answering import items_of, suitable
from tunesmith.evaluation.metrics import LIKELIHOOD, METRICS, named
from tunesmith.evaluation.question import of_encoded
from tunesmith.run.prepare import TASK, Prepared, Ready
from tunesmith.training.step import Pass, measure

Numbers = Mapping[str, float]


def validation(prepared: Prepared, ready: Ready) -> Callable[[], Numbers]:
    """What measures the model as it is now: `validation_loss`, `validation_accuracy`, and `task_NAME` where asked."""
    training = prepared.recipe.training
    how = Pass(training.micro_batch_tokens or 1, training.sharing)
    network, examples = ready.probe.network, prepared.sets.validation
    metrics = named(training.validation.metrics)
    names = {metric.name for metric in metrics}
    questions = of_encoded(prepared.encoder, examples[: training.validation.answers]) if metrics else []
    settings, _ = suitable(questions, None)

    def numbers() -> Numbers:
        found = measure(network, examples, how)
        measured = {"validation_loss": found.loss, "validation_accuracy": found.accuracy}
        if questions:
            items = items_of(
                network,
                prepared.encoder,
                questions,
                settings=settings if names - LIKELIHOOD else None,
                likelihood=bool(names & LIKELIHOOD),
            )
            measured |= {TASK + m.name: float(m.value(m.columns(items).sum(0))) for m in metrics}
        return measured

    return numbers


def higher_is_better(metric: str) -> bool:
    """Whether more of a number of the journal is better."""
    known = METRICS.get(metric.removeprefix(TASK)) if metric.startswith(TASK) else None
    return known.higher_is_better if known is not None else metric == "validation_accuracy"
