import json
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.tokens import tiny

from tunesmith.data.example import Passage
from tunesmith.tokens.encode import Encoder
from tunesmith.tokens.show import show, to_html, to_terminal, token_ends


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(tiny.loaded(tmp_path_factory.mktemp("tok"), tiny.byte_level(merges=[("o", "k")])))


def test_the_learned_spans_are_the_answers_with_their_end_tokens_and_weights(encoder: Encoder) -> None:
    (shown,) = show(encoder, tiny.chat("hi", "é🚀", "x", "ok", weights={1: 0.5}), window=100)
    assert [(shown.text[a:b], w) for a, b, w in shown.learned] == [("é🚀<|im_end|>", 0.5), ("ok<|im_end|>", 1.0)]


def test_json_has_text_spans_ids_and_weights(encoder: Encoder) -> None:
    (shown,) = show(encoder, tiny.chat("hi", "ok"), window=100)
    written = json.loads(json.dumps(shown.as_json()))
    assert list(written) == ["text", "learned", "ids", "weights"]
    assert len(written["ids"]) == len(written["weights"])


def test_a_passage_is_shown_window_by_window(encoder: Encoder) -> None:
    assert len(show(encoder, Passage("abcdefgh", tiny.HERE), window=5)) == 3


def test_the_terminal_shows_the_end_token_and_line_ends(encoder: Encoder) -> None:
    (shown,) = show(encoder, tiny.chat("hi", "ok", weights={1: 0.25}), window=100)
    plain = to_terminal(shown).plain
    assert "⟦ok<|im_end|>⟧×0.25" in plain
    assert "⏎" in plain


def test_the_page_is_whole_escapes_what_it_shows_and_needs_nothing_else(encoder: Encoder) -> None:
    page = to_html(show(encoder, tiny.chat("<script>alert(1)</script>", "a & b"), window=100), title="<x>")
    text: list[str] = []
    parser = HTMLParser()
    parser.handle_data = text.append  # type: ignore[method-assign]
    parser.feed(page)
    assert "<script" not in page
    assert "http" not in page
    assert "<script>alert(1)</script>" in "".join(text)
    assert 'class="l"' in page
    assert "a & b<|im_end|>" in "".join(text)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_token_ends_rise_to_the_end_of_the_text(encoder: Encoder, words: list[str]) -> None:
    ids = [id_ for word in words for id_ in encoder.tokenizer.encode(word)]
    text, ends = token_ends(encoder, ids)
    assert ends == sorted(ends)
    assert text == "".join(words)
    assert (ends[-1] if ends else 0) == len(text)
