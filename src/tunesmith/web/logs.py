"""The server's own log: one JSON object a line, on standard error.

The decision: whoever runs a service searches its log by the number of a request (`x-request-id` of the reply), so every
record that is written while a request is served carries it, from whatever room it comes. What looks like a key or a
secret is blanked here, at the last place that a record passes.
"""

import json
import logging
import re
import time
from contextvars import ContextVar

REQUEST: ContextVar[str | None] = ContextVar("request", default=None)
"""The number of the request that is served here."""
FIELDS = ("method", "path", "status", "seconds", "job")
"""What a record may say in fields of its own (`extra` of the logging calls)."""
_SECRET = re.compile(r"""(sk-[A-Za-z0-9]+-|whsec_|(?:Bearer|Basic) |://[^\s:/@]*:(?=[^\s/@]+@))[^\s"'@]+""", re.I)


class Lines(logging.Formatter):
    """A record as a line: time (UTC), level, logger, message, the request's number, fields, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage(),
            "request_id": REQUEST.get(), **{name: getattr(record, name, None) for name in FIELDS},
            "exception": self.formatException(record.exc_info) if record.exc_info else None,
        }  # fmt: skip
        return json.dumps({name: _blanked(value) for name, value in told.items() if value is not None})


def _blanked(value: object) -> object:
    return _SECRET.sub(r"\1…", value) if isinstance(value, str) else value


def write_lines() -> None:
    """From now on this process logs so."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in ("httpx", "alembic"):  # they tell each request, or each start
        logging.getLogger(name).setLevel(logging.WARNING)
