"""Reads an incident's evidence manifest for its page, and says whether it is still the one that was recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_BYTES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSample:
    """One compared picture, as text for the page."""

    utc: str
    stream_time: str
    similarity: str
    margin: str
    runner_up: str
    """The next identity behind it; empty when there is none."""
    face_height_px: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestView:
    """What the page shows of a manifest."""

    unaltered: bool
    """Whether the file's SHA-256 is the one in the database."""
    samples: tuple[ManifestSample, ...]


def read_manifest(path: Path, recorded_sha256: str | None) -> ManifestView | None:
    """The manifest at ``path``; None when none was recorded or the file is gone. Blocks: call it in a thread."""
    if recorded_sha256 is None:
        return None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
    except OSError:
        return None
    unaltered = hashlib.sha256(data).hexdigest() == recorded_sha256
    try:
        parsed: Any = json.loads(data)
    except ValueError:
        parsed = None
    rows = parsed.get("samples") if isinstance(parsed, Mapping) else None
    samples = tuple(_sample(row) for row in rows if isinstance(row, Mapping)) if isinstance(rows, list) else ()
    return ManifestView(unaltered=unaltered, samples=samples)


def _sample(row: Mapping[str, Any]) -> ManifestSample:
    return ManifestSample(
        utc=str(row.get("utc", "")),
        stream_time=_number(row.get("stream_time"), 2),
        similarity=_number(row.get("similarity"), 3),
        margin=_number(row.get("margin"), 3),
        runner_up=str(row.get("runner_up") or ""),
        face_height_px=_height(row.get("box_px")),
    )


def _number(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) else ""


def _height(box: object) -> str:
    """Of the corners x1, y1, x2, y2."""
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(corner, (int, float)) for corner in box):
        return ""
    return f"{box[3] - box[1]:.0f}"
