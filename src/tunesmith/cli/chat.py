"""`tunesmith chat`: a conversation in the terminal.

The decision: the model's words go to stdout and everything else to stderr, so a conversation can be piped; a line
that opens with / is a command, and what is not a command says so instead of being sent to the model.
"""

import sys
from collections.abc import Iterator
from typing import Annotated, Protocol

import typer

from tunesmith.errors import UsageError

HELP = "/reset forgets the conversation, /system TEXT sets the system message, /quit (or Ctrl-D) leaves."


class Partner(Protocol):
    """Who answers: what this room needs of `run.chat.Chat`."""

    def reply(self, text: str) -> Iterator[str]:
        """The answer in pieces."""

    def reset(self) -> None:
        """Forget the conversation."""

    def system(self, text: str) -> None:
        """Set the system message."""


def chat(
    model: Annotated[str, typer.Argument(metavar="RUN|MODEL")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", show_default=False)] = None,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The system message; the run's own without.")
    ] = None,
) -> None:
    """Talk to a run or a model: /reset, /system TEXT, /quit.

    Settings are those of generation: `max_new_tokens=200`, `temperature=0.7`, `top_p=0.9`, `seed=1`.
    """
    from tunesmith.generation.settings import GenerationSettings
    from tunesmith.recipe.overrides import read_group
    from tunesmith.run.chat import DEFAULT, Chat

    converse(Chat(model, system, read_group(GenerationSettings, settings) if settings else DEFAULT))


def converse(partner: Partner) -> None:
    """Read lines from stdin and stream the answers until /quit or the end of input."""
    print(HELP, file=sys.stderr)
    while (line := _ask()) is not None:
        if line.startswith("/"):
            if not _obey(partner, line):
                return
        elif line:
            _answer(partner, line)


def _ask() -> str | None:
    print("> ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.strip() if line else None


def _obey(partner: Partner, line: str) -> bool:
    """Carry out a command; returns whether the conversation goes on."""
    command, _, rest = line.partition(" ")
    match command:
        case "/quit" | "/exit":
            return False
        case "/reset":
            partner.reset()
            print("Forgotten.", file=sys.stderr)
        case "/system":
            partner.system(rest.strip())
            print("System message set; the conversation starts anew.", file=sys.stderr)
        case _:
            print(f"{command} is not a command. {HELP}", file=sys.stderr)
    return True


def _answer(partner: Partner, line: str) -> None:
    try:
        for piece in partner.reply(line):
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        # Ctrl-C ends a long answer, not the conversation.
        print(" (interrupted)", end="", file=sys.stderr)
    except UsageError as error:
        print(error, file=sys.stderr)
    print()
