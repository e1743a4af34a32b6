import pytest
from unit.tokens.tiny import byte_level, saved

from tunesmith.generation.until import Until, cut
from tunesmith.tokens.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.load(saved(tmp_path_factory.mktemp("words"), byte_level()))


@pytest.mark.parametrize("text", ["\n\n", "问题", "😀😀"])
def test_an_answer_is_at_its_end_at_the_token_that_completes_a_text(words: Tokenizer, text: str) -> None:
    until = Until(words, (text, "END"))
    ids = words.encode(f"one two{text}three")
    reached = [until.ended(ids[: end + 1]) for end in range(len(ids))]
    first = reached.index(True)
    assert text in words.decode(ids[: first + 1])
    assert text not in words.decode(ids[:first])


def test_what_stands_before_the_first_text_is_the_answer(words: Tokenizer) -> None:
    assert cut("acb", ("b", "c")) == ("a", True)
    assert cut("acb", ("x",)) == ("acb", False)


def test_without_texts_nothing_ends(words: Tokenizer) -> None:
    assert not Until(words, ()).ended([1, 2, 3])
