"""The database of the service: SQLite in the home, or PostgreSQL.

The decision: a transaction that means to write says so when it begins. SQLite then takes its one write lock at once
(two readers that both want to write would else deadlock), waits for others, and syncs fully before it answers.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from tunesmith.errors import UsageError
from tunesmith.jobs.tables import Table

_WRITES = "tunesmith_writes"
_MIGRATING = 8_000_131
"""A number that means this to all of us on one PostgreSQL."""


class Store:
    """Sessions on one database. `clock` gives seconds since 1970."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = _engine(url)
        self._clock = clock

    @property
    def now(self) -> int:
        """The time, in whole seconds."""
        return int(self._clock())

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes all stay, or, if the block raises, none."""
        engine = self._engine.execution_options(**{_WRITES: True})
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def migrate(self) -> None:
        """The tables are those of this version; who begins at the same time waits."""
        folder = str(Path(__file__).parent)
        config = Config()
        config.set_main_option("script_location", folder)
        config.set_main_option("version_locations", f"{folder}/versions")
        config.set_main_option("path_separator", "newline")
        script = ScriptDirectory.from_config(config)

        def upgrade(revision: Any, _: Any) -> Any:
            return script._upgrade_revs("head", revision)

        engine = self._engine.execution_options(**{_WRITES: True})
        with EnvironmentContext(config, script, fn=upgrade) as context, engine.connect() as connection:
            if engine.dialect.name == "postgresql":  # servers that begin at once come one after the other, as on SQLite
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
            context.configure(connection=connection, target_metadata=Table.metadata)
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()

    def close(self) -> None:
        """No connection is open any more."""
        self._engine.dispose()


def database_url(home: Path, database: str | None) -> str:
    """The database that was named, or the embedded one in the home."""
    return database if database is not None else f"sqlite:///{home / 'service.db'}"


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError("--database: expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.") from error
    if parsed.get_backend_name() == "postgresql":
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"), pool_size=20, pool_pre_ping=True, hide_parameters=True
        )
    if parsed.get_backend_name() != "sqlite":
        raise UsageError(f"--database: {parsed.get_backend_name()} is not supported; use SQLite or PostgreSQL.")
    engine = create_engine(parsed, pool_size=20, hide_parameters=True, connect_args={"timeout": 60})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")
