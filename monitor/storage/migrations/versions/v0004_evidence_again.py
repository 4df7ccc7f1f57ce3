"""Evidence that is drawn anew when an incident is escalated. What there is counts as showing its incident as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COMMENT = "JSON array of EvidenceRecord, oldest first"


def upgrade() -> None:
    op.add_column("incidents", sa.Column("evidence", sa.Text, nullable=False, server_default="[]", comment=_COMMENT))
    op.execute(
        """UPDATE incidents SET evidence = '[{"folder": "' || id || '", "manifest_sha256": "' || manifest_sha256
        || '", "presence": "' || presence || '"}]' WHERE manifest_sha256 IS NOT NULL"""
    )
