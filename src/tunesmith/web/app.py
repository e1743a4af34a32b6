"""The application: every route, behind one guard.

The decision: what needs no key is listed here by name (the page, which holds no data, and the two that say whether
the server lives); everything else is opened by a scope that its router names.
"""

from pathlib import Path

from fastapi import Depends, FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from tunesmith.errors import RequestError, TunesmithError
from tunesmith.web import chat, completions, files, fine_tuning, graders, hooks, models, permissions, uploads
from tunesmith.web.door import (
    Behind,
    Guard,
    Measures,
    Needs,
    malformed,
    requested,
    troubled,
    unknown,
)
from tunesmith.web.service import Service

PUBLIC = ("/", "/healthz", "/readyz")
_PAGE = Path(__file__).with_name("page.html")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # noqa: E501


def create_app(service: Service) -> FastAPI:
    """The application that serves `service`."""
    app = FastAPI(title="Tunesmith", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    measures = Measures()
    for module in (files, uploads, graders, permissions, fine_tuning, models, chat, completions, hooks):
        app.include_router(module.router)
    app.add_exception_handler(RequestError, requested)
    app.add_exception_handler(TunesmithError, troubled)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, unknown)
    app.add_middleware(Guard, hosts=service.wanted.hosts, measures=measures)

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(_PAGE.read_text(encoding="utf-8"), headers={"content-security-policy": _POLICY})

    @app.get("/healthz", include_in_schema=False)
    def lives() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", include_in_schema=False)
    def ready(behind: Behind) -> JSONResponse:
        try:
            with behind.store.read() as session:
                session.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return JSONResponse({"status": "the database does not answer"}, 503)
        return JSONResponse({"status": "stopping"}, 503) if behind.stop.is_set() else JSONResponse({"status": "ok"})

    @app.get("/metrics", include_in_schema=False, dependencies=[Depends(Needs("admin"))])
    def metrics(behind: Behind) -> Response:
        return Response(measures.page(behind), media_type="text/plain; version=0.0.4")

    @app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(Needs("inference", "jobs"))])
    def described() -> JSONResponse:
        return JSONResponse(app.openapi())

    return app
