"""What a sighting's pictures were worth against the alert budget. Of an older incident nobody noted it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("incidents", sa.Column("log_likelihood", sa.Float))
    op.add_column("incidents", sa.Column("log_likelihood_needed", sa.Float))
