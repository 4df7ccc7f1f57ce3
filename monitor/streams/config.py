"""Settings of reading streams, and of which addresses may be read at all."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from monitor.streams.sampling import SamplingPolicy

_LONG_GOP_S = 10.0


class StreamsConfig(BaseModel):
    """How streams are opened, sampled, kept and opened again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampling: SamplingPolicy = Field(
        SamplingPolicy.INTERVAL,
        description="Which keyframes are analysed: interval (one every sample_interval), adaptive (a room where nobody "
        "resembles a protected person, or only such as may be shown, is looked at less and less often, down to one "
        "every max_interval) or every_keyframe. A stream may have its own.",
    )
    sample_interval: float = Field(2.0, ge=0.1, le=60, description="Seconds of stream time between sampled keyframes.")
    max_interval: float = Field(
        10.0,
        ge=0.1,
        le=300,
        description="Most seconds of stream time between sampled keyframes of a quiet or settled room, where sampling "
        "is adaptive.",
    )
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
    ring_s: float = Field(
        12.0,
        ge=0,
        le=300,
        description="Most seconds of encoded video kept for each stream. 0: only keyframes are read and none is kept, "
        "so a candidate is confirmed by the keyframes that follow.",
    )
    rendition_face_px: float = Field(
        48.0,
        ge=16,
        le=2000,
        description="Pixels that a face should be high in the rendition that is chosen of an HLS room; "
        "keep it above faces.min_face_px.",
    )
    rendition_face_share: float = Field(
        0.1,
        gt=0.005,
        le=1,
        description="How high a face is expected to be, as a share of the picture's shorter side. With 48 px and 0.1 "
        "the cheapest rendition at or above 480p is read.",
    )
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
    connects_per_s: float = Field(
        150.0,
        ge=1,
        le=10_000,
        description="Most connections opened a second, over all streams; the others wait for their turn.",
    )
    connects_per_host_at_once: int = Field(
        50, ge=1, le=10_000, description="Most connections that are being opened to one host at the same time."
    )
    opens_per_minute: int = Field(
        600,
        ge=10,
        le=100_000,
        description="Most requests that one stream may cause in a minute, redirects included; playlists that lead "
        "anywhere else are left alone for a while.",
    )
    bytes_per_minute: int = Field(
        400_000_000,
        ge=1_000_000,
        le=100_000_000_000,
        description="Most bytes that are read of one stream in a minute.",
    )
    ended_probe_s: float = Field(
        60.0, ge=0.1, le=3600, description="Seconds between two looks at whether an ended network stream is back."
    )

    @property
    def packet_timeout_s(self) -> float:
        """Seconds until the next packet that is read; longer where that is the next keyframe."""
        return self.read_timeout_s if self.ring_s else self.read_timeout_s + _LONG_GOP_S

    @property
    def rendition_lines(self) -> int:
        """The shorter side, in pixels, that a rendition needs."""
        return round(self.rendition_face_px / self.rendition_face_share)


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
