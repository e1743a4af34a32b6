"""What several machines of one service share beside the database: files, job states and models in one place.

The decision: every machine keeps a home of its own and works only in it; what others need is copied to the shared place
(any that fsspec knows: a folder, `s3://…`) before a row speaks of it, and brought back where it is missed. A folder is
there when the list of its files is, which is written last. Job states stand under the fence of the worker that wrote
them, so one that was fenced off overwrites nothing.
"""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec

from tunesmith.errors import UsageError

_LIST = "files.json"
_RUN, _FENCE = "run", "fence"


class Shared:
    """A place that all machines of a service reach; names in it are those of the home."""

    def __init__(self, url: str, root: Path) -> None:
        try:
            self._system, base = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"--shared {url}: {error}.") from error
        self._base, self._root = base.rstrip("/"), root
        self._known: dict[str, tuple[int, int]] = {}

    def put(self, path: Path, name: str | None = None) -> None:
        """A file or folder of the home is there too, under its name or under another one."""
        name = name or self._name(path)
        if path.is_file():
            return self._put(path, name)
        files = []
        for file in sorted(path.rglob("*")):
            if not file.is_file():
                continue
            relative = file.relative_to(path).as_posix()
            try:
                self._put(file, f"{name}/{relative}")
            except FileNotFoundError:
                continue  # an old checkpoint that its run has just given up
            files.append(relative)
        return self._write(f"{name}/{_LIST}", json.dumps(files).encode())

    def fetch(self, path: Path, name: str | None = None) -> bool:
        """A file or folder is in the home, if it is here; False where it is not. What is in the home stays as it is."""
        name = name or self._name(path)
        if path.exists():
            return True
        partial = path.with_name(f".{path.name}.fetched")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        try:
            listed = self._read(f"{name}/{_LIST}")
            if listed is None:
                self._system.get_file(self._at(name), str(partial))
            for relative in json.loads(listed or b"[]"):
                (partial / relative).parent.mkdir(parents=True, exist_ok=True)
                self._system.get_file(self._at(f"{name}/{relative}"), str(partial / relative))
            partial.rename(path)
        except FileNotFoundError:
            return False
        return True

    def remove(self, path: Path) -> None:
        """It is no longer here."""
        name = self._at(self._name(path))
        if self._system.exists(name):
            self._system.rm(name, recursive=True)

    def save_run(self, job: Path, fence: int) -> None:
        """A job's run as it stands now is here, under the fence of its worker."""
        self.put(job / _RUN, f"{self._name(job)}/{_RUN}/{fence}")

    def take_run(self, job: Path, fence: int) -> None:
        """A job's run in the home is the newest there is; it is this worker's from now on."""
        mark = job / _FENCE
        own = int(mark.read_text(encoding="utf-8")) if mark.is_file() else -1
        last = max(self._fences(job), default=-1)
        if last > own:
            shutil.rmtree(job / _RUN, ignore_errors=True)
            self.fetch(job / _RUN, f"{self._name(job)}/{_RUN}/{last}")
        job.mkdir(parents=True, exist_ok=True)
        mark.write_text(str(fence), encoding="utf-8")

    def _fences(self, job: Path) -> Iterator[int]:
        place = self._at(f"{self._name(job)}/{_RUN}")
        self._system.invalidate_cache()
        for found in self._system.ls(place, detail=False) if self._system.exists(place) else []:
            fence = found.rstrip("/").rpartition("/")[2]
            if fence.isdecimal() and self._system.exists(f"{place}/{fence}/{_LIST}"):
                yield int(fence)

    def _put(self, file: Path, name: str) -> None:
        stat = file.stat()
        if self._known.get(name) == (stat.st_size, stat.st_mtime_ns):
            return
        self._write(name, file)
        self._known[name] = (stat.st_size, stat.st_mtime_ns)

    def _write(self, name: str, content: bytes | Path) -> None:
        """Whole or not at all: object stores write so by themselves, elsewhere a rename does it."""
        at = self._at(name)
        local = "file" in self._protocols()
        target = f"{at}.partial" if local else at
        self._system.makedirs(at.rpartition("/")[0], exist_ok=True)
        if isinstance(content, bytes):
            self._system.pipe_file(target, content)
        else:
            self._system.put_file(str(content), target)
        if local:
            self._system.mv(target, at)

    def _read(self, name: str) -> bytes | None:
        self._system.invalidate_cache()
        try:
            found: bytes = self._system.cat_file(self._at(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found

    def _protocols(self) -> tuple[str, ...]:
        named: Any = self._system.protocol
        return (named,) if isinstance(named, str) else tuple(named)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _at(self, name: str) -> str:
        return f"{self._base}/{name}"


class Saver:
    """Copies a run to the shared place whenever it has a new checkpoint, beside the one who watches it."""

    def __init__(self, shared: Shared | None, run: Path, fence: int) -> None:
        self._shared, self._run, self._fence = shared, run, fence
        self._pool = ThreadPoolExecutor(1)
        self._saving: Future[None] | None = None
        self._seen: set[str] = set()

    def look(self) -> None:
        """Begin to save, if there is something new and nothing is being saved."""
        if self._shared is None or (self._saving is not None and not self._saving.done()):
            return
        folder = self._run / "checkpoints"
        found = {path.name for path in folder.glob("step-*")} if folder.is_dir() else set()
        if found - self._seen:
            self._seen |= found
            self._saving = self._pool.submit(self._shared.save_run, self._run.parent, self._fence)

    def finish(self) -> None:
        """What was new is saved.

        Raises:
            OSError: the shared place did not take it.
        """
        if self._saving is not None:
            self._saving.result()
        self.look()
        self._pool.shutdown(wait=True)
        if self._saving is not None:
            self._saving.result()
