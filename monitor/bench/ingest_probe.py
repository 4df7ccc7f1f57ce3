"""One way of watching rooms, in a process of its own: ``python -m monitor.bench.ingest_probe ROLE``.

Each line of input is a question in JSON and gets one line as its answer; the process ends when its input does.
``snapshot`` tells what the process and its children have used and done so far.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import psutil

from monitor.errors import MonitorError

Answer = dict[str, Any]

_PROBE_US = "1000000"


class Watcher(Protocol):
    """One way of watching."""

    async def watch(self, question: Mapping[str, Any]) -> Answer:
        """Begin to watch ``question["urls"]``; at once, or once ``snapshot`` shows them."""

    def snapshot(self) -> Answer:
        """What was done so far."""


def usage() -> Answer:
    """CPU seconds of this process and all its children, gone ones included; resident bytes of this process."""
    me = psutil.Process()
    own = me.cpu_times()
    cpu_s = own.user + own.system + own.children_user + own.children_system
    for child in me.children(recursive=True):
        times = child.cpu_times()
        cpu_s += times.user + times.system
    return {"at": time.monotonic(), "cpu_s": cpu_s, "rss": me.memory_info().rss}


class Floor:
    """Decodes keyframes at a given rate and does nothing else: a bare codec context for each."""

    def __init__(self) -> None:
        self._pictures = 0

    async def watch(self, question: Mapping[str, Any]) -> Answer:
        threading.Thread(target=self._decode, args=(Path(question["clip"]), question["per_s"]), daemon=True).start()
        return {}

    def snapshot(self) -> Answer:
        return {"pictures": self._pictures}

    def _decode(self, path: Path, per_s: float) -> None:
        import io

        import av
        from av.video.codeccontext import VideoCodecContext

        from monitor.demo.clip import load_clip

        clip = load_clip(path)
        with av.open(io.BytesIO(clip.template)) as container:
            extradata = container.streams.video[0].codec_context.extradata
        keyframes = [packet.data for packet in clip.packets if packet.is_keyframe]
        begun = time.monotonic()
        while True:
            time.sleep(max(0.0, begun + self._pictures / per_s - time.monotonic()))
            codec = VideoCodecContext.create("h264", "r")
            codec.extradata = extradata
            codec.thread_count, codec.thread_type = 1, "NONE"
            codec.decode(av.Packet(keyframes[self._pictures % len(keyframes)]))
            codec.decode(None)
            self._pictures += 1


class OpenCv:
    """One ``cv2.VideoCapture`` for each room: everything is decoded, one picture every interval is taken out."""

    _OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"

    def __init__(self) -> None:
        self._decoded: dict[int, int] = {}
        self._taken: dict[int, int] = {}

    async def watch(self, question: Mapping[str, Any]) -> Answer:
        # Only so that it begins sooner: without it RTMP is looked at for five seconds before anything is decoded.
        os.environ[self._OPTIONS] = f"analyzeduration;{_PROBE_US}"
        for number, url in enumerate(question["urls"]):
            threading.Thread(target=self._read, args=(number, url, question["interval_s"]), daemon=True).start()
        return {}

    def snapshot(self) -> Answer:
        return {"decoded": sum(self._decoded.values()), "live": sum(count > 0 for count in self._taken.values())}

    def _read(self, number: int, url: str, interval_s: float) -> None:
        import cv2

        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
        self._decoded[number] = self._taken[number] = 0
        due = 0.0
        # grab decodes; retrieve converts to BGR, which only a picture that is looked at needs.
        while capture.grab():
            self._decoded[number] += 1
            now = time.monotonic()
            if now >= due:
                self._taken[number] += capture.retrieve()[0]
                due = now + interval_s


class Libav:
    """One ``av.open`` for each room, its tallest picture demuxed, nothing decoded: what comes over the wire."""

    def __init__(self) -> None:
        self._packets: dict[int, int] = {}

    async def watch(self, question: Mapping[str, Any]) -> Answer:
        for number, url in enumerate(question["urls"]):
            threading.Thread(target=self._read, args=(number, url), daemon=True).start()
        return {}

    def snapshot(self) -> Answer:
        return {"live": sum(count > 0 for count in self._packets.values())}

    def _read(self, number: int, url: str) -> None:
        import av

        with av.open(url, timeout=(30.0, 30.0), options={"analyzeduration": _PROBE_US}) as container:
            best = max(container.streams.video, key=lambda stream: stream.height)
            for _ in container.demux(best):
                self._packets[number] = self._packets.get(number, 0) + 1


def _watcher(role: str) -> Watcher:
    if role == "ours":
        from monitor.bench.ingest_ours import Ours

        return Ours()
    watchers: Mapping[str, Callable[[], Watcher]] = {"floor": Floor, "opencv": OpenCv, "libav": Libav}
    return watchers[role]()


async def _serve(watcher: Watcher) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        question = json.loads(line)
        try:
            answer = (
                {**watcher.snapshot(), **usage()} if question["do"] == "snapshot" else await watcher.watch(question)
            )
        except MonitorError as err:
            answer = {"error": str(err)}
        print(json.dumps(answer), flush=True)
    # Whoever asked is gone; threads may be in the middle of a read.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_serve(_watcher(sys.argv[1])))
