"""The first tables: incidents, their timeline, the outbox, the gallery's references."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _incidents()
    _timeline()
    _outbox()
    _stored_references()


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("identity_id", sa.Text, nullable=False),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("room", sa.Text, nullable=False),
        sa.Column("identity_name", sa.Text, nullable=False),
        sa.Column("consent", sa.Text, nullable=False),
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("decision", sa.String(32), nullable=False),
        sa.Column("decision_detail", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("products", sa.Text, nullable=False),
        sa.Column("similarity", sa.Float, nullable=False),
        sa.Column("margin", sa.Float, nullable=False),
        sa.Column("similarity_threshold", sa.Float, nullable=False),
        sa.Column("samples_matched", sa.Integer, nullable=False),
        sa.Column("samples_seen", sa.Integer, nullable=False),
        sa.Column("face_height_px", sa.Float, nullable=False),
        sa.Column("seconds_on_screen", sa.Float, nullable=False),
        sa.Column("first_seen_at", sa.String(27), nullable=False),
        sa.Column("opened_at", sa.String(27), nullable=False),
        sa.Column("last_seen_at", sa.String(27), nullable=False),
        sa.Column("violation_since", sa.String(27)),
        sa.Column("closed_at", sa.String(27)),
        sa.Column("stream_time_first", sa.Float, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("manifest_sha256", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index(
        "uq_incidents_one_open",
        "incidents",
        ["identity_id", "platform", "account", "room"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
    )
    op.create_index("ix_incidents_identity_id_id", "incidents", ["identity_id", "id"])


def _timeline() -> None:
    op.create_table(
        "timeline",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("incident_id", sa.String(26), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_timeline"),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_timeline_incident_id", ondelete="CASCADE"),
    )
    op.create_index("ix_timeline_incident_id", "timeline", ["incident_id"])


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(30), nullable=False),
        sa.Column("incident_id", sa.String(26), nullable=False),
        sa.Column("receiver", sa.Text, nullable=False),
        sa.Column("transition", sa.String(16), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("alert", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", sa.String(27), nullable=False),
        sa.Column("delivered_at", sa.String(27)),
        sa.Column("dead_at", sa.String(27)),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("incident_id", "receiver", "sequence", name="uq_outbox_incident_id_receiver_sequence"),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_outbox_incident_id", ondelete="CASCADE"),
    )
    op.create_index(
        "ix_outbox_waiting",
        "outbox",
        ["receiver", "created_at"],
        sqlite_where=sa.text("delivered_at IS NULL AND dead_at IS NULL"),
    )


def _stored_references() -> None:
    op.create_table(
        "stored_references",
        sa.Column("photo_sha256", sa.String(64), nullable=False),
        sa.Column("pack_digest", sa.String(64), nullable=False),
        sa.Column("embedding", sa.LargeBinary, nullable=False),
        sa.Column("crop_jpeg", sa.LargeBinary, nullable=False),
        sa.Column("face_height_px", sa.Float, nullable=False),
        sa.Column("sharpness", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("photo_sha256", "pack_digest", name="pk_stored_references"),
    )
