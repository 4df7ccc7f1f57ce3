"""The database's tables. Times are UTC text of fixed width, so that they sort: ``2026-01-02T03:04:05.678901Z``."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)


class UtcText(TypeDecorator[datetime]):
    """A timezone-aware datetime as ISO 8601 text in UTC, to the microsecond."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs a time zone")
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("identity_id", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("room", Text, nullable=False),
    Column("identity_name", Text, nullable=False),
    Column("consent", Text, nullable=False),
    Column("stream_id", Text, nullable=False),
    Column("state", String(8), nullable=False),
    Column("decision", String(32), nullable=False),
    Column("decision_detail", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("products", Text, nullable=False, comment="JSON array of text"),
    Column("similarity", Float, nullable=False),
    Column("margin", Float, nullable=False),
    Column("similarity_threshold", Float, nullable=False),
    Column("samples_matched", Integer, nullable=False),
    Column("samples_seen", Integer, nullable=False),
    Column("face_height_px", Float, nullable=False),
    Column("seconds_on_screen", Float, nullable=False),
    Column("first_seen_at", UtcText, nullable=False),
    Column("opened_at", UtcText, nullable=False),
    Column("last_seen_at", UtcText, nullable=False),
    Column("violation_since", UtcText),
    Column("closed_at", UtcText),
    Column("stream_time_first", Float, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("manifest_sha256", String(64)),
    Column("presence", String(16), nullable=False, server_default="presenter"),
    Column("evidence", Text, nullable=False, server_default="[]", comment="JSON array of EvidenceRecord, oldest first"),
    Column("log_likelihood", Float),
    Column("log_likelihood_needed", Float),
    Index(
        "uq_incidents_one_open",
        "identity_id",
        "platform",
        "account",
        "room",
        unique=True,
        sqlite_where=text("state = 'open'"),
    ),
    Index("ix_incidents_identity_id_id", "identity_id", "id"),
)

timeline = Table(
    "timeline",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("incident_id", String(26), ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False),
    Column("at", UtcText, nullable=False),
    Column("event", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("ix_timeline_incident_id", "incident_id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(30), primary_key=True),
    Column("incident_id", String(26), ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False),
    Column("receiver", Text, nullable=False),
    Column("transition", String(16), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("alert", Text, nullable=False, comment="JSON object, as Alert.to_dict writes it"),
    Column("created_at", UtcText, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcText, nullable=False),
    Column("delivered_at", UtcText),
    Column("dead_at", UtcText),
    Column("last_error", Text),
    UniqueConstraint("incident_id", "receiver", "sequence"),
    Index(
        "ix_outbox_waiting",
        "receiver",
        "created_at",
        sqlite_where=text("delivered_at IS NULL AND dead_at IS NULL"),
    ),
)

stored_references = Table(
    "stored_references",
    metadata,
    Column("photo_sha256", String(64), primary_key=True),
    Column("pack_digest", String(64), primary_key=True),
    Column("embedding", LargeBinary, nullable=False, comment="float32, little-endian"),
    Column("crop_jpeg", LargeBinary, nullable=False),
    Column("face_height_px", Float, nullable=False),
    Column("sharpness", Float, nullable=False),
)

streams = Table(
    "streams",
    metadata,
    Column("number", Integer, primary_key=True, comment="the order in which they came"),
    Column("id", String(64), nullable=False, unique=True),
    Column("origin", String(8), nullable=False),
    Column("hook", Text, nullable=False),
    Column("publisher", Text, nullable=False),
    Column("url", Text, nullable=False, comment="can hold a key"),
    Column("definition", Text, nullable=False, comment="JSON object: the rest of what defines the stream"),
)
