"""Permissions: which project may use a tuned model that another one made.

The decision: a key may belong to a project. It then answers with the base models, with the models that keys of its
project made, and with those that an administrator permitted to it; a key without a project may use all. Files and jobs
are not divided by project.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.errors import RequestError
from tunesmith.jobs.names import new_id
from tunesmith.jobs.pages import Page, page
from tunesmith.jobs.store import Store
from tunesmith.jobs.tables import Job, Model, Permission


class Permissions:
    """The permissions of a service."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def grant(self, model: str, projects: Sequence[str]) -> list[Permission]:
        """The permissions of these projects for a model; one that was there stays as it was.

        Raises:
            RequestError: there is no such tuned model.
        """
        with self._store.write() as session:
            self._known(session, model)
            found = []
            for project in dict.fromkeys(projects):
                query = select(Permission).where(Permission.model == model, Permission.project == project)
                row = session.scalar(query)
                if row is None:
                    row = Permission(id=new_id("cp"), created_at=self._store.now, model=model, project=project)
                    session.add(row)
                    session.flush()
                found.append(row)
            return found

    def page(self, model: str, project: str | None, asked: Page) -> tuple[list[Permission], bool]:
        """A page of a model's permissions."""
        query = select(Permission).where(Permission.model == model)
        if project is not None:
            query = query.where(Permission.project == project)
        with self._store.read() as session:
            self._known(session, model)
            return page(session, query, Permission, asked)

    def revoke(self, model: str, id: str) -> None:
        """The permission is gone.

        Raises:
            RequestError: there is none of this id for this model.
        """
        with self._store.write() as session:
            row = session.scalar(select(Permission).where(Permission.id == id, Permission.model == model))
            if row is None:
                raise RequestError(f"No such permission: {id}", status=404, code="permission_not_found")
            session.delete(row)

    def closed_to(self, project: str | None) -> set[str]:
        """The tuned models that a key of this project may not use."""
        if project is None:
            return set()
        with self._store.read() as session:
            others = select(Model.name).join(Job, Job.id == Model.job_id)
            others = others.where(Job.project.is_distinct_from(project))
            permitted = select(Permission.model).where(Permission.project == project)
            return set(session.scalars(others)) - set(session.scalars(permitted))

    @staticmethod
    def _known(session: Session, model: str) -> None:
        if session.scalar(select(Model.name).where(Model.name == model)) is None:
            raise RequestError(
                f"The model '{model}' does not exist", status=404, code="model_not_found",
                param="fine_tuned_model_checkpoint",
            )  # fmt: skip
