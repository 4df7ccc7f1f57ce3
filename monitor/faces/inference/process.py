"""The loop's side of the inference processes: one for each graphics card, which all workers share."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from monitor.errors import PackError
from monitor.faces.child_process import ChildProcess, Program
from monitor.faces.config import FacesConfig
from monitor.faces.face import PackInfo
from monitor.faces.inference import link

log = logging.getLogger(__name__)


def is_shared(config: FacesConfig) -> bool:
    """Whether one process is to run the networks for all workers, or at least to find out if it can."""
    if config.provider == "auto":
        return config.shared_inference or _has_gpu_package()
    return config.shared_inference or config.provider in ("cuda", "tensorrt")


def _has_gpu_package() -> bool:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution("onnxruntime-gpu")
        return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A worker's way to an inference process: what it has to be started with."""

    descriptors: tuple[int, int]
    """Socket and memory; open until the block that gave it ends."""
    process: ChildProcess
    """The inference process."""


class InferenceProcesses:
    """Starts them, and starts anew the one that has ended when a worker wants it."""

    def __init__(self, config: FacesConfig) -> None:
        self._config = config
        self._processes: dict[int, ChildProcess] = {}
        self._starting = asyncio.Lock()
        self._given = 0
        self._pack: PackInfo | None = None

    @property
    def count(self) -> int:
        """How many live."""
        return sum(process.alive for process in self._processes.values())

    async def start(self) -> PackInfo:
        """Start one for each graphics card; what they have loaded.

        :raises PackError: if one cannot load the pack, or they would give different vectors.
        """
        try:
            for gpu in self._config.gpus:
                await self._living(gpu)
        except BaseException:  # cancelled too: no process stays behind; raised on
            await self.aclose()
            raise
        assert self._pack is not None
        return self._pack

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """A way to one of the processes, in turn, for a worker that is started within the block.

        :raises PackError: if it had ended and could not be started again.
        """
        gpu = self._config.gpus[self._given % len(self._config.gpus)]
        self._given += 1
        process = await self._living(gpu)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = link.make_memory()
        try:
            # Where it has just ended the worker will find that out.
            with contextlib.suppress(ConnectionError):
                socket.send_fds(process.connection, [b"\0"], [theirs.fileno(), memory])
            yield Line(descriptors=(ours.fileno(), memory), process=process)
        finally:
            ours.close()
            theirs.close()
            os.close(memory)

    async def aclose(self) -> None:
        """End them all."""
        for process in self._processes.values():
            await process.aclose()
        self._processes.clear()

    async def _living(self, gpu: int) -> ChildProcess:
        async with self._starting:
            process = self._processes.get(gpu)
            if process is not None and process.alive:
                return process
            if process is not None:
                log.error("inference_process_ended gpu=%d pid=%d status=%d", gpu, process.pid, await process.aclose())
            program = Program(role="the inference process", module="monitor.faces.inference.server")
            process = await ChildProcess.launch(program, {"config": self._config.model_dump_json(), "gpu": gpu})
            if self._pack is not None and process.pack != self._pack:
                await process.aclose()
                raise PackError("the inference process loaded another pack than before; restart to use the new files")
            self._pack = pack = process.pack
            # What was fastest once is not tried again: it always gives the same vectors.
            self._config = self._config.model_copy(update={"provider": pack.provider, "precision": pack.precision})
            self._processes[gpu] = process
            return process
