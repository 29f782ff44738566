"""Roles, what deployments tell of themselves, the audit, batch jobs and operations."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# SQLite asks for a default where a column is added that must have a value.
_EPOCH = "1970-01-01 00:00:00"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    json = sa.JSON(none_as_null=True)
    _change_users()
    _change_deployments(moment)
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("object_id", sa.String(24), nullable=False),
        sa.Column("before", json),
        sa.Column("after", json),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
    )
    op.create_index("ix_audit_object_id", "audit", ["object_id"])
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("deployment_id", sa.String(24), nullable=False),
        sa.Column("owner_id", sa.String(24), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("spec", json, nullable=False),
        sa.Column("pinned", json, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("status_details", sa.Text, nullable=False),
        sa.Column("logs", json, nullable=False),
        sa.Column("queued_at", moment),
        sa.Column("started_at", moment),
        sa.Column("finished_at", moment),
        sa.Column("expires_at", moment),
        sa.Column("abort_requested", sa.Boolean, nullable=False),
        sa.Column("runner", sa.Text),
        sa.Column("lease_until", moment),
        sa.Column("intake_bytes", sa.BigInteger),
        sa.Column("parts_done", sa.Integer, nullable=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.Column("scored_rows", sa.BigInteger, nullable=False),
        sa.Column("failed_rows", sa.BigInteger, nullable=False),
        sa.Column("skipped_rows", sa.BigInteger, nullable=False),
        sa.Column("output_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_jobs_owner_id"),
    )
    op.create_index("ix_jobs_deployment_id", "jobs", ["deployment_id"])
    op.create_index("ix_jobs_owner_id", "jobs", ["owner_id"])
    op.create_index("ix_jobs_status", "jobs", ["status"])
    op.create_table(
        "operations",
        sa.Column("id", sa.String(24), nullable=False),
        sa.Column("owner_id", sa.String(24), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("location", sa.Text),
        sa.Column("updated_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_operations"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_operations_owner_id"
        ),
    )
    op.create_index("ix_operations_owner_id", "operations", ["owner_id"])


def _change_users() -> None:
    # Column by column: SQLite would copy the table for more than that, and drop the
    # old one, with all that its rows own.
    role = sa.Column("role", sa.Text, nullable=False, server_default="user")
    op.add_column("users", role)
    op.add_column("users", sa.Column("password", sa.Text))
    op.execute("UPDATE users SET role = 'admin' WHERE admin")
    op.execute("ALTER TABLE users DROP COLUMN admin")


def _change_deployments(moment: sa.DateTime) -> None:
    for column in (
        sa.Column("deployed_at", moment, nullable=False, server_default=_EPOCH),
        sa.Column("description", sa.Text),
        sa.Column("importance", sa.Text, nullable=False, server_default="LOW"),
        sa.Column("shared_with", sa.JSON(none_as_null=True)),
    ):
        op.add_column("deployments", column)
    op.execute("UPDATE deployments SET deployed_at = created_at")
