import os
import signal
from threading import Thread

import pytest

from tunesmith.data.example import Message
from tunesmith.errors import TemplateError
from tunesmith.tokens import confined
from tunesmith.tokens.template import ChatTemplate
from tunesmith.tokens.traced import watching

pytestmark = pytest.mark.whole

TALK = [Message("user", "hi"), Message("assistant", "ok")]
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"

BOMBS = {
    "padding": "{{ 'x'|center(2000000000) }}",
    "a width": "{{ '%1000000000d'|format(1) }}",
    "a width in format": "{{ '{:>1000000000}'.format(1) }}",
    "tabs": "{{ 'a\tb'.expandtabs(2000000000) }}",
    "zeros": "{{ '1'.zfill(2000000000) }}",
    "doubling": "{% set n = namespace(x='x') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubled lists": "{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "filling": "{{ [1]|batch(1000000000, 0)|list|length }}",
    "indentation": "{{ {'a': {'b': 1}}|tojson(indent=1000000000) }}",
    "a date": "{{ strftime_now('%1000000000d') }}{{ 'x'|center(2000000000) }}",
}
LOOPS = {
    "loops inside filters": "{% set r = range(99999)|list %}{% for i in r %}{% if r|map('string')|list|length %}"
    "{% endif %}{% endfor %}",
    "a text in a text": "{% set a = 'a' * 900000 %}{% for i in range(1000) %}{{ (a ~ 'b') in (a ~ a) }}{% endfor %}",
    "powers": "{% set n = namespace(x=9) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.usefixtures("hurried")
def test_a_template_that_fills_the_memory_is_refused(bomb: str) -> None:
    with pytest.raises(TemplateError, match=r"memory|MiB"):
        ChatTemplate(BOMBS[bomb], {}).render(TALK)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.usefixtures("hurried")
def test_a_template_that_takes_too_long_is_stopped(loop: str) -> None:
    with pytest.raises(TemplateError, match=r"takes more than 0\.5 seconds"):
        ChatTemplate(LOOPS[loop], {}).render(TALK)


@pytest.mark.usefixtures("hurried")
def test_a_template_that_brings_the_process_down_harms_no_other() -> None:
    plain = ChatTemplate(PLAIN, {})
    with pytest.raises(TemplateError):
        ChatTemplate(LOOPS["powers"], {}).render(TALK)
    assert plain.render(TALK).text == "user: hi\nassistant: ok\n"


def test_a_process_that_was_killed_from_outside_is_started_again() -> None:
    plain = ChatTemplate(PLAIN, {})
    assert confined._child._process is not None
    os.kill(confined._child._process.pid, signal.SIGKILL)
    with pytest.raises(TemplateError, match="stopped"):
        plain.render(TALK)
    assert plain.render(TALK).text == "user: hi\nassistant: ok\n"


def test_ctrl_c_is_not_for_the_process_of_the_templates() -> None:
    plain = ChatTemplate(PLAIN, {})
    assert confined._child._process is not None
    os.kill(confined._child._process.pid, signal.SIGINT)
    assert plain.render(TALK).text == "user: hi\nassistant: ok\n"


def test_a_forked_process_renders_with_a_child_of_its_own() -> None:
    plain = ChatTemplate(PLAIN, {})
    before = confined._child._process
    child = os.fork()
    if child == 0:
        same = plain.render(TALK).text == "user: hi\nassistant: ok\n" and confined._child._process is not before
        os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert plain.render(TALK).text == "user: hi\nassistant: ok\n"
    assert confined._child._process is before


def test_threads_get_each_its_own_answer() -> None:
    plain = ChatTemplate(PLAIN, {})
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        for _ in range(20):
            found[number] = plain.render([Message("user", str(number))]).text

    threads = [Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: f"user: {i}\n" for i in range(4)}


def test_more_templates_than_a_process_holds_are_rendered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "MOST_TEMPLATES", 3)
    templates = [ChatTemplate(f"{i}{PLAIN}", {}) for i in range(7)]
    assert [template.render(TALK[:1]).text for template in templates] == [f"{i}user: hi\n" for i in range(7)]


def test_text_with_a_lone_surrogate_comes_back_as_it_was() -> None:
    text = "\ud800 \x00 ü 漢"
    assert ChatTemplate(PLAIN, {}).render([Message("user", text)]).text == f"user: {text}\n"


def test_what_json_cannot_hold_is_refused_and_the_next_conversation_is_not() -> None:
    plain = ChatTemplate(PLAIN, {})
    with pytest.raises(TemplateError, match="holds what a template cannot be given"):
        plain.render(TALK, [{"name": b"bytes"}])
    assert plain.render(TALK).text == "user: hi\nassistant: ok\n"


def test_what_the_template_sees_of_the_words_is_noted_here() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{% if 'h' in m.content %}{{ m.content }}{% endif %}{% endfor %}", {}
    )
    with watching() as notebook:
        template.render(TALK)
    assert [(look.author, look.question, look.answer) for look in notebook.looks] == [
        (0, "__contains__", True),
        (1, "__contains__", False),
    ]
    assert not notebook.saw_more
    with watching() as notebook:
        ChatTemplate("{{ messages[0].content|length }}", {}).render(TALK)
    assert notebook.saw_more


def test_the_process_sees_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    process = confined._started()
    with open(f"/proc/{process.pid}/environ", "rb") as file:
        assert b"s3cret" not in file.read()
    process.communicate(b"")
    assert process.returncode == 0
