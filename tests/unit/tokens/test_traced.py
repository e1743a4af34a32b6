from hypothesis import given
from hypothesis import strategies as st

from tunesmith.tokens.traced import NOBODY, Source, Traced, join_traced, trace

TEXT = st.text("ab <\n", max_size=8)


def authors(text: Traced) -> list[int]:
    """The author of every character."""
    return [source.author for length, source in text._runs for _ in range(length)]


def written(parts: list[str]) -> Traced:
    """The parts after one another, the nth by author n."""
    return join_traced([Traced.of(part, Source(n)) for n, part in enumerate(parts)])


OPERATIONS = [
    lambda t: t.strip(),
    lambda t: t.lstrip("a"),
    lambda t: t.rstrip(),
    lambda t: t[1:-1],
    lambda t: t[::-1],
    lambda t: t.replace("a", "xy"),
    lambda t: t.replace("a", ""),
    lambda t: t.upper(),
    lambda t: t.removeprefix("a"),
    lambda t: t.removesuffix("b"),
    lambda t: t + "!",
    lambda t: "!" + t,
    lambda t: t * 2,
    lambda t: "".join(t),
]
PARTINGS = [
    lambda t: t.split(),
    lambda t: t.split("a"),
    lambda t: t.rsplit("a", 1),
    lambda t: t.split(None, 1),
    lambda t: t.splitlines(),
    lambda t: t.splitlines(True),
    lambda t: t.partition("b"),
    lambda t: t.rpartition("b"),
    list,
]


@given(st.lists(TEXT, max_size=4))
def test_every_operation_gives_the_text_that_plain_strings_give(parts: list[str]) -> None:
    traced, plain = written(parts), "".join(parts)
    for operation in OPERATIONS:
        assert operation(traced) == operation(plain)
    for parting in PARTINGS:
        assert list(parting(traced)) == list(parting(plain))


@given(st.lists(TEXT, max_size=4))
def test_runs_always_add_up_to_the_length(parts: list[str]) -> None:
    traced = written(parts)
    for operation in OPERATIONS:
        result = operation(traced)
        if isinstance(result, Traced):
            assert len(authors(result)) == len(result)
    for parting in PARTINGS:
        for part in parting(traced):
            assert isinstance(part, Traced)
            assert len(authors(part)) == len(part)


@given(st.lists(st.text("ab ", min_size=1, max_size=5), min_size=1, max_size=4))
def test_what_is_cut_out_keeps_its_author(parts: list[str]) -> None:
    traced = written(parts)
    owner = authors(traced)
    for part in traced.split("a"):
        assert isinstance(part, Traced)
        places = [i for i in range(len(traced)) if str.startswith(traced, part, i)]
        assert not part or any(authors(part) == owner[i : i + len(part)] for i in places)
    stripped = traced.strip()
    start = len(traced) - len(str.lstrip(traced))
    assert authors(stripped) == owner[start : start + len(stripped)]


def test_what_a_replacement_puts_in_is_its_own_authors() -> None:
    text = Traced.of("a-b", Source(1)).replace("-", Traced.of("+", Source(2)))
    assert authors(text) == [1, 2, 1]


def test_a_plain_string_is_nobodys_words() -> None:
    assert authors(Traced.of("a", Source(1)) + "b") == [1, NOBODY.author]
    assert authors("b" + Traced.of("a", Source(1))) == [NOBODY.author, 1]


def test_all_strings_of_a_value_are_traced_and_the_value_is_a_copy() -> None:
    value = {"a": ["b", {"c": 1}]}
    traced = trace(value, Source(3))
    assert traced == value
    assert all(isinstance(text, Traced) for text in (*traced, traced["a"][0], *traced["a"][1]))
    assert type(value["a"][0]) is str
