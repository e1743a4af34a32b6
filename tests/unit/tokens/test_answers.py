import pytest
from unit.tokens import tiny

from tunesmith.data.example import Message
from tunesmith.tokens.answers import common_prefix, find_answers
from tunesmith.tokens.template import ChatTemplate

CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def answers(source: str, *messages: Message) -> list[tuple[str, str | None]]:
    """The text and the doubt of every answer."""
    template = ChatTemplate(source, {"eos_token": "</s>"})
    rendering = template.render(messages)
    return [
        ("".join(rendering.text[a:b] for a, b in answer.pieces), answer.doubt)
        for answer in find_answers(template, rendering, messages)
    ]


def u(text: str) -> Message:
    return Message("user", text)


def a(text: str) -> Message:
    return Message("assistant", text)


def test_an_answer_that_begins_like_the_next_header_is_whole() -> None:
    assert answers(tiny.CHATML, u("q"), a("<|im_start|>assistant\n"), u("<|im"), a("ok")) == [
        ("<|im_start|>assistant\n<|im_end|>", None),
        ("ok<|im_end|>", None),
    ]


def test_whitespace_of_the_answer_is_learned_and_the_templates_behind_it_is_not() -> None:
    assert answers(tiny.CHATML, u("q"), a("\n x \n")) == [("\n x \n<|im_end|>", None)]


def test_an_end_token_behind_all_turns_is_learned_with_the_last() -> None:
    source = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{{ 'assistant: ' if add_generation_prompt else eos_token }}"
    )
    (first, doubt), last = answers(source, u("q"), a("x"), u("r"), a("y"))
    assert last == ("y\n</s>", None)
    assert (first, doubt is None) == ("x", False)


def test_templates_without_a_loop_over_messages_are_understood() -> None:
    source = (
        "{% for i in range(messages | length) %}<{{ messages[i].role }}>{{ messages[i].content }}<end>\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    assert answers(source, u("q"), a("x"), u("r"), a("y")) == [("x<end>", None), ("y<end>", None)]


def test_a_tools_reply_inside_the_answers_turn_is_not_learned() -> None:
    source = (
        "{% for m in messages if m.role != 'tool' %}<{{ m.role }}>{{ m.content }}{% if m.tool_calls %}"
        "<call>{{ m.tool_calls[0].function.name }}<reply>{% for t in messages if t.role == 'tool' %}{{ t.content }}"
        "</reply>{% endfor %}{% else %}<end>{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    messages = (u("q"), Message("assistant", "", tool_calls=(CALL,)), Message("tool", "found"), a("x"))
    assert answers(source, *messages) == [("<call>look<reply>", None), ("x<end>", None)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (tiny.CHATML.replace("message['content']", "message['content'].split('</t>')[-1]"), "leaves out words"),
        (tiny.CHATML.replace("assistant\n' }}{% endif", "assistant\n<t>' }}{% endif"), "'<t>'"),
        (
            "{% if not messages or messages[-1].role == 'user' %}{% if messages | length > 2 %}"
            "{{ raise_exception('too long a talk') }}{% endif %}{% endif %}" + tiny.CHATML,
            "too long a talk",
        ),
    ],
)
def test_what_cannot_be_proved_carries_its_reason(source: str, expected: str) -> None:
    *_, (_, doubt) = answers(source, u("q"), a("x"), u("r"), a("why</t>y"))
    assert expected in str(doubt)


def test_a_call_that_the_template_does_not_write_is_a_doubt() -> None:
    assert "tool 'look'" in str(answers(tiny.CHATML, u("q"), Message("assistant", "", tool_calls=(CALL,)))[0][1])


def test_marks_in_the_template_say_what_is_learned() -> None:
    source = (
        "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<end>"
        "{% endgeneration %} {% else %}{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    assert answers(source, u("q"), a("x"), u("r"), a("y")) == [("x<end>", None), ("y<end>", None)]


@pytest.mark.parametrize(("one", "other", "shared"), [("", "a", 0), ("abc", "abd", 2), ("ab", "abc", 2), ("x", "y", 0)])
def test_common_prefix_counts_shared_characters(one: str, other: str, shared: int) -> None:
    assert common_prefix(one, other) == common_prefix(other, one) == shared
