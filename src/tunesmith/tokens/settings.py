"""What a recipe may say about how conversations become tokens and targets."""

from typing import Literal

from pydantic import Field

from tunesmith.settings import Settings


class SupervisionSettings(Settings):
    """Which words are learned, and how conversations are written as text."""

    train_on: Literal["assistant", "last_assistant", "all"] = "assistant"
    """Whose words are learned where a message has no weight of its own."""
    chat_template: str | None = None
    """A file with a Jinja chat template, or the name of a built-in one (`chatml`); the model's own when absent."""
    rewritten_turns: Literal["stop", "split"] = "stop"
    """What to do where the template writes an earlier answer otherwise than it is generated (without its reasoning,
    with another end token): stop, or learn such an answer at the end of a conversation of its own."""
    max_length: int | None = Field(default=None, ge=2)
    """The longest example in tokens; the model's context when absent."""
