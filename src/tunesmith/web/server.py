"""A running server: an address, the application, the workers; until a signal ends it.

The decision: SIGTERM and Ctrl-C end it gently. Answers in progress are finished, running jobs save and go back to the
queue, and only then the process ends.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from typing_extensions import override

from tunesmith.errors import UsageError
from tunesmith.serving.confined import can_confine
from tunesmith.web.app import create_app
from tunesmith.web.logs import write_lines
from tunesmith.web.service import Service, Wanted

LOOPBACK = ("127.0.0.1", "localhost", "::1")
Say = Callable[[str], object]


class _Server(uvicorn.Server):
    """uvicorn's server, which would raise a signal again after its last answer, before any job could be saved."""

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def work(wanted: Wanted, say: Say) -> None:
    """Carry out the jobs of a service whose API runs elsewhere, until asked to end.

    Raises:
        UsageError: the database or the shared place cannot be used.
    """
    write_lines()
    service = Service.of(wanted)
    say(f"{wanted.workers} worker(s) at work (home {service.home.root})")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop.set())
    service.start_workers()
    try:
        service.stop.wait()
    finally:
        service.close()


def serve(wanted: Wanted, host: str, port: int, say: Say) -> None:
    """Serve until asked to end.

    Raises:
        UsageError: another server runs on this home, or the address is taken.
    """
    write_lines()
    if wanted.python_graders and not can_confine():
        raise UsageError("--python-graders needs Linux on x86-64 with seccomp, which confines what clients send.")
    service = Service.of(wanted)
    with service.home.held():
        key = service.keys.first()
        if key is not None:
            say(f"API key (shown once, has every right): {key}")
        say(f"Tunesmith serves http://{host}:{port}/v1 (home {service.home.root})")
        if host not in LOOPBACK:
            say("This address is reached by others: use keys with narrow scopes, and HTTPS in front of it.")
        config = uvicorn.Config(
            create_app(service), host=host, port=port, log_config=None, log_level="warning", access_log=False,
            timeout_graceful_shutdown=30, server_header=False,
        )  # fmt: skip
        server = _Server(config)
        service.start_engine()
        service.start_workers()
        try:
            server.run()
        finally:
            service.close()
    if not server.started:
        raise UsageError(f"{host}:{port}: the server could not use this address. Name another with --port.")
