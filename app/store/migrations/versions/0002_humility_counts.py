"""How often humility rules triggered."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "humility_counts",
        sa.Column("deployment_id", sa.String(24), nullable=False),
        sa.Column("rule_id", sa.String(24), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("triggered", sa.BigInteger, nullable=False),
        sa.Column("looked_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "deployment_id", "rule_id", "hour", name="pk_humility_counts"
        ),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name="fk_humility_counts_deployment_id",
            ondelete="CASCADE",
        ),
    )
