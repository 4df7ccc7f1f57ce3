"""How many false alerts may come, in the words of the one who is woken by them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

FACE_MINUTES_A_DAY = 1440
"""Assumed of every room: one face in front of the camera around the clock. What is tested is a face on a room's screen
for a minute against one identity; the same face for an hour is sixty tests, and two faces at once are two."""


class AlertBudget(BaseModel):
    """Sizes the evidence: the more rooms and people, the more chances for a look-alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    false_alerts_per_day: float = Field(
        1.0,
        ge=0.001,
        le=1000,
        description="False alerts a day that are accepted over all rooms. Fewer ask for more similar faces.",
    )
    rooms: int = Field(
        20,
        ge=1,
        le=1_000_000,
        description="Rooms watched at the same time. With more than this, false alerts grow in proportion.",
    )
    identities: int = Field(
        20,
        ge=1,
        le=10_000_000,
        description="Protected people that every face is compared with. With more than this, false alerts grow in "
        "proportion.",
    )

    @property
    def tests_per_day(self) -> float:
        """Chances for a false alert a day."""
        return float(FACE_MINUTES_A_DAY * self.rooms * self.identities)

    @property
    def alpha(self) -> float:
        """Largest acceptable probability that a stranger's face passes for one identity within a minute."""
        return min(0.5, self.false_alerts_per_day / self.tests_per_day)
