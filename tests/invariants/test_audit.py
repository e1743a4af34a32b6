"""The audit finds what an advisory says, and only that."""

import json
import zipfile
from pathlib import Path

import pytest
from audit import main, pins

TORCH = pins(Path(__file__).parents[2].joinpath("constraints.txt").read_text(encoding="utf-8"))["torch"]


def export(path: Path, *affected: object) -> str:
    """An export with one advisory that affects so."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("PYSEC-1.json", json.dumps({"id": "PYSEC-1", "summary": "Bad.", "affected": affected}))
    return str(path)


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ([{"introduced": "0"}], True),
        ([{"introduced": "0"}, {"fixed": "0.1"}], False),
        ([{"introduced": "0"}, {"last_affected": str(TORCH)}], True),
        ([{"introduced": "0"}, {"fixed": str(TORCH)}], False),
        ([{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "1.1"}, {"fixed": "999"}], True),
        ([{"introduced": "999"}], False),
    ],
)
def test_a_range_counts_where_it_holds_the_pinned_version(
    events: list[dict[str, str]], counts: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranges = [{"type": "ECOSYSTEM", "events": events}]
    file = export(tmp_path / "all.zip", {"package": {"ecosystem": "PyPI", "name": "Torch"}, "ranges": ranges})
    assert main([file]) == int(counts)
    assert ("PYSEC-1 Bad." in capsys.readouterr().out) is counts


def test_a_listed_version_counts_and_another_ecosystem_does_not(tmp_path: Path) -> None:
    listed = {"versions": [str(TORCH)]}
    assert main([export(tmp_path / "a", {"package": {"ecosystem": "PyPI", "name": "torch"}, **listed})]) == 1
    assert main([export(tmp_path / "b", {"package": {"ecosystem": "npm", "name": "torch"}, **listed})]) == 0


def test_no_advisories_are_no_all_clear(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "missing.zip")]) == 2
    assert "no advisories to compare with" in capsys.readouterr().out
