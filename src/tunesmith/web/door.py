"""What every request passes: its Host and Origin, its key, its number, and the form in which errors leave.

The decision: a server on a loopback address is reached by every page in a browser, so a name that is not ours and an
origin that is not ours are refused before anything is read. Each route names the scope that opens it.
"""

import logging
import time
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.errors import RequestError, TunesmithError
from tunesmith.jobs.keys import Scope as KeyScope
from tunesmith.jobs.names import random_text
from tunesmith.jobs.tables import Key
from tunesmith.web.logs import REQUEST
from tunesmith.web.replies import error
from tunesmith.web.service import Service

log = logging.getLogger("tunesmith.web")
BEARER = HTTPBearer(auto_error=False, description="A key of this server: `tunesmith keys create`.")
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def service_of(request: Request) -> Service:
    """The service behind this application."""
    service: Service = request.app.state.service
    return service


Behind = Annotated[Service, Depends(service_of)]


class Needs:
    """A dependency that admits keys of some scopes (and admin), and says which key it was."""

    def __init__(self, *scopes: KeyScope) -> None:
        self.scopes = scopes

    def __call__(self, behind: Behind, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> Key:
        return behind.keys.admit(shown.credentials.strip() if shown is not None else None, self.scopes)


class Measures:
    """What is counted, for Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tunesmith_requests", "Requests by method and status.", ["method", "status"], registry=self.registry
        )
        self.seconds = Histogram("tunesmith_request_seconds", "Seconds to the first byte.", registry=self.registry)
        self.jobs = Gauge("tunesmith_jobs", "Jobs by state.", ["status"], registry=self.registry)
        self.answers = Gauge("tunesmith_answers", "Answers, in progress or waiting.", ["state"], registry=self.registry)

    def page(self, service: Service) -> bytes:
        """The page that Prometheus reads."""
        for status, count in service.jobs.counts().items():
            self.jobs.labels(status).set(count)
        for state, count in zip(("in progress", "waiting"), service.catalogue.load(), strict=True):
            self.answers.labels(state).set(count)
        return generate_latest(self.registry)


class Guard:
    """The outermost layer of the application: every reply passes it, that to a fault of ours too."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], measures: Measures) -> None:
        self._app, self._hosts, self._measures = app, hosts, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        number, began, started = f"req_{random_text(20)}", time.perf_counter(), False
        REQUEST.set(number)

        async def numbered(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                seconds, started = time.perf_counter() - began, True
                extra = {"x-request-id": number, "openai-processing-ms": str(round(1000 * seconds))}
                extra |= {"x-content-type-options": "nosniff", "cache-control": "no-store"}
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in extra.items())]
                self._measures.requests.labels(scope["method"], str(message["status"])).inc()
                self._measures.seconds.observe(seconds)
                log.info("answered", extra={**told, "status": message["status"], "seconds": round(seconds, 4)})
            await send(message)

        told = {"method": scope["method"], "path": scope["path"]}
        try:
            await (self._refusal(scope) or self._app)(scope, receive, numbered)
        except Exception:
            log.exception("failed", extra=told)  # the traceback goes to the log alone
            if not started:
                await _broken()(scope, receive, numbered)
        return None

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if "*" not in self._hosts and name.lower() not in self._hosts:
            return _reply(421, "This server does not answer to that host name. Allow it with --allow-host.", "bad_host")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return _reply(403, "Requests from pages of other origins are refused.", "bad_origin")
        return None


def _reply(status: int, message: str, code: str | None = None, param: str | None = None) -> JSONResponse:
    kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    headers = {401: {"www-authenticate": "Bearer"}, 429: {"retry-after": "1"}}.get(status)
    return JSONResponse(error(message, kind, code, param), status, headers)


async def requested(request: Request, problem: Any) -> JSONResponse:
    """The reply to a request that cannot be granted."""
    assert isinstance(problem, RequestError)
    return _reply(problem.status, str(problem), problem.code, problem.param)


async def troubled(request: Request, problem: Any) -> JSONResponse:
    """The reply where a verb of ours refused."""
    assert isinstance(problem, TunesmithError)
    return _reply(400, str(problem))


async def malformed(request: Request, problem: Any) -> JSONResponse:
    """The reply to a request of a wrong form: 400, as the API has it, and the first thing that is wrong."""
    assert isinstance(problem, RequestValidationError)
    first = problem.errors()[0]
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    param = ".".join(place) or None
    return _reply(400, f"{param}: {first['msg']}" if param else str(first["msg"]), str(first["type"]), param)


async def unknown(request: Request, problem: Any) -> JSONResponse:
    """The reply where there is no such address."""
    assert isinstance(problem, HTTPException)
    message = f"Invalid URL ({request.method} {request.url.path})" if problem.status_code == 404 else problem.detail
    return _reply(problem.status_code, message, "unknown_url" if problem.status_code == 404 else None)


def _broken() -> JSONResponse:
    """The reply to what is our own fault."""
    return _reply(500, "The server had an error while processing your request.", "internal_error")
