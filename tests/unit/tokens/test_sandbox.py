import pytest

from tunesmith.data.example import Message
from tunesmith.errors import TemplateError
from tunesmith.tokens import sandbox
from tunesmith.tokens.sandbox import CompiledTemplate
from tunesmith.tokens.template import ChatTemplate

TALK = [Message("user", "hi"), Message("assistant", "ok")]

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__.__subclasses__() }}",
    "{{ messages[0].content.__class__ }}",
    "{{ messages[0].content._runs }}",
    "{{ messages[0]['content']|attr('__class__') }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].system('id') }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__self__.__class__ }}",
    "{{ ''.format.__func__ }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ '%s' | format(messages.__init__.__globals__) }}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'role': 'x'}) }}",
    "{{ messages.clear() }}",
    "{{ dict.__subclasses__() }}",
]

BOMBS = [
    "{{ 'x' * 50000000 }}",
    "{{ 50000000 * 'x' }}",
    "{{ ([1] * 50000000) | length }}",
    "{% for a in range(100000000) %}{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "{{ 9 ** 999999999 }}",
    "{{ (9 ** 64) ** 64 ** 64 }}",
    "{% for a in range(9999) %}{{ 'x' * 100000 }}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_cannot_reach_what_it_is_not_given(source: str) -> None:
    try:
        text = ChatTemplate(source, {}).render(TALK).text
    except TemplateError:
        return
    # What the sandbox hides without an error is undefined, and undefined is written as nothing.
    assert text in ("", "hi")


@pytest.mark.parametrize("source", BOMBS)
def test_a_template_that_never_ends_or_never_stops_writing_is_refused(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MAX_ITERATIONS", 20_000)
    monkeypatch.setattr(sandbox, "MAX_OUTPUT", 1_000_000)
    with pytest.raises(TemplateError):
        ChatTemplate(source, {}).render(TALK)


def test_a_refusal_by_the_template_is_told_in_its_words() -> None:
    with pytest.raises(TemplateError, match="roles must alternate"):
        CompiledTemplate("{{ raise_exception('roles must alternate') }}").run({})


def test_a_syntax_error_names_the_line() -> None:
    with pytest.raises(TemplateError, match="line 2"):
        CompiledTemplate("\n{% if %}")


@pytest.mark.parametrize("source", ["{{ " + "(" * 20_000 + " }}", "{% if 1 %}" * 2_000 + "{% endif %}" * 2_000])
def test_nesting_without_end_is_refused(source: str) -> None:
    with pytest.raises(TemplateError):
        CompiledTemplate(source)


def test_an_error_speaks_of_texts_and_messages_not_of_their_stand_ins() -> None:
    template = ChatTemplate("{{ messages[0].content.part.name }}", {})
    with pytest.raises(TemplateError, match="'str object' has no attribute 'part'"):
        template.render(TALK)


def test_dates_are_frozen() -> None:
    assert CompiledTemplate("{{ strftime_now('%d %b %Y') }}").run({}) == "26 Jul 2024"


def test_a_template_leaves_no_trace_in_the_next_rendering() -> None:
    template = ChatTemplate("{% for m in messages %}{{ m.content }}{% if m.content == 'no' %}{{ 1 / 0 }}{% endif %}"
                            "{% endfor %}!", {})  # fmt: skip
    with pytest.raises(TemplateError, match="ZeroDivisionError"):
        template.render([Message("user", "no")])
    spans = template.render(TALK).spans
    assert [(span.author, span.turn) for span in spans] == [(0, 0), (1, 1), (-1, -1)]
