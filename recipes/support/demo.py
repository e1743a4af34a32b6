"""What `make demo` does: fine-tune the default model on the sample data, and show what that changed.

    python recipes/support/demo.py

Everything goes through the verbs that the command line uses. What is finished stays in runs/demo, so a second run
only shows it again.
"""

import os
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunesmith.errors import TunesmithError
from tunesmith.evaluation.intervals import mcnemar, paired_bootstrap
from tunesmith.evaluation.item import Item, load_items
from tunesmith.evaluation.metrics import METRICS, score
from tunesmith.models.sources import pull
from tunesmith.recipe import load_recipe
from tunesmith.run.evaluate import evaluate
from tunesmith.run.train import train
from tunesmith.training.curves import drawing
from tunesmith.training.journal import read

HERE = Path(__file__).parent
RECIPE, TEST = HERE / "recipe.yaml", HERE / "test.jsonl"
RUN = Path("runs/demo")
SHOWN = {"json_match": "all four fields right", "json_fields": "fields right", "json_valid": "valid JSON"}
DECIDING = METRICS["json_match"]
console = Console(highlight=False, markup=False)


def say(text: str) -> None:
    """`text` stands on stdout as it is; a path is not broken over two lines."""
    console.print(text, soft_wrap=True)


def main() -> None:
    """The whole demonstration, from nothing to the commands to go on with."""
    began = time.perf_counter()
    loaded = load_recipe(str(RECIPE), [f"run={RUN}"])
    model = loaded.recipe.model
    say(f"base model: {model} in {pull(model).folder}")
    if (RUN / "report.json").exists():
        say(f"{RUN} is finished and is used as it is; remove it to train again.")
    else:
        train(loaded, resume="auto")
    before, after = answered(model, RUN / "test-base"), answered(str(RUN), RUN / "test-tuned")
    say(drawing(read(RUN / "metrics.jsonl")))
    say(f"as a picture: {RUN / 'loss.png'}")
    console.print(table(before, after))
    say(difference(before, after))
    console.print(side_by_side(before[:3], after[:3]))
    say(f"{time.perf_counter() - began:.0f} seconds in all. Go on with:")
    for command in (
        f"tunesmith chat {RUN}",
        f"tunesmith evaluate {RUN} --data {os.path.relpath(TEST)}",
        f"tunesmith export {RUN} --to exported --merge",
    ):
        say(f"  {command}")


def answered(model: str, folder: Path) -> list[Item]:
    """The answers of a model to the held-out messages: from `folder`, or generated now and kept there."""
    # Written last, so a folder that has it is whole.
    if not (folder / "evaluation.json").exists():
        evaluate(model, str(TEST), metrics=tuple(SHOWN), out=folder, say=say)
    return load_items(folder / "scores.jsonl")


def table(before: list[Item], after: list[Item]) -> Table:
    """The scores of both with their 95 % intervals."""
    shown = Table(title=f"{len(after)} held-out messages: wording, products and people not in the training data")
    for heading in ("", "base", "tuned"):
        shown.add_column(heading, justify="left" if not heading else "right")
    for name, meaning in SHOWN.items():
        scores = [score(METRICS[name], items) for items in (before, after)]
        shown.add_row(meaning, *(f"{s.value:.1%}  [{s.low:.1%} – {s.high:.1%}]" for s in scores))
    return shown


def difference(before: list[Item], after: list[Item]) -> str:
    """One sentence: by how much the tuned model is better, and how sure that is."""
    left, right = DECIDING.columns(before), DECIDING.columns(after)
    low, high = paired_bootstrap(left, right, DECIDING.value)
    won, lost = (int((a[:, 0] > b[:, 0]).sum()) for a, b in ((right, left), (left, right)))
    gain = float(DECIDING.value(right.sum(0)) - DECIDING.value(left.sum(0)))
    return f"difference: {gain:+.1%}, 95 % interval {low:+.1%} to {high:+.1%} (McNemar's p = {mcnemar(lost, won):.1g})"


def side_by_side(before: list[Item], after: list[Item]) -> Table:
    """The same messages answered by both."""
    shown = Table(title="unseen messages", show_lines=True)
    for heading in ("message", "base", "tuned"):
        shown.add_column(heading, ratio=1, overflow="fold")
    for base, tuned in zip(before, after, strict=True):
        shown.add_row(*(Text(text) for text in (base.prompt, base.answer[:300], tuned.answer)))
    return shown


if __name__ == "__main__":
    try:
        main()
    except TunesmithError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
