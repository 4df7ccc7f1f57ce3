"""What the ingest bench found out, and which aims that meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DENSE_S, SPARSE_S = 2.0, 10.0
"""The two sampling intervals that are measured, seconds."""

MOST_OF_FLOOR = 1.15
LEAST_TIMES_CHEAPER = 8.0
LEAST_TIMES_FEWER_BYTES = 50.0
MOST_RSS_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds for each second of one room."""

    ours: float
    floor: float
    opencv: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes that the server sent for each second of one room."""

    ours: float
    """HLS: opened by its master playlist, of which the monitor chooses the rendition."""
    libav_master: float
    """Pulled by ``av.open`` of the same master playlist, or of the same RTMP address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRow:
    """One kind at one sampling interval."""

    kind: str
    height: int
    """Of the picture that all decode, in pixels."""
    interval_s: float
    streams: int
    """Rooms whose CPU was measured."""
    cpu: Cost
    traffic: Traffic
    rss_bytes: float
    """Resident memory that one more room takes in the daemon's process, what its ring holds left out."""
    most_streams: int
    """Rooms up to which that was measured."""

    def to_dict(self) -> dict[str, Any]:
        """The row that ``--json`` prints."""
        cpu, traffic = self.cpu, self.traffic
        return {
            "kind": self.kind,
            "height": self.height,
            "interval_s": self.interval_s,
            "streams": self.streams,
            "cpu_s_per_stream_s": {
                "ours": round(cpu.ours, 6),
                "floor": round(cpu.floor, 6),
                "opencv": round(cpu.opencv, 6),
            },
            "bytes_per_stream_s": {"ours": round(traffic.ours), "libav_master": round(traffic.libav_master)},
            "rss_bytes_per_stream": round(self.rss_bytes),
        }

    def missed(self) -> list[str]:
        """The aims that this row misses, in words; those that it is not measured by are not among them."""
        said = []
        if self.interval_s == DENSE_S and self.cpu.ours > MOST_OF_FLOOR * self.cpu.floor:
            said.append(f"CPU above {MOST_OF_FLOOR:g} x floor")
        if self.cpu.opencv < LEAST_TIMES_CHEAPER * self.cpu.ours:
            said.append(f"CPU above OpenCV / {LEAST_TIMES_CHEAPER:g}")
        sparse_hls = self.kind == "hls" and self.interval_s == SPARSE_S
        if sparse_hls and self.traffic.libav_master < LEAST_TIMES_FEWER_BYTES * self.traffic.ours:
            said.append(f"bytes above libav / {LEAST_TIMES_FEWER_BYTES:g}")
        if self.rss_bytes >= MOST_RSS_BYTES:
            said.append("memory above 1 MiB")
        return said
