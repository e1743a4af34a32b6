"""What the pages tell a reader to type exists, and what is generated is fresh."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from house.source import ROOMS, ROOT, pages, place
from typer.main import get_command

from tunesmith.cli.main import app
from tunesmith.recipe.reference import reference_page
from tunesmith.tokens.findings import EXAMPLES, KINDS, findings_page

COMMAND = re.compile(r"^(?:#|\$)?\s*(?:\S*python3?\s+-m\s+)?tunesmith\s+(.*)$")
INLINE = re.compile(r"`(tunesmith [^`]+)`")
TARGET = re.compile(r"(?:^|`)make ([a-z][\w-]*)")
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    yield from enumerate(path.read_text(encoding="utf-8").splitlines(), 1)


def _commands() -> Iterator[tuple[str, list[str]]]:
    for path in pages():
        for number, line in _lines(path):
            found = INLINE.findall(line)
            if match := COMMAND.match(line.strip()):
                found.append(f"tunesmith {match[1]}")
            for text in found:
                yield f"{place(path)}:{number}", re.split(r"\s{2,}#|\s[|>&]", text)[0].split()[1:]


def _unknown(words: list[str]) -> str | None:
    """The first word of a command line that the command line does not know."""
    node: Any = get_command(app)
    for word in words:
        options = {name for parameter in node.params for name in (*parameter.opts, *parameter.secondary_opts)}
        if word.startswith("-"):
            if word.partition("=")[0] not in {*options, "--help"} and not node.context_settings.get(
                "ignore_unknown_options"
            ):
                return word
        elif commands := getattr(node, "commands", None):
            if word not in commands:
                return word
            node = commands[word]
    return None


def test_every_command_on_a_page_exists() -> None:
    wrong = {f"{where}: {' '.join(words)}": word for where, words in _commands() if (word := _unknown(words))}
    assert not wrong


def test_every_make_target_on_a_page_exists() -> None:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    told = {target for path in pages() for _, line in _lines(path) for target in TARGET.findall(line)}
    assert told <= known


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = [
        f"{place(path)}:{number} {link}"
        for path in pages()
        for number, line in _lines(path)
        for link in LINK.findall(line)
        if not (path.parent / link.strip()).exists()
    ]
    assert not broken


def test_the_reference_of_settings_is_what_the_code_says() -> None:
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == reference_page(), "run `make reference`"


def test_the_page_of_findings_is_what_the_code_says() -> None:
    assert set(EXAMPLES) == set(KINDS)
    assert (ROOT / "docs/findings.md").read_text(encoding="utf-8") == findings_page(), "run `make reference`"


def test_every_module_that_the_design_names_exists() -> None:
    room = ROOMS
    missing = []
    for line in (ROOT / "docs/design.md").read_text(encoding="utf-8").split("src/tunesmith/\n")[1].splitlines():
        if not line.startswith("      "):
            break
        if heading := re.match(r" {6}(\w+)/", line):
            room = ROOMS / heading[1]
        inside = line.startswith("        ")
        names = re.match(r" +((?:\w+\.py(?:, )?)+)", line)
        folder = room if inside else ROOMS
        missing += [name for name in (names[1].split(", ") if names else []) if not (folder / name).is_file()]
    assert not missing
