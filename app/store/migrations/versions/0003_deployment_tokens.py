"""Tokens that open one deployment."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("tokens") as tokens:
        tokens.add_column(sa.Column("deployment_id", sa.String(24)))
        tokens.create_foreign_key(
            "fk_tokens_deployment_id",
            "deployments",
            ["deployment_id"],
            ["id"],
            ondelete="CASCADE",
        )
        tokens.create_index("ix_tokens_deployment_id", ["deployment_id"])
