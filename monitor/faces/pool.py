"""The VisionPool: worker processes that look at pictures, so that the event loop never does.

As many lanes as workers take jobs in the order they came; one loaded worker more than there are lanes stands by,
so that a worker that dies is replaced at once. Everything here runs on the event loop's thread and only moves bytes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from monitor.errors import FrameLossReason, FrameLost, ImageRefused, MonitorError
from monitor.faces import wire
from monitor.faces.child_process import ChildGone, ChildProcess
from monitor.faces.config import FacesConfig
from monitor.faces.crew import Crew
from monitor.faces.face import Box, EvidencePictures, PackInfo, PictureFaces, Settled
from monitor.faces.gate import GateVerdict, judge
from monitor.faces.metrics import FacesMetrics
from monitor.faces.quarantine import Quarantine, Sample, frame_sample
from monitor.streams.packet import EncodedFrame

log = logging.getLogger(__name__)

PACKETS_PER_TIMEOUT = 100
"""A job of more packets than this gets proportionally more time than ``job_timeout_s``."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ticket(Generic[_Answer]):
    """One job on its way through the pool."""

    job: wire.Job
    request: bytes = field(repr=False)
    sample: Sample = field(repr=False)
    timeout_s: float
    parse: Callable[[wire.Message], _Answer]
    answer: asyncio.Future[_Answer]


