"""Doors open at once: what may not be imported before it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest
from house.source import ROOMS, dotted, modules

HEAVY = ("torch", "transformers", "peft")
AT_ONCE = ("data", "tokens", "batches", "recipe", "jobs", "cli")


def _imported(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after running some code."""
    tail = "\nimport sys; print('\\n'.join({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def _room(name: str) -> list[Path]:
    return [path for path in modules() if path.is_relative_to(ROOMS / name)]


@pytest.mark.parametrize("room", AT_ONCE)
def test_a_room_that_starts_at_once_imports_neither_torch_nor_transformers(room: str) -> None:
    names = [dotted(path) for path in _room(room)]
    assert not _imported("\n".join(f"import {name}" for name in names)) & set(HEAVY)


def test_no_settings_import_torch_or_transformers() -> None:
    names = [dotted(path) for path in modules() if path.name in ("settings.py", "errors.py", "example.py")]
    assert not _imported("\n".join(f"import {name}" for name in names)) & set(HEAVY)


def test_a_server_imports_torch_with_the_first_model_only() -> None:
    assert not _imported("import tunesmith.web.server") & set(HEAVY)


def test_help_imports_nothing_heavier_than_the_command_line() -> None:
    code = "from tunesmith.cli.main import run; run(['--help']); run(['train', '--help'])"
    assert not _imported(code) & {*HEAVY, "numpy", "pyarrow", "rich", "ruamel", "matplotlib"}


def test_kernels_from_the_hub_are_out_of_reach_of_whatever_would_fetch_them(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("raise SystemExit('imported')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import tunesmith.models.adapters, transformers;"
        "assert not transformers.utils.is_kernels_available()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
