"""The audit finds what an advisory says, and only that."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import audit
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


# As OSV exports them (https://ossf.github.io/osv-schema); all but the first are invented. One of PyPI's kind, that
# lists versions beside the commits of its range, one that was withdrawn, one for two ecosystems, one of malice.
ADVISORIES: list[dict[str, Any]] = [
    {
        "schema_version": "1.6.0",
        "id": "GHSA-h75v-3vvj-5mfj",
        "modified": "2025-01-21T17:53:52Z",
        "published": "2024-05-06T14:20:59Z",
        "aliases": ["CVE-2024-34064"],
        "summary": "Jinja vulnerable to HTML attribute injection when passing user input as keys to xmlattr filter",
        "details": "The `xmlattr` filter accepts keys containing non-attribute characters.",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:L/I:L/A:N"}],
        "affected": [
            {
                "package": {"name": "jinja2", "ecosystem": "PyPI", "purl": "pkg:pypi/jinja2"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.4"}]}],
                "database_specific": {"last_known_affected_version_range": "<= 3.1.3"},
            }
        ],
        "references": [{"type": "WEB", "url": "https://nvd.nist.gov/vuln/detail/CVE-2024-34064"}],
        "database_specific": {"cwe_ids": ["CWE-79"], "severity": "MODERATE", "github_reviewed": True},
    },
    {
        "id": "PYSEC-2024-1",
        "details": "No summary, versions under several spellings.",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "ruamel-yaml", "purl": "pkg:pypi/ruamel-yaml"},
                "ranges": [
                    {
                        "type": "GIT",
                        "repo": "https://example.org/r",
                        "events": [{"introduced": "0"}, {"fixed": "3a1b"}],
                    },
                    {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.9"}]},
                ],
                "versions": ["0.8", "v0.8.1-final-2", "0.18.0"],
            }
        ],
    },
    {
        "id": "GHSA-aaaa-bbbb-cccc",
        "withdrawn": "2024-01-01T00:00:00Z",
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": "jinja2"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
            }
        ],
    },
    {
        "id": "GHSA-dddd-eeee-ffff",
        "summary": "Two ecosystems, two branches.",
        "affected": [
            {"package": {"ecosystem": "npm", "name": "torch"}, "versions": ["2.6.0"]},
            {
                "package": {"ecosystem": "PyPI", "name": "torch"},
                "ranges": [
                    {"type": "ECOSYSTEM", "events": [{"introduced": "1.0"}, {"last_affected": "1.13.1"}]},
                    {"type": "ECOSYSTEM", "events": [{"introduced": "2.5.0"}, {"fixed": "2.6.0"}]},
                ],
            },
        ],
    },
    {
        "id": "MAL-2024-7",
        "affected": [{"package": {"ecosystem": "PyPI", "name": "troch"}, "versions": ["9.9.9"]}],
    },
]
PINS = (
    "# tested\nJinja2==3.1.3\nruamel.yaml==0.18  # as in PEP 440, 0.18 is 0.18.0\ntorch==2.6.0\npydantic[email]==2.1\n"
)


def test_an_export_as_osv_writes_it_names_the_vulnerable_pins_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for advisory in ADVISORIES:
            packed.writestr(f"{advisory['id']}.json", json.dumps(advisory))
    (tmp_path / "constraints.txt").write_text(PINS)
    monkeypatch.setattr(audit, "PINNED", tmp_path / "constraints.txt")
    assert main([str(tmp_path / "all.zip")]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"jinja2 3.1.3: GHSA-h75v-3vvj-5mfj {ADVISORIES[0]['summary']}",
        "ruamel-yaml 0.18: PYSEC-2024-1",
    ]
    ours = subprocess.run(
        [sys.executable, audit.__file__, tmp_path / "all.zip"], capture_output=True, text=True, check=False
    )
    assert (ours.returncode, ours.stderr) == (0, "")
    assert "no published advisory counts for any of them" in ours.stdout
