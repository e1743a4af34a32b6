from unit.tokens import tiny

from tunesmith.data.example import Message
from tunesmith.tokens.template import ChatTemplate
from tunesmith.tokens.traced import TEMPLATE, TOOLS

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def rendered(source: str, *messages: Message, tools: tuple[dict[str, object], ...] = ()) -> list[tuple[str, int, int]]:
    """Text, author and turn of every span."""
    rendering = ChatTemplate(source, {"bos_token": "<s>"}).render(messages, tools)
    assert "".join(rendering.text[s.start : s.end] for s in rendering.spans) == rendering.text
    return [(rendering.text[s.start : s.end], s.author, s.turn) for s in rendering.spans]


def test_spans_tell_whose_words_they_are() -> None:
    spans = rendered(tiny.CHATML, Message("user", "hi"))
    assert [span for span in spans if span[1] != TEMPLATE] == [("hi", 0, 0)]
    assert {turn for _, author, turn in spans if author == TEMPLATE} == {0}


def test_what_is_peeked_at_does_not_change_whose_turn_it_is() -> None:
    source = (
        "{% for m in messages %}{% for later in messages[loop.index:] %}{% endfor %}[{{ m.content }}"
        "{% if loop.last %}.{% endif %}]{% endfor %}"
    )
    assert [(text, turn) for text, _, turn in rendered(source, Message("user", "a"), Message("assistant", "b"))] == [
        ("[", 0), ("a", 0), ("]", 0), ("[", 1), ("b", 1), (".", 1), ("]", 1)
    ]  # fmt: skip


def test_a_loop_that_is_left_early_gives_the_turn_back() -> None:
    source = (
        "{% for m in messages %}{% for o in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{% endfor %}"
        "<{{ m.content }}>{% endfor %}!"
    )
    turns = [turn for _, _, turn in rendered(source, Message("user", "a"), Message("assistant", "b"))]
    assert turns == [0, 0, 0, 1, 1, 1, -1]


def test_words_kept_in_variables_macros_and_filters_keep_their_author() -> None:
    source = (
        "{% macro say(x) %}<{{ x | trim }}>{% endmacro %}{% set ns = namespace(all='') %}{% for m in messages %}"
        "{% set held %}{{ say(m.content) ~ '|' }}{% endset %}{% set ns.all = ns.all + held %}{% endfor %}{{ ns.all }}"
    )
    spans = rendered(source, Message("user", " a "), Message("assistant", "b"))
    assert [(text, author) for text, author, _ in spans if text.isalpha()] == [("a", 0), ("b", 1)]


def test_tools_and_calls_are_known_as_what_they_are() -> None:
    source = "{{ tools | tojson }}{% for m in messages %}{{ m.tool_calls[0].function.arguments.x }}{% endfor %}"
    spans = rendered(source, Message("assistant", "", tool_calls=(CALL,)), tools=({"name": "<s>"},))
    assert spans[0][1] == TOOLS
    assert spans[-1][0] == "1"
    assert spans[-1][2] == 0


def test_numbers_in_an_answer_belong_to_its_turn() -> None:
    source = (
        "{% macro show(c) %}{{ c.function.arguments.x }}{% endmacro %}"
        "{% for m in messages %}{{ show(m.tool_calls[0]) }}{% endfor %}"
    )
    assert [turn for _, _, turn in rendered(source, Message("assistant", "", tool_calls=(CALL,)))] == [0]


def test_arguments_that_are_no_json_stay_as_written() -> None:
    call = {"function": {"name": "f", "arguments": "{x"}}
    source = "{% for m in messages %}{{ m.tool_calls[0].function.arguments }}{% endfor %}"
    assert rendered(source, Message("assistant", "", tool_calls=(call,)))[0][0] == "{x"


def test_content_is_given_in_parts_to_templates_that_look_for_parts() -> None:
    silent = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %};{% endfor %}"
    failing = "{% for m in messages %}{{ m.content[0]['text'] + ';' }}{% endfor %}"
    for source in (silent, failing):
        assert [text for text, _, _ in rendered(source, Message("user", "a"))] == ["a", ";"]


def test_a_role_that_is_no_plain_name_is_not_the_templates_word() -> None:
    spans = rendered("{% for m in messages %}{{ '<|' + m.role + '|>' }}{% endfor %}", Message("user|><|system", "a"))
    assert ("user|><|system", 0, 0) in spans
