"""The tables; the migrations make the same ones, and a test compares them.

A record has the columns of its table in the same order.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

# The newest migration. Known here so that looking whether a database is current
# costs one query and not the import of alembic.
SCHEMA = "0004"

# What rows get whose column was added after them; every change writes a value.
EPOCH = "1970-01-01 00:00:00"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with time zone, to the microsecond, in UTC when read.

    SQLite has no time zones: there it is the text of the UTC time, which sorts
    like the moments do.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Raises ValueError for a time without zone, whose moment is not known."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """PostgreSQL answers in the zone of the session, SQLite without one."""
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value.astimezone(UTC)


metadata = MetaData(
    # Constraints need names on both databases for later migrations to change them.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

generation = Table(
    "generation",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("role", Text, nullable=False, server_default="user"),
    Column("password", Text),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column(
        "deployment_id",
        # Tokens that open nothing any more go with what they opened.
        ForeignKey("deployments.id", ondelete="CASCADE"),
        index=True,
    ),
)

models = Table(
    "models",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("name", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("owner_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("nbytes", BigInteger, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("label", Text, nullable=False),
    Column("owner_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("model_id", ForeignKey("models.id"), index=True),
    Column("threshold", Double),
    Column("enabled", Boolean, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("deployed_at", UtcDateTime, nullable=False, server_default=EPOCH),
    Column("description", Text),
    Column("importance", Text, nullable=False, server_default="LOW"),
    # NULL is nobody: PostgreSQL compares no JSON, and so no default of it.
    Column("shared_with", JSON(none_as_null=True)),
)

humility_counts = Table(
    "humility_counts",
    metadata,
    Column(
        "deployment_id",
        # Counts that a worker adds late find the deployment, or go with it.
        ForeignKey("deployments.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("rule_id", String(24), primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    Column("triggered", BigInteger, nullable=False),
    Column("looked_at", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # What was deleted is told of as well: no foreign key.
    Column("object_id", String(24), nullable=False, index=True),
    Column("before", JSON(none_as_null=True)),
    Column("after", JSON(none_as_null=True)),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(24), primary_key=True),
    # A deleted deployment leaves its jobs to those who made them.
    Column("deployment_id", String(24), nullable=False, index=True),
    Column("owner_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("source", Text, nullable=False),
    Column("spec", JSON(none_as_null=True), nullable=False),
    Column("pinned", JSON(none_as_null=True), nullable=False),
    Column("status", Text, nullable=False, index=True),
    Column("phase", Text, nullable=False),
    Column("status_details", Text, nullable=False),
    Column("logs", JSON(none_as_null=True), nullable=False),
    Column("queued_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("abort_requested", Boolean, nullable=False),
    Column("runner", Text),
    Column("lease_until", UtcDateTime),
    Column("intake_bytes", BigInteger),
    Column("parts_done", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("scored_rows", BigInteger, nullable=False),
    Column("failed_rows", BigInteger, nullable=False),
    Column("skipped_rows", BigInteger, nullable=False),
    Column("output_bytes", BigInteger, nullable=False),
)

operations = Table(
    "operations",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("owner_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("location", Text),
    Column("updated_at", UtcDateTime, nullable=False),
)
