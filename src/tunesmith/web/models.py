"""`/v1/models`: the models that can be tuned, and those that jobs made. Names hold colons, raw or encoded."""

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import select

from tunesmith.errors import RequestError
from tunesmith.jobs.tables import Key, Model
from tunesmith.web import replies
from tunesmith.web.door import Behind, Needs
from tunesmith.web.replies import Reply
from tunesmith.web.service import Service

router = APIRouter(prefix="/v1/models", tags=["Models"])
Reader = Annotated[Key, Depends(Needs("inference", "jobs"))]


@router.get("")
def page(behind: Behind, key: Reader) -> Reply:
    """All models that this key may use."""
    closed = behind.permissions.closed_to(key.project)
    with behind.store.read() as session:
        rows = session.scalars(select(Model).order_by(Model.seq))
        made = [replies.model(row) for row in rows if row.name not in closed]
    return {"object": "list", "data": [*map(replies.base_model, behind.wanted.bases), *made]}


@router.get("/{model:path}")
def get(behind: Behind, model: str, key: Reader) -> Reply:
    """One model."""
    behind.admit(key, model)
    return replies.base_model(model) if model in behind.wanted.bases else replies.model(_found(behind, model))


@router.delete("/{model:path}")
def delete(behind: Behind, model: str, key: Annotated[Key, Depends(Needs("jobs"))]) -> Reply:
    """Remove a model that a job made; it answers no longer."""
    behind.admit(key, model)
    if model in behind.wanted.bases:
        raise RequestError(f"{model} was not made here, so it is not deleted.", status=403, code="not_yours")
    row = _found(behind, model)
    with behind.store.write() as session:
        session.delete(session.merge(row))
    behind.catalogue.forget(model)
    if behind.vllm is not None:
        behind.vllm.forget(model)
    return {"id": model, "object": "model", "deleted": True}


def _found(behind: Service, name: str) -> Model:
    with behind.store.read() as session:
        row = session.scalar(select(Model).where(Model.name == name))
    if row is None:
        raise RequestError(f"The model '{name}' does not exist", status=404, code="model_not_found", param="model")
    return row
