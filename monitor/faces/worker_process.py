"""The loop's side of one worker process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys

from monitor.errors import PackError
from monitor.faces import wire
from monitor.faces.config import FacesConfig
from monitor.faces.face import PackInfo

START_TIMEOUT_S = 300.0
"""TensorRT builds its engines while a worker starts."""
_PASSED = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "XDG_CACHE_HOME")
_PASSED_FAMILIES = ("CUDA_", "CUDNN_", "LC_", "MALLOC_", "NVIDIA_", "ORT_", "OV_", "PYTHON")


class WorkerGone(Exception):
    """The process ended, or broke the protocol, while it had a job; never leaves this package."""


class WorkerProcess:
    """A worker that has loaded its pack. Used by one job at a time."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pack: PackInfo,
    ) -> None:
        self.pack = pack
        self._process = process
        self._reader = reader
        self._writer = writer
        self._condemned = False
        self.was_asked = False
        """Whether it was ever given a job: one that ends before that would end again."""

    @classmethod
    async def launch(cls, config: FacesConfig) -> WorkerProcess:
        """Start a process and wait until it has loaded the pack.

        :raises PackError: with the worker's own words, or how it ended, if it could not.
        """
        process, reader, writer = await _spawn()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                writer.write(wire.encode({"config": config.model_dump_json()}))
                hello = await _receive(reader)
        except TimeoutError as error:
            await _end(process, writer)
            raise PackError(f"a worker did not load the pack within {START_TIMEOUT_S:.0f} s") from error
        except (WorkerGone, ConnectionError) as error:
            status = await _end(process, writer)
            raise PackError(
                f"a worker ended with status {status} before it had loaded the pack; see its error output"
            ) from error
        except BaseException:  # cancelled too: no process stays behind; raised on
            await _end(process, writer)
            raise
        if "pack" not in hello:
            await _end(process, writer)
            raise PackError(str(hello.get("error", "a worker spoke nonsense")))
        return cls(process, reader, writer, wire.pack_from_wire(hello["pack"]))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be given a job."""
        return not self._condemned and self._process.returncode is None and not self._reader.at_eof()

    async def ask(self, request: bytes) -> wire.Message:
        """The answer to an encoded job. If it is cancelled the worker must be killed: its answer is still to come.

        :raises WorkerGone: if the process ended or spoke nonsense.
        """
        self.was_asked = True
        try:
            self._writer.write(request)
            await self._writer.drain()
        except ConnectionError as error:
            raise WorkerGone from error
        return await _receive(self._reader)

    def kill(self) -> None:
        """End the process at once."""
        self._condemned = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> int:
        """Wait until the process has ended, close the connection, and return its status."""
        status = await self._process.wait()
        self._writer.close()
        return status

    async def aclose(self) -> None:
        """End the process; harmless if it is gone already."""
        await _end(self._process, self._writer)


async def _spawn() -> tuple[asyncio.subprocess.Process, asyncio.StreamReader, asyncio.StreamWriter]:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "monitor.faces.worker",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                # Libraries that print there must not mix with what a command prints.
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
            )
        except BaseException:  # cancelled too: the socket is nobody's else; raised on
            writer.close()
            raise
    return process, reader, writer


def _environment() -> dict[str, str]:
    """A worker imports from where the daemon does, whatever the current folder holds, and has one thread.

    It meets hostile data, so of the daemon's environment, where keys may be, it gets only what libraries read.
    """
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    passed = {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith(_PASSED_FAMILIES)}
    return {**passed, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


async def _end(process: asyncio.subprocess.Process, writer: asyncio.StreamWriter) -> int:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    writer.close()
    return await process.wait()


async def _receive(reader: asyncio.StreamReader) -> wire.Message:
    """:raises WorkerGone: at the end of the connection, or for anything but one message."""
    try:
        length = wire.body_length(await reader.readexactly(wire.HEADER.size))
        return wire.decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
        raise WorkerGone from error
