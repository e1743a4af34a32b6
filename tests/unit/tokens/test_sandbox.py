from typing import Any

import pytest

from tunesmith.data.example import Message
from tunesmith.errors import TemplateError
from tunesmith.tokens import sandbox
from tunesmith.tokens.sandbox import CompiledTemplate
from tunesmith.tokens.template import ChatTemplate

TALK = [Message("user", "hi"), Message("assistant", "ok")]
PLAIN = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ok"}]}

ESCAPES = [
    # Dunders, by attribute, by item, by filter, through what stands for text and messages here.
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__.__subclasses__() }}",
    "{{ messages[0].content.__class__ }}",
    "{{ messages[0].content['__class__'] }}",
    "{{ messages[0].content._runs }}",
    "{{ messages[0].content._source }}",
    "{{ messages[0]['content']|attr('__class__') }}",
    "{{ messages[0]['content']|attr('_' ~ '_class_' ~ '_') }}",
    "{{ messages|map(attribute='__class__')|list }}",
    "{{ messages|map(attribute='content.__class__.__mro__')|list }}",
    "{{ messages|groupby('__class__')|list }}",
    "{{ messages|sum(attribute='__class__') }}",
    "{{ messages|selectattr('__class__')|list|length * 'x' }}",
    "{{ (1).__class__ }}{{ (1).real.__class__ }}",
    "{{ true.__class__ }}{{ none.__class__ }}{{ [].__len__ }}{{ {}.__class__ }}",
    # What a template can name without being given it.
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ self._TemplateReference__context.environment }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ cycler('a').__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].system('id') }}",
    "{{ (lipsum|attr('__globals__'))['os'] }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ namespace().__class__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__self__.__class__ }}",
    "{{ dict.__subclasses__() }}",
    "{{ dict.mro() }}",
    "{{ range(1).__class__ }}{{ range.__doc__.__class__ }}",
    "{{ loop.__class__ }}",
    "{% for m in messages %}{{ loop._iterator }}{% endfor %}",
    "{% for m in messages %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% macro f() %}{% endmacro %}{{ f.__class__ }}{{ f._func.__globals__ }}",
    "{% macro f() %}{{ caller.__init__.__globals__ }}{% endmacro %}{% call f() %}{% endcall %}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'base.html' %}",
    # str.format and its ways around: CVE-2016-10745, CVE-2019-10906 (format_map), CVE-2024-56326 (an indirect reference
    # to the method), CVE-2025-27516 (|attr fetches it), and the same through filters that call.
    "{{ ''.format.__func__ }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ '{a.__class__.__mro__}'.format(a='') }}",
    "{{ '{0[__class__]}'.format(messages) }}",
    "{{ '{m.__class__.__mro__}'.format_map({'m': ''}) }}",
    "{{ '{m.__class__.__mro__}'.format_map(dict(m=messages)) }}",
    "{% set f = '{0.__class__.__mro__}'.format %}{{ f('') }}",
    "{% set ns = namespace(f='{0.__class__.__mro__}'.format) %}{{ ns.f('') }}",
    "{{ ['']|map('{0.__class__.__mro__}'.format)|list }}",
    "{{ ('{0.__class__.__mro__}'|attr('format'))('') }}",
    "{{ ('{m.__class__.__mro__}'|attr('format_map'))({'m': ''}) }}",
    "{{ ['{0.__class__.__mro__}']|map('attr', 'format')|first|string }}{{ (['{0.__class__.__mro__}']|map('attr', "
    "'format')|first)('') }}",
    "{{ ['{0.__class__.__mro__}']|map(attribute='format')|first|string }}{{ (['{0.__class__.__mro__}']"
    "|map(attribute='format')|first)('') }}",
    "{% set f = messages[0].content.format %}{{ f.__self__.__class__ }}",
    "{{ messages[0].content.join(['{0.__class__}', '']).format('').__class__ }}",
    "{{ '%s' | format(messages.__init__.__globals__) }}",
    "{{ '%(a)s' | format(a=messages.__init__.__globals__) }}",
    "{{ ('{0.__class__.__mro__}'|safe).format('') }}",
    "{{ ('{0.__class__.__mro__}'|escape).format('') }}",
    "{{ ('{0.__class__.__mro__}'|safe).format_map({'0': ''}) }}",
    # CVE-2024-22195, CVE-2024-34064: keys with spaces and slashes in xmlattr; CVE-2024-56201: a name that is code.
    "{{ {'a b/><script>': 1}|xmlattr }}",
    '{% set x = (\'__import__("os").system("id")\') %}{{ x.f_globals }}',
    # What could be changed of what others see.
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'role': 'x'}) }}",
    "{{ messages[0].__setitem__('role', 'x') }}",
    "{{ messages[0].pop('role') }}",
    "{{ messages.clear() }}",
    "{{ messages.sort(key=raise_exception) }}",
    "{{ namespace(a=1).__setitem__('b', 2) }}",
]

LEAKS = ("<class", "<bound", "<built-in", "<function", "<module", "<method", "object at 0x", "uid=", "root:")
"""What would stand in the text if one of them came through."""

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
    assert not any(leak in text for leak in LEAKS)


def test_the_message_that_a_template_gets_cannot_be_changed_by_it() -> None:
    source = "{% for m in messages %}{% if m.update({'role': 'x'}) %}{% endif %}{% endfor %}"
    with pytest.raises(TemplateError, match="is unsafe"):
        ChatTemplate(source, {}).render(TALK)


@pytest.mark.parametrize("source", BOMBS)
def test_a_template_that_never_ends_or_never_stops_writing_is_refused(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MAX_ITERATIONS", 20_000)
    monkeypatch.setattr(sandbox, "MAX_OUTPUT", 1_000_000)
    variables: dict[str, Any] = PLAIN
    with pytest.raises(TemplateError):
        CompiledTemplate(source).run(variables)


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
