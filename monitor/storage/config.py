"""Settings of the database."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError


class StorageConfig(BaseModel):
    """Where incidents, their alerts and the gallery's embeddings are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        "sqlite:///data/monitor.db",
        description="The database: sqlite:/// and a file's path (four slashes for an absolute one). The folder is made "
        "when it is missing; it must be on a local disk.",
    )

    @field_validator("url")
    @classmethod
    def _names_a_file(cls, value: str) -> str:
        try:
            url = make_url(value)
        except ArgumentError as err:
            raise ValueError("must look like sqlite:///data/monitor.db") from err
        if url.drivername not in ("sqlite", "sqlite+aiosqlite"):
            raise ValueError("must begin with sqlite:///, the only database that is supported")
        if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
            raise ValueError("must name a file, without options: sqlite:///data/monitor.db")
        return value
