"""How long it takes from the first picture with a protected face to the webhook in the receiver's hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from monitor.daemon import running_daemon
from monitor.demo.clip import FPS, GOP_S, Clip, load_clip
from monitor.demo.clip_cache import cached_clip
from monitor.demo.inbox import Inbox
from monitor.demo.live_flv import LiveFlv
from monitor.demo.live_hls import LiveRooms
from monitor.demo.live_rtmp import LiveRtmp
from monitor.demo.portraits import OBAMA_SENATE
from monitor.demo.room_clip import appearing_clip
from monitor.demo.rooms import ROOMS, write_gallery
from monitor.demo.session import demo_config
from monitor.errors import MonitorError
from monitor.streams.stream import Stream

Progress = Callable[[str, int, int], None]
"""What is measured, rooms alerted, rooms in all."""

PHASES_S = (2 / FPS, 8 / FPS, 14 / FPS, 20 / FPS, 26 / FPS)
"""When the face appears after a keyframe: spread over the GOP of 2 s, never on a keyframe."""

SEGMENT_S = float(GOP_S)
_CONNECT_S = 4.0
"""From the daemon's start to the first face: every room is connected and sampled by then."""
_STAGGER_S = 0.6
"""Between the faces of two rooms, so that what is measured is a room's delay and not a queue of twenty."""
_BEFORE_S = 16.0
_AFTER_S = 14.0
_GIVE_UP_S = 20.0


class Rooms(Protocol):
    """One way of publishing: HLS, HTTP-FLV or RTMP."""

    async def add(self, name: str, clip: Clip, *, on_air_for_s: float = 0.0) -> str: ...

    def started_at(self, name: str) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AppearingClip:
    """A clip in which the face appears."""

    clip: Clip
    face_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow:
    """Seconds from the first picture with the face going on the air to the alert in the receiver's hands."""

    kind: str
    seconds: tuple[float, ...]
    aim_p95_s: float

    @property
    def p50_s(self) -> float:
        return float(np.percentile(self.seconds, 50))

    @property
    def p95_s(self) -> float:
        return float(np.percentile(self.seconds, 95))

    def to_dict(self) -> dict[str, Any]:
        """The row that ``--json`` prints."""
        rounded = {"p50_s": round(self.p50_s, 3), "p95_s": round(self.p95_s, 3)}
        return {"kind": self.kind, "rooms": len(self.seconds), **rounded}


async def make_clips(cache_dir: Path) -> list[AppearingClip]:
    """One clip for each phase of the GOP; kept for later runs."""

    def one(phase_s: float) -> AppearingClip:
        before = round((_BEFORE_S + phase_s) * FPS) / FPS
        after = _BEFORE_S + _AFTER_S - before

        def make(path: Path) -> None:
            appearing_clip(path, OBAMA_SENATE, ROOMS[0].shop, seconds_before=before, seconds_after=after)

        settings = repr((ROOMS[0].shop, before, after))
        path = cached_clip(
            cache_dir / "clips", f"appearing-{before:.2f}", inputs=[OBAMA_SENATE.path], settings=settings, make=make
        )
        return AppearingClip(clip=load_clip(path), face_at_s=before)

    return list(await asyncio.gather(*(asyncio.to_thread(one, phase) for phase in PHASES_S)))


def publishers() -> Mapping[str, tuple[Callable[[], Any], float]]:
    """Kind to its publisher and to the p95 that is aimed at."""
    return {
        "rtmp": (LiveRtmp, 5.0),
        "http-flv": (LiveFlv, 5.0),
        "hls": (LiveRooms, SEGMENT_S + 5.0),
    }


async def measure(
    folder: Path, *, cache_dir: Path, rooms: int, kinds: Sequence[str], progress: Progress | None = None
) -> list[LatencyRow]:
    """Measure every kind in turn, each with a fresh daemon.

    :raises MonitorError: a room's alert did not come; there are no figures then.
    """
    clips = await make_clips(cache_dir)
    rows = []
    for kind in kinds:
        publisher, aim = publishers()[kind]
        async with publisher() as published:
            seconds = await _measure_kind(kind, published, clips, folder / kind, cache_dir, rooms, progress)
        rows.append(LatencyRow(kind=kind, seconds=tuple(seconds), aim_p95_s=aim))
    return rows


async def _measure_kind(
    kind: str,
    published: Rooms,
    clips: Sequence[AppearingClip],
    folder: Path,
    cache_dir: Path,
    rooms: int,
    progress: Progress | None,
) -> list[float]:
    shown = {f"{kind}-{number}": clips[number % len(clips)] for number in range(rooms)}
    urls = {}
    for number, (name, clip) in enumerate(shown.items()):
        # Every room is on the air already, each so far that the faces appear one after the other.
        urls[name] = await published.add(
            name, clip.clip, on_air_for_s=clip.face_at_s - _CONNECT_S - _STAGGER_S * number
        )
    async with _daemon(folder, cache_dir, urls) as inbox:
        deadline = time.monotonic() + _CONNECT_S + _STAGGER_S * rooms + _GIVE_UP_S
        while (missing := [name for name in shown if inbox.opened(name) is None]) and time.monotonic() < deadline:
            if progress:
                progress(kind, rooms - len(missing), rooms)
            await inbox.changed(0.5)
        if missing:
            raise MonitorError(f"{kind}: no alert within {_GIVE_UP_S:.0f} s from {', '.join(missing)}")
        return [_delay(inbox, published, name, clip) for name, clip in shown.items()]


def _delay(inbox: Inbox, published: Rooms, name: str, clip: AppearingClip) -> float:
    delivery = inbox.opened(name)
    assert delivery is not None, "every room was alerted"
    delay = delivery.at - published.started_at(name) - clip.face_at_s
    if delay <= 0:
        raise MonitorError(f"{name}: the alert came {-delay:.2f} s before the face; the figures would be worthless")
    return delay


@asynccontextmanager
async def _daemon(folder: Path, cache_dir: Path, urls: Mapping[str, str]) -> AsyncGenerator[Inbox, None]:
    """The daemon with its default sampling interval of 2 s, watching ``urls``, each a room without permission."""
    await asyncio.to_thread(write_gallery, folder / "gallery", datetime.now(UTC).date())
    streams = [
        Stream(id=name, url=url, platform="bench", account=f"clone-{name}", room=name) for name, url in urls.items()
    ]
    async with Inbox() as inbox:
        config = demo_config(folder, cache_dir / "networks", inbox, port=0)
        async with running_daemon(config, streams):
            yield inbox
