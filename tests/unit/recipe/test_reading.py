"""YAML as recipes read it: 1.2, without surprises, every fault with its line."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.errors import RecipeError
from tunesmith.recipe.reading import LARGEST, read_file, read_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("2e-5", 2e-5),
        ("1e5", 1e5),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", 1000),
        ("-3", -3),
        ("2026-01-01", "2026-01-01"),
        ("~", None),
        ("'007'", "007"),
        ("[a, {b: 1}]", ["a", {"b": 1}]),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(text: str, value: object) -> None:
    assert read_text(f"a: {text}", "f.yaml").values == {"a": value}


def test_every_value_remembers_its_line() -> None:
    document = read_text("a: 1\nb:\n  c: 2\n  d:\n    - 3\n    - 4\n", "f.yaml")
    assert document.lines["a"] == 1
    assert document.lines["b.c"] == 3
    assert document.lines["b.d.1"] == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: a is written twice (first in line 1)"),
        ("a: &x 1\nb: *x", "f.yaml:1: anchors (&x) are not read"),
        ("a: .inf", "f.yaml:1: .inf is not a finite number"),
        ("a: .NaN", "f.yaml:1: .NaN is not a finite number"),
        ("a: !!python/object:os.system x", "f.yaml:1: the tag"),
        ("a: !include x.yaml", "f.yaml:1: the tag"),
        ("a: 1\n---\nb: 2", "f.yaml:2: this is not YAML"),
        ("a: [1, 2", "f.yaml:1: this is not YAML"),
        ("a:\n\t- b", "f.yaml:2: this is not YAML"),
        ("? [a]\n: 1", "f.yaml:1: a name must be plain text"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_what_another_reader_would_read_differently_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=r"f\.yaml") as refusal:
        read_text(text, "f.yaml")
    assert said in str(refusal.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    with contextlib.suppress(RecipeError):
        read_text(text, "f.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"# only a comment\n", "the file is empty"),
        (b"- a\n", "expected settings"),
        (b"just words", "expected settings"),
        (b"a: \xff\xfe", "not UTF-8"),
        (b"a: " + b"x" * LARGEST, "too many for a recipe"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=said):
        read_file(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"r\.yaml: the file cannot be read"):
        read_file(tmp_path / "r.yaml")
