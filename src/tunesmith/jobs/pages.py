"""Pages of a list that grows while it is read.

The decision: a page is cut by the order of creation and begins after a named element, so what is added meanwhile
neither repeats nor hides anything.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from tunesmith.errors import RequestError

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    limit: int
    after: str | None = None
    order: Literal["asc", "desc"] = "desc"


def page(session: Session, query: Select[Row], table: Any, asked: Page) -> tuple[list[Row], bool]:
    """The rows of a page, and whether there are more behind it.

    Raises:
        RequestError: `after` names nothing that is in this list.
    """
    if asked.after is not None:
        at = session.scalar(select(table.seq).where(table.id == asked.after))
        if at is None:
            raise RequestError(f"No such object: {asked.after}", param="after", code="invalid_after")
        query = query.where(table.seq < at if asked.order == "desc" else table.seq > at)
    order = table.seq.desc() if asked.order == "desc" else table.seq.asc()
    rows = list(session.scalars(query.order_by(order).limit(asked.limit + 1)))
    return rows[: asked.limit], len(rows) > asked.limit
