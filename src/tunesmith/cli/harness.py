"""`tunesmith lm-eval`: lm-evaluation-harness on a run or a model of ours."""

from typing import Annotated

import typer

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""How a command takes options that another program reads."""


def lm_eval(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="RUN|MODEL")],
) -> None:
    """Run lm-evaluation-harness's tasks, where it is installed; every further option is one of `lm_eval run`.

    The harness keeps tasks, prompts and scores (`--tasks`, `--num_fewshot`, `--include_path`, `--limit`, …); the model
    answers, and what its requests share is read once. In Python: `tunesmith.run.harness.register()`, then
    `lm_eval.simple_evaluate(model="tunesmith", model_args="pretrained=RUN")`.
    """
    from tunesmith.run.harness import main

    main(model, context.args)
