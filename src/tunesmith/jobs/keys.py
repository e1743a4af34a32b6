"""Keys: who may come in, to what, and how often.

The decision: a key is shown once. What is stored is its scrypt hash (RFC 7914), compared in constant time; the part
before the last dash only finds the row. A key that was proved stands in memory under a random process secret, so a
request costs no scrypt.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select

from tunesmith.errors import RequestError, UsageError
from tunesmith.jobs.names import new_id, random_text
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import Key

Scope = Literal["admin", "jobs", "inference"]
SCOPES: tuple[Scope, ...] = ("admin", "jobs", "inference")
PREFIX = "sk-ts-"
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use: requests a minute, unfinished jobs at once, and the models of one project (None: all)."""

    per_minute: int = 600
    most_jobs: int = 1000
    project: str | None = None


class Keys:
    """The keys of a service."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._secret, self._proved = secrets.token_bytes(32), dict[bytes, str]()
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def create(self, name: str, scope: str, limits: Limits = Limits()) -> tuple[Key, str]:
        """The new key and its text, which is shown now and never again.

        Raises:
            UsageError: there is no such scope.
        """
        if scope not in SCOPES:
            raise UsageError(f"{scope}: expected one of {', '.join(SCOPES)}.")
        id, secret, salt = new_id("key", 12), random_text(40), secrets.token_bytes(16)
        key = Key(
            id=id, created_at=self._store.now, name=name, scope=scope, salt=salt.hex(), hash=_hash(secret, salt),
            per_minute=limits.per_minute, most_jobs=limits.most_jobs, project=limits.project,
        )  # fmt: skip
        with self._store.write() as session:
            session.add(key)
        return key, f"{PREFIX}{id.partition('-')[2]}-{secret}"

    def first(self) -> str | None:
        """The text of a key with every right, if there was no key at all yet."""
        with self._store.read() as session:
            if session.scalar(select(func.count()).select_from(Key)):
                return None
        return self.create("first", "admin")[1]

    def all(self) -> list[Key]:
        """All keys, revoked ones too, oldest first."""
        with self._store.read() as session:
            return list(session.scalars(select(Key).order_by(Key.seq)))

    def revoke(self, id: str) -> None:
        """The key opens nothing any more.

        Raises:
            UsageError: there is no such key.
        """
        with self._store.write() as session:
            key = session.scalar(select(Key).where(Key.id == id))
            if key is None:
                raise UsageError(f"{id}: there is no such key. `tunesmith keys list` shows them.")
            key.revoked_at = key.revoked_at or self._store.now

    def admit(self, text: str | None, scopes: Sequence[Scope]) -> Key:
        """The key that opens one of `scopes`, one of its requests used up.

        Raises:
            RequestError: there is no such key (401), it opens something else (403), or it is used too often (429).
        """
        key = self._proven(text) if text else None
        if key is None or key.revoked_at is not None:
            raise RequestError(
                "Incorrect API key provided. Make one with: tunesmith keys create", status=401, code="invalid_api_key"
            )
        if key.scope not in ("admin", *scopes):
            raise RequestError(
                f"This key is for {key.scope}; the request needs {' or '.join(scopes)}.",
                status=403,
                code="insufficient_permissions",
            )
        self._count(key)
        return key

    def _proven(self, text: str) -> Key | None:
        id, _, secret = text.removeprefix(PREFIX).partition("-")
        with self._store.read() as session:
            key = session.scalar(select(Key).where(Key.id == f"key-{id}"))
        mark = hmac.digest(self._secret, text.encode("utf-8", "replace"), "sha256")
        if key is not None and self._proved.get(mark) == key.id:
            return key
        # An unknown key costs as much as a wrong one, so nobody learns which there are.
        salt, expected = (bytes.fromhex(key.salt), key.hash) if key else (b"\0" * 16, "")
        if not hmac.compare_digest(_hash(secret, salt), expected) or key is None:
            return None
        with self._lock:
            if len(self._proved) >= _REMEMBERED:
                self._proved.clear()
            self._proved[mark] = key.id
        return key

    def _count(self, key: Key) -> None:
        """A bucket of a minute's requests that fills up evenly."""
        now, rate = self._clock(), key.per_minute / 60
        with self._lock:
            left, then = self._buckets.get(key.id, (float(key.per_minute), now))
            left = min(float(key.per_minute), left + (now - then) * rate)
            if left >= 1:
                self._buckets[key.id] = (left - 1, now)
                return
        raise RequestError(
            f"Rate limit reached: {key.per_minute} requests a minute.", status=429, code="rate_limit_exceeded"
        )


def _hash(secret: str, salt: bytes) -> str:
    return hashlib.scrypt(secret.encode("utf-8", "replace"), salt=salt, n=2**14, r=8, p=1).hex()