class VisionPool:
    """Analyses encoded frames and image files in worker processes. Belongs to one event loop."""

    def __init__(self, config: FacesConfig, metrics: FacesMetrics) -> None:
        self._config = config
        self._metrics = metrics
        self._lanes = config.workers or _cores()
        self._crew = Crew(config, size=self._lanes + 1, metrics=metrics)
        self._tickets: asyncio.Queue[_Ticket[Any]] = asyncio.Queue()
        self._in_hand: set[_Ticket[Any]] = set()
        self._running: asyncio.Task[None] | None = None
        self._quarantine = Quarantine()
        metrics.quarantined.set_function(lambda: self._quarantine.count)
        metrics.jobs_waiting.set_function(self._tickets.qsize)

    async def start(self) -> None:
        """Start the workers; returns once the first has loaded the pack, the others follow.

        :raises PackError: if the first worker cannot load it, with the worker's own message.
        """
        await self._crew.muster()
        self._running = asyncio.create_task(self._run(), name="vision-pool")

    async def aclose(self) -> None:
        """End all workers; jobs that are not done raise FrameLost(CLOSING)."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._crew.aclose()

    @property
    def pack(self) -> PackInfo:
        """The loaded pack; only after :meth:`start`."""
        return self._crew.pack

    @property
    def workers(self) -> int:
        """How many processes have loaded the pack and live, the spare one included."""
        return self._crew.strength

    async def ready(self) -> None:
        """Wait until all workers and the spare one have loaded the pack."""
        await self._crew.complete()

    async def analyse(
        self, frame: EncodedFrame, last_luma: bytes | None = None, settled: Settled | None = None
    ) -> tuple[PictureFaces, ...]:
        """The faces at each wanted instant of ``frame``, in order; instants that did not decode are left out.

        :param last_luma: hash of the picture whose faces are known; one that shows the same is not searched.
        :param settled: faces that are not embedded where they are seen again.
        :raises FrameLost: if nothing decodes, or the worker died or took too long.
        """
        dimension = self.pack.dimension

        def parse(message: wire.Message) -> tuple[PictureFaces, ...]:
            return tuple(wire.picture_from_wire(picture, dimension) for picture in message["pictures"])

        content = {
            "frame": wire.frame_to_wire(frame),
            "luma": last_luma,
            "settled": None if settled is None else wire.settled_to_wire(settled),
        }
        pictures = await self._submit(wire.Job.ANALYSE, content, frame_sample(frame), parse, packets=len(frame.packets))
        for picture in pictures:
            self._count(picture)
        return pictures

    async def decode(self, frame: EncodedFrame) -> int:
        """Decode the wanted pictures of ``frame`` and look at none of them; for measuring what ingest alone costs.

        :return: how many came out.
        :raises FrameLost: if libav refuses the data, or the worker died or took too long.
        """
        content = {"frame": wire.frame_to_wire(frame)}
        return await self._submit(
            wire.Job.DECODE,
            content,
            frame_sample(frame),
            lambda message: int(message["decoded"]),
            packets=len(frame.packets),
        )

    async def analyse_image(self, data: bytes) -> PictureFaces:
        """The faces of an image file.

        :raises ImageRefused: if it is empty, too large, of another kind or broken.
        :raises FrameLost: if the worker died or took too long.
        """
        dimension = self.pack.dimension

        def parse(message: wire.Message) -> PictureFaces:
            return wire.picture_from_wire(message["picture"], dimension)

        picture = await self._submit(wire.Job.ANALYSE_IMAGE, {"data": data}, (data,), parse)
        self._count(picture)
        return picture

    async def render(self, frame: EncodedFrame, pts: int, box: Box, label: str) -> EvidencePictures:
        """The picture at ``pts`` of ``frame`` with ``box`` and ``label`` drawn, and the face cut out, as JPEG files.

        :raises FrameLost: if the picture does not decode, or the worker died or took too long.
        """
        wanted = dataclasses.replace(frame, instants=(pts,))
        content = {"frame": wire.frame_to_wire(wanted), "box": wire.box_to_wire(box), "label": label}
        return await self._submit(
            wire.Job.RENDER, content, frame_sample(frame), wire.evidence_from_wire, packets=len(frame.packets)
        )

    async def crop_image(self, data: bytes, box: Box) -> bytes:
        """The face in ``box`` of an image file with some surroundings, as a JPEG file.

        :raises ImageRefused: as :meth:`analyse_image`.
        :raises FrameLost: if the worker died or took too long.
        """
        content = {"data": data, "box": wire.box_to_wire(box)}
        return await self._submit(wire.Job.CROP_IMAGE, content, (data,), lambda message: bytes(message["crop_jpeg"]))

    async def _submit(
        self,
        job: wire.Job,
        content: wire.Message,
        sample: Sample,
        parse: Callable[[wire.Message], _Answer],
        packets: int = 1,
    ) -> _Answer:
        if self._running is None or self._running.done():
            raise FrameLost(FrameLossReason.CLOSING, "the pool is not running")
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        ticket = _Ticket(
            job=job,
            request=wire.encode({"job": job, **content}),
            sample=sample,
            timeout_s=self._config.job_timeout_s * max(1.0, packets / PACKETS_PER_TIMEOUT),
            parse=parse,
            answer=answer,
        )
        self._tickets.put_nowait(ticket)
        try:
            return await answer
        except FrameLost as error:
            self._metrics.frames_lost.labels(error.reason).inc()
            raise

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._crew.run())
                for _ in range(self._lanes):
                    tasks.create_task(self._lane())
        # The top of the pool's own task: nobody awaits it, and callers must not wait for ever.
        except Exception:
            log.exception("vision_pool_failed")
        finally:
            while not self._tickets.empty():
                self._in_hand.add(self._tickets.get_nowait())
            for ticket in tuple(self._in_hand):
                self._lose(ticket, FrameLossReason.CLOSING)

    async def _lane(self) -> None:
        """Takes one job after the other, with one worker as long as that lives."""
        worker: ChildProcess | None = None
        while True:
            ticket = await self._tickets.get()
            if ticket.answer.done():
                # Whoever asked has been cancelled.
                continue
            self._in_hand.add(ticket)
            if digest := self._quarantine.refused(ticket.sample):
                self._lose(ticket, FrameLossReason.QUARANTINED, f"sha256 {digest}")
                continue
            if worker is None or not worker.alive:
                worker = await self._crew.take()
            await self._serve(ticket, worker)
            self._in_hand.discard(ticket)

    async def _serve(self, ticket: _Ticket[Any], worker: ChildProcess) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(ticket.timeout_s):
                message = await worker.ask(ticket.request)
            _settle(ticket, message)
            if message.get("lost") != FrameLossReason.WORKER_DIED:
                self._quarantine.answered(ticket.sample)
                if worker.needs is not None:
                    worker.needs.served()
        except TimeoutError:
            if worker.needs is not None:
                worker.needs.missed()
            self._end(worker, ticket)
            self._lose(ticket, FrameLossReason.TIMED_OUT, f"no answer within {ticket.timeout_s:g} s")
        except ChildGone:
            self._end(worker, ticket)
            self._lose(ticket, FrameLossReason.WORKER_DIED)
        self._metrics.job_seconds.labels(ticket.job).observe(time.monotonic() - started)

    def _end(self, worker: ChildProcess, ticket: _Ticket[Any]) -> None:
        worker.kill()
        if worker.needs is not None and worker.needs.doubtful:
            # Not the sample's fault, as far as anybody can tell.
            return
        if digest := self._quarantine.killed(ticket.sample):
            log.error("frame_quarantined sha256=%s job=%s", digest, ticket.job)

    def _lose(self, ticket: _Ticket[Any], reason: FrameLossReason, detail: str = "") -> None:
        self._in_hand.discard(ticket)
        if not ticket.answer.done():
            ticket.answer.set_exception(FrameLost(reason, detail))

    def _count(self, picture: PictureFaces) -> None:
        if picture.unchanged:
            self._metrics.unchanged.inc()
            return
        self._metrics.pictures.inc()
        for face in picture.faces:
            if face.embedding is not None:
                verdict = GateVerdict.EMBEDDED
            elif face.settled is not None:
                verdict = GateVerdict.SETTLED
            else:
                verdict = judge(face.box, face.det_score, face.quality, self._config)
                if verdict is GateVerdict.EMBEDDED:
                    verdict = GateVerdict.CROWD
            self._metrics.faces.labels(verdict).inc()


def _settle(ticket: _Ticket[Any], message: wire.Message) -> None:
    """Give the caller what the worker answered.

    :raises ChildGone: if the answer makes no sense.
    """
    error: MonitorError | None = None
    result: Any = None
    try:
        if "lost" in message:
            error = FrameLost(FrameLossReason(message["lost"]), str(message["detail"]))
        elif "refused" in message:
            error = ImageRefused(str(message["refused"]))
        else:
            result = ticket.parse(message)
    except (KeyError, TypeError, ValueError) as nonsense:
        raise ChildGone from nonsense
    if ticket.answer.done():
        return
    if error is not None:
        ticket.answer.set_exception(error)
    else:
        ticket.answer.set_result(result)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
