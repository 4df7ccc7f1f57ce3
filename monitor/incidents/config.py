"""Settings of the incidents' life."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class IncidentsConfig(BaseModel):
    """When an incident ends, and how often what it gathers is written down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    close_after: float = Field(
        120.0,
        ge=1.0,
        le=86400.0,
        description="Seconds without the likeness after which its incident closes; a stream that is down counts as "
        "without. Shorter than a publisher's usual reconnect means a second alert for the same room.",
    )
    persist_every_s: float = Field(
        5.0,
        ge=0.0,
        le=60.0,
        description="Least seconds between two writes of an open incident that was only seen again. Openings, changes "
        "and closings are always written at once.",
    )
