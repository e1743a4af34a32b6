from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.tokens import tiny

from tunesmith.data.example import Example, Message
from tunesmith.errors import TemplateError
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.shapes import Shapes, find_pattern
from tunesmith.tokens.template import ChatTemplate

LOOKING = {
    "plain": "message['content']",
    "trimmed": "message['content'] | trim",
    "stripped of some": "message['content'].lstrip('\\n').rstrip('a')",
    "asked": "('[' if '<t>' in message['content'] else '(') + message['content']",
    "compared": "('!' if message['content'] == 'a' else '') + message['content']",
    "ends": "message['content'] + ('.' if not message['content'].endswith('.') else '')",
    "emptied": "(message['content'] | trim or 'nothing')",
    "measured": "message['content'] + ('long' if message['content'] | length > 3 else '')",
    "cut": "message['content'].split('<t>')[-1]",
    "indexed": "(message['content'][0] if message['content'] else '') + message['content']",
    "joined and asked": "('x' + message['content']) | trim",
    "iterated": "message['content'] | list | first | default('') ~ message['content']",
    "hashed": "{'a': 'A'}.get(message['content'], 'B') + message['content']",
    "upper": "message['content'] | upper + message['content']",
    "formatted": "'%s' % message['content'] + message['content']",
}
WORDS = st.text("a.\n <t>|im_end", max_size=10)


def encoder(folder: Path, content: str) -> Encoder:
    backend = tiny.byte_level(plain=["<t>"], merges=[("Ċ", "Ċ")], split=False)
    return Encoder(tiny.loaded(folder, backend, template=tiny.CHATML.replace("message['content']", f"({content})")))


def outcome(encode: Callable[[Example], object], example: Example) -> object:
    try:
        return encode(example)
    except TemplateError as error:
        return str(error)


@pytest.mark.parametrize("look", LOOKING)
@given(talks=st.lists(st.lists(WORDS, min_size=2, max_size=4), min_size=2, max_size=6))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pattern_gives_what_the_full_analysis_gives(
    look: str, talks: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    ours = encoder(tmp_path_factory.mktemp("tok"), LOOKING[look])

    def by_analysis(example: Example) -> object:
        return ours._segments(ours.learned(example))

    def as_encoded(example: Example) -> object:
        shaped = ours.shaped(example)
        return by_analysis(example) if shaped is None else shaped.segments

    for talk in talks:
        example = tiny.chat(*talk)
        assert outcome(as_encoded, example) == outcome(by_analysis, example)


@pytest.mark.parametrize("look", ["plain", "trimmed", "asked", "compared", "ends", "emptied"])
def test_templates_that_only_ask_what_can_be_asked_again_have_a_pattern(look: str) -> None:
    template = ChatTemplate(tiny.CHATML.replace("message['content']", f"({LOOKING[look]})"), {})
    assert find_pattern(template, tiny.chat("why", "so").messages) is not None


@pytest.mark.parametrize(
    "look", ["stripped of some", "measured", "cut", "indexed", "joined and asked", "iterated", "hashed", "formatted"]
)
def test_templates_that_see_more_or_lose_words_have_none(look: str) -> None:
    template = ChatTemplate(tiny.CHATML.replace("message['content']", f"({LOOKING[look]})"), {})
    assert find_pattern(template, tiny.chat("why", "so").messages) is None


def test_the_template_runs_once_for_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate(tiny.CHATML, {})
    runs = []
    monkeypatch.setattr(type(template), "_render", _counted(type(template)._render, runs))
    shapes = Shapes(template, lambda text: False)
    for n in range(20):
        assert shapes.fill(tiny.chat(f"question {n}", f"answer {n}")) is not None
    assert len(runs) == 2


def _counted(render: Callable[..., object], runs: list[object]) -> Callable[..., object]:
    def counting(*args: object) -> object:
        runs.append(args)
        return render(*args)

    return counting


def test_tool_calls_and_named_messages_are_analysed_each_time() -> None:
    shapes = Shapes(ChatTemplate(tiny.CHATML, {}), lambda text: False)
    example = tiny.chat("a", "b")
    assert shapes.fill(replace(example, tools=({"name": "f"},))) is None
    assert shapes.fill(replace(example, messages=(Message("user", "a", name="Bo"), example.messages[1]))) is None


def test_an_answer_that_is_not_proved_has_no_pattern() -> None:
    rewriting = tiny.CHATML.replace("message['content']", "(message['content'] + ('' if loop.last else '~'))")
    template = ChatTemplate(rewriting, {})
    assert find_pattern(template, tiny.chat("a", "b").messages) is None
    assert find_pattern(template, tiny.chat("a", "b", "c", "d").messages) is None
