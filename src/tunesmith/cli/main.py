"""The `tunesmith` command: its groups, and the one place where an error becomes a sentence and an exit code.

The decision: stdout is data and stderr is talk; a mistake of the user is one sentence without a traceback; nothing
heavy is imported before a command runs, so `--help` answers at once.

Exit codes: 0 done, 1 failure, 2 usage, 3 data, 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from tunesmith.cli import (
    audit,
    chat,
    compare,
    data,
    evaluate,
    export,
    generate,
    harness,
    jobs,
    judge,
    models,
    profile,
    recipe,
    retain,
    selftest,
    serve,
    train,
)
from tunesmith.errors import TunesmithError

app = typer.Typer(
    name="tunesmith",
    help="Fine-tune a language model on examples, and see what came of it.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("judge")(judge.judge)
app.command("lm-eval", context_settings=harness.PASSED_ON)(harness.lm_eval)
app.command("audit")(audit.audit)
app.command("retain")(retain.retain)
app.command("generate")(generate.generate)
app.command("chat")(chat.chat)
app.command("export")(export.export)
app.command("selftest")(selftest.selftest)
app.command("profile")(profile.profile)
app.add_typer(serve.app, name="serve")
app.add_typer(jobs.app, name="jobs")
app.add_typer(serve.keys, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(recipe.app, name="recipe")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("tunesmith"))
        raise typer.Exit


@app.callback()
def settings_of_every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """What may stand before every command."""
    if debug:
        os.environ["TUNESMITH_DEBUG"] = "1"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave the process with its exit code; `arguments` default to the process's own."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code, having said on stderr what went wrong."""
    try:
        code = _command(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; Python's own flush at exit must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except TunesmithError as error:
        return _fail(error, str(error), error.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(error, f"{place}{error.strerror or error}.", 1)
    except Exception as error:
        return _fail(error, f"this is a bug in Tunesmith ({type(error).__name__}: {error}). Show it with --debug.", 1)


def _command(arguments: Sequence[str] | None) -> int:
    try:
        app(args=None if arguments is None else list(arguments), prog_name="tunesmith")
    except SystemExit as end:
        # typer ends every command so: 0 when it is done, 2 for a wrong usage, 130 when it was interrupted.
        return end.code if isinstance(end.code, int) else 0
    return 0


def _fail(error: Exception, sentence: str, code: int) -> int:
    print(f"Error: {sentence}", file=sys.stderr)
    if os.environ.get("TUNESMITH_DEBUG"):
        traceback.print_exception(error)
    return code
