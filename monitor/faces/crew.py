"""Keeps the worker processes of a pool alive: whoever ends is started again."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from monitor.errors import PackError
from monitor.faces import wire
from monitor.faces.child_process import ChildProcess, Program
from monitor.faces.config import FacesConfig
from monitor.faces.face import PackInfo
from monitor.faces.inference.process import InferenceProcesses, Line, is_shared
from monitor.faces.metrics import FacesMetrics

log = logging.getLogger(__name__)

_BACKOFF_INITIAL_S = 0.5
_BACKOFF_MAX_S = 30.0


async def launch_worker(config: FacesConfig, line: Line | None = None) -> ChildProcess:
    """Start a worker, and wait until it can be given jobs.

    :param line: to the inference process whose networks it is to use; None for networks of its own.
    :raises PackError: with the worker's own words, or how it ended, if it cannot load the pack.
    """
    first: wire.Message = {"config": config.model_dump_json()}
    program = Program(role="a worker", module="monitor.faces.worker")
    if line is None:
        return await ChildProcess.launch(program, first)
    program = replace(program, descriptors=line.descriptors)
    worker = await ChildProcess.launch(program, {**first, "inference": line.process.hello})
    worker.needs = line.process
    return worker


class Crew:
    """``size`` seats, each of which holds one worker process; those that nobody took yet stand by, loaded."""

    def __init__(self, config: FacesConfig, *, size: int, metrics: FacesMetrics) -> None:
        self._config = config
        self._size = size
        self._metrics = metrics
        self._inference: InferenceProcesses | None = None
        self._first: ChildProcess | None = None
        self._pack: PackInfo | None = None
        self._alive: set[ChildProcess] = set()
        self._standby: asyncio.Queue[ChildProcess] = asyncio.Queue()
        self._grown = asyncio.Condition()
        metrics.workers.set_function(lambda: self.strength)

    async def muster(self) -> None:
        """Start the first worker.

        :raises PackError: if it cannot load the pack, with its own message.
        """
        try:
            self._inference = await self._sharing()
            self._first = await self._launch()
        except OSError as error:
            raise PackError(f"no worker process can be started: {error.strerror}") from error
        self._alive.add(self._first)
        self._pack = pack = self._first.pack
        # What was fastest once is not tried again: every worker gives the same vectors.
        self._config = self._config.model_copy(update={"provider": pack.provider, "precision": pack.precision})
        self._metrics.provider.labels(pack.provider, pack.precision, pack.provider_reason).set(1)
        log.info(
            "pack_loaded pack=%s digest=%s provider=%s precision=%s reason=%s",
            *(pack.name, pack.digest, pack.provider, pack.precision, pack.provider_reason),
        )

    async def run(self) -> None:
        """Keep every seat filled, until cancelled; then end all processes."""
        first, self._first = self._first, None
        async with asyncio.TaskGroup() as seats:
            for number in range(self._size):
                seats.create_task(self._seat(first if number == 0 else None))

    async def aclose(self) -> None:
        """End what is left once :meth:`run` was cancelled: it may never have begun."""
        for worker in tuple(self._alive):
            await worker.aclose()
        self._alive.clear()
        if self._inference is not None:
            await self._inference.aclose()

    async def take(self) -> ChildProcess:
        """A living worker that stands by; waits until there is one."""
        while True:
            worker = await self._standby.get()
            if worker.alive:
                return worker

    @property
    def pack(self) -> PackInfo:
        """The pack that all workers have loaded; only after :meth:`muster`."""
        if self._pack is None:
            raise RuntimeError("the pool was not started")
        return self._pack

    @property
    def strength(self) -> int:
        """How many workers are loaded and live."""
        return sum(worker.alive for worker in self._alive)

    async def complete(self) -> None:
        """Wait until every seat holds a loaded worker."""
        async with self._grown:
            await self._grown.wait_for(lambda: self.strength >= self._size)

    async def _seat(self, worker: ChildProcess | None) -> None:
        """Launch a worker, offer it, wait until it ends, and again."""
        backoff_s = _BACKOFF_INITIAL_S
        try:
            while True:
                worker = worker or await self._launched()
                if worker is not None:
                    await self._offer(worker)
                    status = await worker.ended()
                    self._alive.discard(worker)
                    self._metrics.worker_exits.inc()
                    log.warning("worker_ended pid=%d status=%d", worker.pid, status)
                healthy, worker = worker is not None and worker.was_asked, None
                if healthy:
                    backoff_s = _BACKOFF_INITIAL_S
                    continue
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _BACKOFF_MAX_S)
        finally:
            if worker is not None:
                self._alive.discard(worker)
                await worker.aclose()

    async def _sharing(self) -> InferenceProcesses | None:
        """The inference processes, where workers are to share them.

        :raises PackError: if they cannot load the pack; where ``auto`` only tried for a graphics card it goes without.
        """
        if not is_shared(self._config):
            return None
        processes = InferenceProcesses(self._config)
        try:
            await processes.start()
        except PackError as error:
            if self._config.provider != "auto" or self._config.shared_inference:
                raise
            log.warning("graphics_card_left_out reason=%s", error)
            return None
        self._metrics.inference_processes.set_function(lambda: processes.count)
        return processes

    async def _launch(self) -> ChildProcess:
        """:raises PackError: if it, or the inference process, cannot load the pack."""
        if self._inference is None:
            return await launch_worker(self._config)
        async with self._inference.line() as line:
            return await launch_worker(self._config, line)

    async def _launched(self) -> ChildProcess | None:
        """A new worker, or None if it could not start with the same pack; the reason is in the log."""
        try:
            worker = await self._launch()
        except (PackError, OSError) as error:
            log.error("worker_start_failed reason=%s", error)
            return None
        if worker.pack != self._pack:
            log.error("worker_start_failed reason=the pack's files were changed; restart to use the new ones")
            await worker.aclose()
            return None
        return worker

    async def _offer(self, worker: ChildProcess) -> None:
        self._alive.add(worker)
        self._standby.put_nowait(worker)
        async with self._grown:
            self._grown.notify_all()
