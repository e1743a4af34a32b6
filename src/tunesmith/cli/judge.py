"""`tunesmith judge`: free answers judged by another model."""

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.printing import print_json


def judge(
    model: Annotated[str, typer.Argument(metavar="RUN|MODEL|URL#MODEL")],
    by: Annotated[str, typer.Option(metavar="MODEL", help="The judge: a model here, or an endpoint (URL#MODEL).")],
    task: Annotated[str, typer.Option(metavar="NAME", help="alpaca_eval or mt_bench.")] = "alpaca_eval",
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|FILE", help="Another model to win against, or a file of AlpacaEval (gpt4_1106_preview.json)."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many questions.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to keep every answer and verdict.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: {scores, warnings}.")] = False,
) -> None:
    """Let a model answer open questions, and another one judge the answers, with guards of the judge.

    Every pair is judged in both orders; an answer that says nothing is judged too, and how often the longer one wins is
    told. A win rate of alpaca_eval is raw and by a prompt of our own, so it is none of the published ones. The key of
    an endpoint is read from TUNESMITH_ENDPOINT_KEY or OPENAI_API_KEY.
    """
    from tunesmith.run.judge import judge as run_judge

    found = run_judge(model, task, by, against=against, limit=limit, out=out)
    if as_json:
        print_json(found.as_dict())
        return
    for name, score in found.scores.items():
        print(f"{name:<20} {score.value:.4f} [{score.low:.4f}, {score.high:.4f}]  {score.items} items")
