"""How many keyframes a second all workers of this machine look at together, decoding included."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

import av
import numpy as np
from prometheus_client import CollectorRegistry

from monitor.bench.faces_pictures import Picture
from monitor.errors import MonitorError
from monitor.faces.config import FacesConfig
from monitor.faces.inference.process import is_shared
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.streams.packet import EncodedFrame, Packet, VideoFormat

_WAITING_EACH = 2
"""Jobs for each worker that are under way at once: one in hand, one that waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRate:
    """What came out."""

    workers: int
    shared: bool
    """One process ran the networks for all."""
    frames_per_s: float
    p99_ms: float
    """From handing a keyframe in to having its faces, while every worker is busy."""


def keyframe(picture: Picture) -> EncodedFrame:
    """``picture`` (shape (H, W, 3), BGR) as a room would send it: one H.264 keyframe."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, 25), Fraction(25)
    encoder.options = {"preset": "veryfast", "crf": "23", "x264-params": "keyint=50:bframes=0"}
    shown = av.VideoFrame.from_ndarray(picture, format="bgr24")
    shown.pts, shown.time_base = 0, encoder.time_base
    packet, *_ = [*encoder.encode(shown), *encoder.encode(None)]
    return EncodedFrame(
        stream_id="bench",
        epoch=0,
        format=VideoFormat(
            codec=encoder.codec.canonical_name,
            extradata=encoder.extradata,
            width=encoder.width,
            height=encoder.height,
            time_base=Fraction(1, 25),
        ),
        packets=(Packet(data=bytes(packet), pts=0, dts=0, is_keyframe=True, received_at=datetime.now(UTC)),),
        instants=(0,),
    )


async def pool_rate(config: FacesConfig, pictures: Sequence[Picture], jobs_each: int) -> PoolRate:
    """Let all workers look at the pictures in turn, each of which shows one face.

    :param jobs_each: how many pictures each worker gets.
    :raises PackError: the pack or the provider is not there.
    :raises MonitorError: a face was missed; the figures would be worthless.
    """
    frames = [keyframe(picture) for picture in pictures]
    pool = VisionPool(config, FacesMetrics(CollectorRegistry()))
    try:
        await pool.start()
        await pool.ready()
        # One stands by.
        workers = pool.workers - 1
        await _look(pool, frames, iter(range(2 * workers)), workers)
        began, count = time.monotonic(), jobs_each * workers
        took = await _look(pool, frames, iter(range(count)), workers)
        seconds = time.monotonic() - began
    finally:
        await pool.aclose()
    return PoolRate(
        workers=workers,
        shared=is_shared(config),
        frames_per_s=count / seconds,
        p99_ms=1000 * float(np.percentile(took, 99)),
    )


async def _look(pool: VisionPool, frames: Sequence[EncodedFrame], numbers: Iterator[int], workers: int) -> list[float]:
    """Seconds that each look took, as many under way at once as keep the workers busy."""
    took: list[float] = []

    async def look_on() -> None:
        for number in numbers:
            began = time.monotonic()
            (picture,) = await pool.analyse(frames[number % len(frames)])
            took.append(time.monotonic() - began)
            found = sum(face.embedding is not None for face in picture.faces)
            if found != 1:
                raise MonitorError(f"bench: the workers found {found} faces in a picture with one")

    try:
        async with asyncio.TaskGroup() as looks:
            for _ in range(_WAITING_EACH * workers):
                looks.create_task(look_on())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return took
