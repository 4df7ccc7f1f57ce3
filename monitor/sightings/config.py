"""Settings of the evidence that a likeness needs before anybody is told."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from monitor.sightings.alert_budget import AlertBudget


class SightingsConfig(BaseModel):
    """How many pictures, over how long, prove an identity on a stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alert_budget: AlertBudget = Field(
        default_factory=AlertBudget, description="How many false alerts may come; sizes the evidence that is asked for."
    )
    min_samples: int = Field(
        default=3,
        ge=2,
        le=12,
        description="Matching pictures needed, each at least 0.9 s of stream time after the one before. With 2 a "
        "resemblance by chance, in one shot, can wake somebody; one picture alone never proves anything.",
    )
    min_seconds: float = Field(
        default=2.0,
        ge=1,
        le=60,
        description="Stream time that the matching pictures must span, in seconds. Below 2 a face that a video or a "
        "poster shows in passing is alerted like one that is broadcast.",
    )
    evidence_window_s: float = Field(
        default=30.0,
        ge=5,
        le=3600,
        description="Matching pictures older than this many seconds of stream time no longer count towards a new "
        "sighting, so that a look-alike cannot gather chance matches for hours.",
    )
    track_lost_after_s: float = Field(
        default=8.0,
        ge=1,
        le=600,
        description="A face that was not seen, or did not match, for this many seconds of stream time has left; if it "
        "returns it needs new evidence. Keep it at two sampling intervals or more, and below incidents.close_after.",
    )
    burst_samples: int = Field(
        default=4,
        ge=0,
        le=32,
        description="Extra pictures asked for after a first candidate, so that confirmation does not wait for the "
        "sampling interval; 0 switches bursts off.",
    )
    burst_rest_s: float = Field(
        default=10.0, ge=1, le=3600, description="Seconds of stream time before the same face may cause another burst."
    )
    reembed_interval_s: float = Field(
        default=6.0,
        ge=0,
        le=60,
        description="A face that clearly resembled nobody protected, twice, is compared again with the first picture "
        "so many seconds of stream time later; until then only after a scene cut, or when it moved away, came nearer, "
        "turned or looks different. Saves about a third of the workers' time in a room with one face. The risk: "
        "somebody protected who takes the place of such a face without a cut, in the same pose and light, may be "
        "noticed that much later, and so may somebody who was enrolled meanwhile. 0 compares every face in every "
        "picture.",
    )
