"""Settings of the evidence."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class EvidenceConfig(BaseModel):
    """Where pictures and manifests of incidents are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Field(
        Path("data/evidence"),
        description="Folder with one folder per incident; made when it is missing. The pictures show people: give "
        "nobody else the right to read it.",
    )
