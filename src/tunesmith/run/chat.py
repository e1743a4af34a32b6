"""Chat: a conversation with a model or a run, streamed.

The decision: the conversation is a list of messages, and every answer is the model's to exactly the prompt that the
template writes for them. What was read for earlier turns is used again wherever the prompt still begins the same.
"""

from collections.abc import Iterator

from tunesmith.data.example import Message
from tunesmith.generation.pieces import Pieces
from tunesmith.generation.settings import GenerationSettings
from tunesmith.generation.stream import Stream
from tunesmith.run.opened import Opened, Say, open_model, to_stderr

DEFAULT = GenerationSettings(max_new_tokens=1024)


class Chat:
    """One conversation. An answer that is broken off stays in it as far as it was said."""

    def __init__(
        self,
        model_or_run: str | Opened,
        system: str | None = None,
        settings: GenerationSettings = DEFAULT,
        *,
        say: Say = to_stderr,
    ) -> None:
        opened = open_model(model_or_run, say=say) if isinstance(model_or_run, str) else model_or_run
        self._encoder = opened.encoder
        self._stream = Stream(opened.model, settings, opened.encoder.stop_ids)
        self._system = opened.system if system is None else system
        self._said: list[Message] = []

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation so far, the system message first."""
        opening = [Message("system", self._system)] if self._system else []
        return (*opening, *self._said)

    def reply(self, text: str) -> Iterator[str]:
        """The answer to `text`, in pieces of whole characters.

        Raises:
            UsageError: the conversation fills the model's context.
            TemplateError: the template refuses the conversation.
        """
        asked = [*self.messages, Message("user", text)]
        tokens = self._stream.answer(self._encoder.prompt(asked))
        pieces = Pieces(self._encoder.tokenizer.decode)
        spoken: list[str] = []
        try:
            for token in tokens:
                spoken.append(pieces.add(token))
                if spoken[-1]:
                    yield spoken[-1]
            spoken.append(pieces.rest())
            if spoken[-1]:
                yield spoken[-1]
        finally:
            if spoken:
                self._said += [Message("user", text), Message("assistant", "".join(spoken))]

    def reset(self) -> None:
        """Forget the conversation; the system message stays."""
        self._said = []

    def system(self, text: str) -> None:
        """Set the system message (empty for none) and begin anew."""
        self._system = text
        self._said = []
