"""Every error that Tunesmith raises on purpose.

The decision: one tree, and each leaf says where, what was expected and what to do. A door (CLI, HTTP) prints the
message of a `TunesmithError` and exits with its `exit_code`; anything else is a bug and keeps its traceback.
"""


class TunesmithError(Exception):
    """A mistake or failure that the user can act on; the message is written for them."""

    exit_code = 1


class UsageError(TunesmithError):
    """What was asked for is not possible as it was written: a wrong option, name or value."""

    exit_code = 2


class RecipeError(UsageError):
    """A setting is unknown, has a wrong type or value, or contradicts another."""


class DataError(TunesmithError):
    """The data cannot be used as they are; names file, line and remedy."""

    exit_code = 3


class TemplateError(DataError):
    """The chat template cannot render the conversation, or not in a way that can be supervised with certainty."""


class ModelError(TunesmithError):
    """A model folder, its weights or its tokenizer cannot be used."""


class TrainingError(TunesmithError):
    """Training had to stop: a loss that is not finite, a method with nothing to train."""


class CheckpointError(TunesmithError):
    """A checkpoint is missing, damaged, or does not belong to this run."""


class Interrupted(TunesmithError):
    """Somebody asked a run to end; it ended after a step, saved, and can be resumed."""

    exit_code = 130


class RequestError(UsageError):
    """A request over HTTP that cannot be granted: its status, a code for programs, and the parameter that is meant."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
