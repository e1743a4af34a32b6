"""Chat templates that ship with Tunesmith, for models that have none of their own, and what they need of a tokenizer.

The decision: a template is chosen by name and aloud, never guessed from the model's name. Which control tokens it needs
is found by running it, not listed beside it. A template is a name here, a file, or Jinja text.
"""

import json
import re
from pathlib import Path
from typing import Any

from tunesmith.data.example import Message
from tunesmith.errors import TemplateError
from tunesmith.tokens.template import ChatTemplate
from tunesmith.tokens.tokenizer import Tokenizer
from tunesmith.tokens.traced import TEMPLATE

_CHATML = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {{- message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

_GEMMA = """\
{{- bos_token }}
{%- set first = '' %}
{%- if messages[0]['role'] == 'system' %}
    {%- set first = messages[0]['content'] + '\\n\\n' %}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- for message in messages %}
    {{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}
    {%- if loop.first %}
        {{- first }}
    {%- endif %}
    {{- message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<start_of_turn>model\\n' }}
{%- endif %}
"""

_PLAIN = """\
{%- for message in messages %}
    {{- message['role'] | capitalize + ': ' + message['content'] | trim }}
    {%- if message['role'] == 'assistant' %}
        {{- eos_token }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- 'Assistant:' }}
{%- endif %}
"""

BUILT_IN = {"chatml": _CHATML, "gemma": _GEMMA, "plain": _PLAIN}
"""Templates by name. `plain` needs no control token but the model's end token."""

_CONTROL = re.compile(r"<[|\uff5c]?[^\W\d][\w\u2581]*[|\uff5c]?>")
_PROBE = (Message("system", "s"), Message("user", "u"), Message("assistant", "a"))


def template_text(choice: str) -> str:
    """The Jinja text of a template given as a built-in name, a file, or the text itself.

    Raises:
        TemplateError: it is none of them.
    """
    if choice in BUILT_IN:
        return BUILT_IN[choice]
    if "{{" in choice or "{%" in choice:
        return choice
    file = Path(choice)
    if not file.is_file():
        raise TemplateError(
            f"There is no chat template {choice!r}: it is no file, and the built-in ones are {', '.join(BUILT_IN)}."
        )
    return file.read_text(encoding="utf-8")


def control_texts(template: str) -> tuple[str, ...]:
    """The texts that a template puts around plain turns and that look like control tokens (`<|im_end|>`), in order.

    Found by running it, so that tags which it writes around tools alone do not count.

    Raises:
        TemplateError: the template is not valid or cannot render a plain question and answer.
    """
    runnable = ChatTemplate(template, {})
    try:
        rendering = runnable.render(_PROBE)
    except TemplateError:  # many templates know no system message
        rendering = runnable.render(_PROBE[1:])
    own = "".join(rendering.text[span.start : span.end] for span in rendering.spans if span.author == TEMPLATE)
    return tuple(dict.fromkeys(_CONTROL.findall(own)))


def missing_control_tokens(template: str, tokenizer: Tokenizer) -> tuple[str, ...]:
    """The control tokens that a template writes and the tokenizer does not know as one token, in order.

    Training with a template whose control tokens fall into pieces teaches the model to spell them.
    """
    return tuple(text for text in control_texts(template) if text not in tokenizer.added)


def with_control_tokens(files: dict[str, str], tokens: tuple[str, ...], *, end_token: str) -> dict[str, str]:
    """The tokenizer's files (name → text) with `tokens` added as control tokens and `end_token` as the end of a turn.

    New tokens get the ids behind the vocabulary, in order, so the model's embedding must grow to hold them; a token
    that the vocabulary already holds as a plain entry keeps its id, and one that is already added stays as it is.
    `files` must hold tokenizer.json and tokenizer_config.json; other files are handed through.
    """
    description = json.loads(files["tokenizer.json"])
    added: list[dict[str, Any]] = description["added_tokens"]
    vocabulary = _vocabulary(description)
    known = {token["content"] for token in added}
    next_id = 1 + max([*vocabulary.values(), *(token["id"] for token in added)])
    for text in tokens:
        if text in known:
            continue
        if text not in vocabulary:
            vocabulary = {**vocabulary, text: next_id}
            next_id += 1
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        added.append({"id": vocabulary[text], "content": text, **flags})
    added.sort(key=lambda token: int(token["id"]))
    config = json.loads(files["tokenizer_config.json"])
    config["eos_token"] = end_token
    return {
        **files,
        "tokenizer.json": json.dumps(description, ensure_ascii=False),
        "tokenizer_config.json": json.dumps(config, ensure_ascii=False, indent=2),
    }


def _vocabulary(description: dict[str, Any]) -> dict[str, int]:
    vocabulary = description["model"]["vocab"]
    if isinstance(vocabulary, dict):
        return dict(vocabulary)
    return {piece: index for index, (piece, _) in enumerate(vocabulary)}
