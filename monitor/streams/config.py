"""Settings of reading streams, and of which addresses may be read at all."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class StreamsConfig(BaseModel):
    """How streams are opened, sampled, kept and opened again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_interval: float = Field(2.0, ge=0.1, le=60, description="Seconds of stream time between sampled keyframes.")
    open_timeout_s: float = Field(
        10.0, ge=0.2, le=120, description="Seconds until a connection must have been opened and understood."
    )
    read_timeout_s: float = Field(
        10.0, ge=0.2, le=120, description="Seconds within which the next packet must have arrived whole."
    )
    segment_timeout_s: float = Field(
        20.0, ge=0.2, le=300, description="Seconds within which one HLS segment must have been fetched whole."
    )
    playlist_bytes: int = Field(
        1_000_000, ge=1_000, le=50_000_000, description="Largest HLS playlist accepted, in bytes."
    )
    segment_bytes: int = Field(
        32_000_000, ge=10_000, le=500_000_000, description="Largest HLS segment accepted, in bytes."
    )
    ring_bytes: int = Field(
        8_000_000, ge=100_000, le=500_000_000, description="Most bytes of encoded video kept for each stream."
    )
    ring_s: float = Field(12.0, ge=2, le=300, description="Most seconds of encoded video kept for each stream.")
    stall_after_s: float = Field(
        5.0, ge=0.5, le=120, description="Seconds without a keyframe after which a live stream counts as stalled."
    )
    stall_grace_s: float = Field(
        15.0, ge=0.5, le=600, description="Seconds that a stalled stream is left alone before it is connected again."
    )
    backoff_initial_s: float = Field(
        1.0, ge=0.05, le=60, description="Longest wait before the first new connection; it doubles with each failure."
    )
    backoff_max_s: float = Field(30.0, ge=0.05, le=3600, description="Longest wait between two connections.")
    ended_probe_s: float = Field(
        60.0, ge=0.1, le=3600, description="Seconds between two looks at whether an ended network stream is back."
    )


class NetworkConfig(BaseModel):
    """Which addresses and files may be read beside the public internet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow: tuple[str, ...] = Field(
        (), description="Networks (CIDR) that may be read although they are private, loopback or link-local."
    )
    allow_files: tuple[Path, ...] = Field((), description="Folders whose video files may be watched as streams.")

    @field_validator("allow")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            try:
                ip_network(item)
            except ValueError as err:
                raise ValueError(f"{item!r} is not a network; allowed: CIDR such as 10.0.0.0/8 or ::1/128") from err
        return value
