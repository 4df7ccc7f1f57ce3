"""How the likeness of an incident was shown. Of an older incident nobody measured it: it counts as presented."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("incidents", sa.Column("presence", sa.String(16), nullable=False, server_default="presenter"))
