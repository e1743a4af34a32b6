"""Whether the runs of a study differ by more than chance on their validation set, example by example.

The decision: a run's model answers the validation set once more when the run has ended, and what the metric adds up of
each example is kept beside the run, under the sum of the weights that gave it. So a study that goes on loads no model
again, and a run that was trained further is measured anew.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith import disk
from tunesmith.evaluation.answering import items_of, suitable
from tunesmith.evaluation.compare import Comparison, compare_columns
from tunesmith.evaluation.intervals import Array
from tunesmith.evaluation.metrics import LIKELIHOOD, METRICS, Metric
from tunesmith.evaluation.question import of_encoded
from tunesmith.models.forward import Network
from tunesmith.run.folder import SUMS, weights_of
from tunesmith.run.opened import Say, open_model
from tunesmith.run.prepare import TASK, Prepared
from tunesmith.run.validating import higher_is_better
from tunesmith.training import durable
from tunesmith.training.step import Pass, measure

EXAMPLES = "examples.json"


def compared(
    runs: Mapping[str, Path], first: str, metric: str, prepared: Callable[[], Prepared], say: Say
) -> dict[str, Comparison]:
    """The run of the way `first` against that of each other way, by a `metric` of the journal.

    `prepared` gives the validation set that all runs share; it is called where a run has not been measured yet.
    """
    others = [way for way in runs if way != first]
    columns = [_columns(runs[way], metric, prepared, say) for way in (first, *others)]
    return dict(zip(others, compare_columns(_metric(metric), columns), strict=True))


def _metric(name: str) -> Metric:
    if name.startswith(TASK):
        return METRICS[name.removeprefix(TASK)]
    return Metric(name, 1, "of all targets", np.asarray, kind="ratio", higher_is_better=higher_is_better(name))


def _columns(run: Path, metric: str, prepared: Callable[[], Prepared], say: Say) -> Array:
    """What the metric adds up of each validation example, [n, k], as it was kept or measured now."""
    weights = weights_of(run)[0]
    of = f"{metric} {disk.sha256_of(weights / SUMS)}"
    kept: Any = durable.read_sealed(run / EXAMPLES)
    if kept is None or kept["of"] != of:
        opened = open_model(str(run), say=say)
        of_all = prepared()
        kept = {"of": of, "columns": _measured(opened.network(of_all.sets.longest), metric, of_all).tolist()}
        durable.write_sealed(run / EXAMPLES, kept)
    return np.asarray(kept["columns"], dtype=np.float64)


def _measured(network: Network, metric: str, prepared: Prepared) -> Array:
    training, examples = prepared.recipe.training, prepared.sets.validation
    if metric.startswith(TASK):
        chosen = METRICS[metric.removeprefix(TASK)]
        asked = of_encoded(prepared.encoder, examples[: training.validation.answers])
        read = chosen.name in LIKELIHOOD
        settings = None if read else suitable(asked, None)[0]
        return chosen.columns(items_of(network, prepared.encoder, asked, settings=settings, likelihood=read))
    how = Pass(training.micro_batch_tokens or 1, training.sharing)
    weights = np.array([example.target_weight for example in examples], dtype=np.float64)
    if metric == "validation_loss":
        shares = np.array(measure(network, examples, how).example_loss)
    else:
        shares = np.array([measure(network, [example], how).accuracy for example in examples])
    return np.stack([shares * weights, weights], axis=1)
