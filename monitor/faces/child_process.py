"""The loop's side of a process that face analysis runs in: start it, ask it, end it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.errors import PackError
from monitor.faces import wire
from monitor.faces.face import PackInfo

START_TIMEOUT_S = 900.0
"""TensorRT builds its engines while a process starts."""
_MOST_MISSED = 4
_PASSED = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "XDG_CACHE_HOME")
_PASSED_FAMILIES = ("CUDA_", "CUDNN_", "LC_", "MALLOC_", "NVIDIA_", "ORT_", "OV_", "PYTHON")


log = logging.getLogger(__name__)


class ChildGone(Exception):
    """The process ended, or broke the protocol; never leaves this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is started, as ``python -m``."""

    role: str
    """For messages: such as ``a worker``."""
    module: str
    """Its first argument is the number of the socket on which it is asked, then come those of ``descriptors``."""
    descriptors: Sequence[int] = ()
    """Files that it gets open under the same numbers; the caller closes its own."""


class ChildProcess:
    """A process that has answered its first message. Asked by one task at a time."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        connection: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.hello: wire.Message = {}
        """Its answer to the first message: the pack that it has loaded, and more."""
        self.was_asked = False
        """Whether it was asked anything since: one that ends before that would end again."""
        self.connection = connection
        """To send descriptors over; everything else goes through :meth:`ask`."""
        self.needs: ChildProcess | None = None
        """Another one, without which it cannot work: it ends with that."""
        self._late = 0
        self._process = process
        self._reader = reader
        self._writer = writer
        self._condemned = False

    @classmethod
    async def launch(cls, program: Program, first: wire.Message) -> ChildProcess:
        """Start a process, send it ``first``, and wait for its answer.

        :raises PackError: with the process's own words, or how it ended, if it did not load what it needs.
        """
        child = await cls._spawn(program)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                child.hello = await child.ask(wire.encode(first))
        except TimeoutError as error:
            await child.aclose()
            raise PackError(f"{program.role} did not load the pack within {START_TIMEOUT_S:.0f} s") from error
        except ChildGone as error:
            status = await child.aclose()
            raise PackError(
                f"{program.role} ended with status {status} before it had loaded the pack; see its error output"
            ) from error
        except BaseException:  # cancelled too: no process stays behind; raised on
            await child.aclose()
            raise
        if "pack" not in child.hello:
            await child.aclose()
            raise PackError(str(child.hello.get("error", f"{program.role} spoke nonsense")))
        child.was_asked = False
        return child

    @property
    def pack(self) -> PackInfo:
        """What it has loaded."""
        return wire.pack_from_wire(self.hello["pack"])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked, and what it needs too."""
        runs = not self._condemned and self._process.returncode is None and not self._reader.at_eof()
        return runs and (self.needs is None or self.needs.alive)

    async def ask(self, request: bytes) -> wire.Message:
        """The answer to an encoded message. If it is cancelled the process must be killed: its answer is to come.

        :raises ChildGone: if the process ended or spoke nonsense.
        """
        self.was_asked = True
        try:
            self._writer.write(request)
            await self._writer.drain()
            length = wire.body_length(await self._reader.readexactly(wire.HEADER.size))
            return wire.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            raise ChildGone from error

    def missed(self) -> None:
        """One that needs this process got no answer in time; after several in a row this one hangs, and is ended."""
        self._late += 1
        if self._late >= _MOST_MISSED:
            log.error("process_hangs pid=%d", self.pid)
            self.kill()

    def served(self) -> None:
        """One that needs this process got an answer."""
        self._late = 0

    @property
    def doubtful(self) -> bool:
        """Whether one that needs this process may have failed because of it."""
        return self._late > 1 or not self.alive

    def kill(self) -> None:
        """End the process at once."""
        self._condemned = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> int:
        """Wait until the process has ended, close the connection, and return its status."""
        if self.needs is not None:
            await _first_to_end(self._process, self.needs)
            self.kill()
        status = await self._process.wait()
        self._writer.close()
        return status

    async def aclose(self) -> int:
        """End the process, and return its status; harmless if it is gone already."""
        self.kill()
        # At once: whoever waits here may be cancelled.
        self._writer.close()
        return await self._process.wait()

    @classmethod
    async def _spawn(cls, program: Program) -> ChildProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            descriptors = (theirs.fileno(), *program.descriptors)
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",
                    "-m",
                    program.module,
                    *map(str, descriptors),
                    stdin=asyncio.subprocess.DEVNULL,
                    # Libraries that print there must not mix with what a command prints.
                    stdout=asyncio.subprocess.DEVNULL,
                    pass_fds=descriptors,
                    env=_environment(),
                )
            except BaseException:  # cancelled too: the socket is nobody's else; raised on
                writer.close()
                raise
        return cls(process, ours, reader, writer)


async def _first_to_end(process: asyncio.subprocess.Process, needed: ChildProcess) -> None:
    ends = [asyncio.ensure_future(process.wait()), asyncio.ensure_future(needed.ended())]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()


def _environment() -> dict[str, str]:
    """The process imports from where the daemon does, whatever the current folder holds, and has one thread.

    It meets hostile data, so of the daemon's environment, where keys may be, it gets only what libraries read.
    """
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    passed = {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith(_PASSED_FAMILIES)}
    return {**passed, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
