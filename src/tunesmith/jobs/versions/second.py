"""Permissions for checkpoints, projects of keys and jobs, integrations of jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table and the columns."""
    op.create_table(
        "permissions",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("model", "project", name="permitted_once"),
    )
    op.add_column("keys", sa.Column("project", sa.String(length=64), nullable=True))
    op.add_column("jobs", sa.Column("project", sa.String(length=64), nullable=True))
    op.add_column("jobs", sa.Column("integrations", sa.JSON(), nullable=True))
