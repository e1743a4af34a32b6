"""lm-evaluation-harness asks a model of ours: `lm_eval --model tunesmith`, for suites that are written for it.

The decision: the harness keeps its tasks, prompts and scores, and we answer its three kinds of requests with the ids
that its own `hf` model would read, so numbers agree; what requests share is read once. The harness is not needed to
import this; `register` puts our model beside its own where it is installed. Written against 0.4.13.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from tunesmith.data.example import Message
from tunesmith.errors import TunesmithError, UsageError
from tunesmith.generation.decode import generate
from tunesmith.generation.scoring import Choice, Scored, scored
from tunesmith.generation.settings import GenerationSettings
from tunesmith.generation.until import Until, cut
from tunesmith.models.context import context_length
from tunesmith.run.opened import open_model

NAME = "tunesmith"
ANSWER_TOKENS = 256
"""The longest answer where a task names none, as the harness's own models have it."""
Pair = tuple[Any, list[int], list[int]]


class HarnessModel:
    """What the harness asks of a model, on a run, a folder or a name. `register` puts it on the harness's own base."""

    cache_hook: Any
    """The harness's own: where it keeps answers, if it was asked to."""

    def __init__(self, pretrained: str, batch_size: object = None, device: object = None, **unknown: object) -> None:
        if unknown:
            raise UsageError(
                f"{', '.join(unknown)}: not an argument of the model tunesmith. Give pretrained=RUN|MODEL."
            )
        super().__init__()
        self._opened = open_model(pretrained)
        self.max_length = context_length(self._opened.model.config)
        self.batch_size = batch_size

    @property
    def tokenizer_name(self) -> str:
        """What the harness names its cached prompts after."""
        return str(self._opened.folder).replace("/", "__")

    @property
    def eot_token_id(self) -> int:
        """The end-of-text token."""
        words = self._opened.encoder.tokenizer
        return words.eos_id if words.eos_id is not None else min(words.stop_ids)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context."""
        start = self._opened.encoder.tokenizer.bos_id
        return self.eot_token_id if start is None else start

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_given: object) -> list[int]:
        """The ids of a text; control tokens are recognised in it, because prompts of the harness are whole texts."""
        words = self._opened.encoder.tokenizer
        ids = words.encode(string, special=True)
        begins = words.adds_bos if add_special_tokens is None else add_special_tokens and words.bos_id is not None
        if not begins or words.bos_id is None or ids[:1] == [words.bos_id]:
            return ids
        return [words.bos_id, *ids]

    def apply_chat_template(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of a conversation up to the answer, by the template that was trained."""
        if not add_generation_prompt:
            raise UsageError(
                "The model tunesmith does not begin answers for a model (prefill of the assistant's turn)."
            )
        ids = self._opened.encoder.prompt([Message(turn["role"], turn["content"]) for turn in chat_history])
        return str(self._opened.encoder.tokenizer.decode(ids))

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's own text, for the harness's record."""
        return self._opened.encoder.tokenizer.chat_template if chat_template else None

    def _loglikelihood_tokens(self, requests: Sequence[Pair], **_given: object) -> list[tuple[float, bool]]:
        """For each request the log-probability of its continuation, and whether the model would have written it."""
        found = [(one.nats, one.greedy) for one in self._scored([(before, after) for _, before, after in requests])]
        for (texts, _, _), answer in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", texts, answer)
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], **_given: object) -> list[float]:
        """The log-probability of each whole text, in windows where it is longer than the context."""
        texts = [request.args[0] for request in requests]
        windows = [rolling(self.tok_encode(text), self.prefix_token_id, self.max_length) for text in texts]
        each = iter(self._scored([window for of_text in windows for window in of_text]))
        found = [math.fsum(next(each).nats for _ in of_text) for of_text in windows]
        for text, nats in zip(texts, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), nats)
        return found

    def generate_until(self, requests: Sequence[Any], **_given: object) -> list[str]:
        """The answer to each request, up to the first of the texts at which it ends."""
        wanted = [wishes(request.args[1]) for request in requests]
        found = [""] * len(requests)
        for asked in dict.fromkeys(wanted):
            places = [place for place, other in enumerate(wanted) if other == asked]
            texts = self._written([requests[place].args[0] for place in places], *asked)
            for place, text in zip(places, texts, strict=True):
                found[place] = text
                self.cache_hook.add_partial("generate_until", requests[place].args, text)
        return found

    def _scored(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Scored]:
        """Each continuation after its context, of which as much is read as the model can hold."""
        choices = [Choice(before[-max(1, self.max_length + 1 - len(after)) :], [after]) for before, after in pairs]
        network = self._opened.network(max((len(c.prompt) + len(c.options[0]) for c in choices), default=1))
        return [found for (found,) in scored(network, choices)]

    def _written(self, prompts: Sequence[str], settings: GenerationSettings, texts: tuple[str, ...]) -> list[str]:
        encoder = self._opened.encoder
        until = Until(encoder.tokenizer, texts)
        room = max(1, self.max_length - settings.max_new_tokens)
        ids = [self.tok_encode(prompt)[-room:] for prompt in prompts]
        answers = generate(
            self._opened.model, ids, settings=settings, stop_ids=encoder.tokenizer.stop_ids, ended=until.ended
        )
        return [cut(encoder.tokenizer.decode(answer.ids), until.texts)[0] for answer in answers]


@cache  # the harness takes a name once
def register() -> None:
    """Let the harness know the model `tunesmith`; afterwards `simple_evaluate(model="tunesmith", …)` works.

    Raises:
        UsageError: the harness is not installed.
    """
    try:
        import_module("lm_eval.models")  # the harness lists its own models only while it knows no other one
        from lm_eval.api.model import TemplateLM
        from lm_eval.api.registry import register_model
    except ImportError as error:
        raise UsageError("lm-evaluation-harness is not here. Install it: pip install 'lm_eval>=0.4.13'") from error
    register_model(NAME)(type("TunesmithModel", (HarnessModel, TemplateLM), {}))


def main(model: str, arguments: Sequence[str]) -> None:
    """The harness's own command, `lm_eval run`, on a run or a model of ours.

    Raises:
        UsageError: the harness is not installed, or it could not read the model's name.
        TunesmithError: the harness failed; says how.
    """
    register()
    from lm_eval.__main__ import cli_evaluate

    if "," in model or "=" in model:
        raise UsageError(f"{model}: the harness cannot take a path with a comma or an equals sign.")
    sys.argv = ["lm_eval", "run", "--model", NAME, "--model_args", f"pretrained={model}", *arguments]
    command: Callable[[], None] = cli_evaluate
    try:
        command()
    except TunesmithError:
        raise
    except Exception as error:  # another program: a task that it does not know is no bug of ours
        raise TunesmithError(f"lm_eval: {type(error).__name__}: {error}") from error


def wishes(given: Mapping[str, Any]) -> tuple[GenerationSettings, tuple[str, ...]]:
    """A task's generation arguments as settings, and the texts at which an answer ends.

    Raises:
        UsageError: an argument that is not known here.
    """
    left = dict(given)
    ends = left.pop("until", None) or ()
    tokens = next(
        (int(left.pop(name)) for name in ("max_gen_toks", "max_new_tokens", "max_tokens") if name in left), None
    )
    draws = bool(left.pop("do_sample", left.get("temperature", 0) > 0))
    heat, top_p = float(left.pop("temperature", 1.0)), float(left.pop("top_p", 1.0))
    if left:
        raise UsageError(f"{', '.join(left)}: arguments of generation that the model tunesmith does not know.")
    settings = GenerationSettings(
        max_new_tokens=tokens or ANSWER_TOKENS, temperature=heat if draws else 0.0, top_p=top_p if draws else 1.0
    )
    return settings, (ends,) if isinstance(ends, str) else tuple(ends)


def rolling(ids: Sequence[int], prefix: int, longest: int) -> list[tuple[list[int], list[int]]]:
    """Windows of a text as context and continuation: every token is scored once, after as many as the model holds.

    The first window stands behind the `prefix`; a later one is as long as the model reads, and scores what is new.
    """
    text = [prefix, *ids]
    found, start = [], 1
    while start < len(text):
        end = min(start + longest, len(text))
        found.append((text[max(0, end - longest - 1) : start], text[start:end]))
        start = end
    return found
