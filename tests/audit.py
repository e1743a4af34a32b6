"""Compare the pinned versions with the published advisories, offline once the advisories are here.

    make audit                                fetches them first (OSV's export of PyPI, https://osv.dev), some megabytes
    make audit ADVISORIES=pypi-all.zip        reads a file fetched elsewhere; nothing is asked of the network

The export is a zip of one JSON file an advisory in the OSV format (https://ossf.github.io/osv-schema). An advisory
counts where it lists the pinned version, or a range of its events holds it. 0: none does; 1: some do, each is printed;
2: there are no advisories to compare with.
"""

import json
import sys
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

EXPORT = "https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip"
PINNED = Path(__file__).parents[1] / "constraints.txt"


def pins(text: str) -> dict[str, Version]:
    """The pinned versions of a file of constraints, by canonical name."""
    rows = (line.split("#")[0].strip().partition("==") for line in text.splitlines())
    return {canonicalize_name(name.split("[")[0]): Version(version) for name, _, version in rows if version}


def affecting(pinned: Mapping[str, Version], advisories: Iterator[Mapping[str, Any]]) -> list[str]:
    """A line for every advisory that counts for a pinned version."""
    found = []
    for advisory in advisories:
        for affected in advisory.get("affected", ()):
            package = affected.get("package", {})
            version = pinned.get(canonicalize_name(str(package.get("name", ""))))
            if version is None or package.get("ecosystem") != "PyPI" or advisory.get("withdrawn"):
                continue
            if version in map(_version, affected.get("versions", ())) or any(
                holds(r["events"], version) for r in affected.get("ranges", ()) if r.get("type") == "ECOSYSTEM"
            ):
                found.append(f"{package['name']} {version}: {advisory['id']} {advisory.get('summary', '')}".rstrip())
    return sorted(set(found))


def holds(events: Sequence[Mapping[str, str]], version: Version) -> bool:
    """Whether a range of OSV events holds a version: introduced at or before it, and not fixed since."""
    inside = False
    for event in sorted(events, key=lambda e: _version(next(iter(e.values())))):
        ((kind, at),) = event.items()
        if kind == "introduced" and _version(at) <= version:
            inside = True
        elif (kind == "fixed" and _version(at) <= version) or (kind == "last_affected" and _version(at) < version):
            inside = False
    return inside


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


def advisories(export: Path) -> Iterator[Mapping[str, Any]]:
    """Every advisory of an export."""
    with zipfile.ZipFile(export) as packed:
        for name in packed.namelist():
            if name.endswith(".json"):
                yield json.loads(packed.read(name))


def main(arguments: Sequence[str]) -> int:
    """Audit; see the module."""
    pinned = pins(PINNED.read_text(encoding="utf-8"))
    try:
        export = Path(arguments[0] if arguments else urllib.request.urlretrieve(EXPORT)[0])
        found = affecting(pinned, advisories(export))
    except (OSError, zipfile.BadZipFile) as error:
        print(f"no advisories to compare with ({error}). Fetch {EXPORT} elsewhere: make audit ADVISORIES=all.zip")
        return 2
    print("\n".join(found) or f"{len(pinned)} pinned versions: no published advisory counts for any of them")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
