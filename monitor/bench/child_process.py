"""Processes that a bench starts, so that each one's CPU and memory can be told apart."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from monitor.errors import MonitorError

_ANSWER_S = 60.0


class ChildProcess:
    """``python -m MODULE`` that answers each line of JSON with another, and ends when its input does."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, said: Path) -> None:
        self._name = name
        self._process = process
        self._said = said

    async def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer.

        :raises MonitorError: with the last that the process said, if it ended or takes more than a minute.
        """
        questions, answers = self._process.stdin, self._process.stdout
        assert questions is not None, "it is a pipe"
        assert answers is not None, "it is a pipe"
        try:
            async with asyncio.timeout(_ANSWER_S):
                questions.write(json.dumps(question).encode() + b"\n")
                await questions.drain()
                answer: dict[str, Any] = json.loads(await answers.readline())
        except (ConnectionError, ValueError) as err:
            raise MonitorError(f"bench: {self._name} ended: {self.last_words()}") from err
        except TimeoutError as err:
            raise MonitorError(f"bench: {self._name} gave no answer in {_ANSWER_S:.0f} s: {self.last_words()}") from err
        if "error" in answer:
            raise MonitorError(f"bench: {self._name}: {answer['error']}")
        return answer

    def last_words(self) -> str:
        """The last line of its error output."""
        lines = self._said.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


@asynccontextmanager
async def child_process(name: str, module: str, *arguments: str, folder: Path) -> AsyncGenerator[ChildProcess, None]:
    """Start it; killed at the end, whatever happens.

    :param folder: where its error output is kept.
    """
    said = folder / f"{name}.log"
    with said.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=_environment(),
            # Ctrl-C is for the bench alone, which then ends what it started.
            start_new_session=True,
        )
    try:
        yield ChildProcess(name, process, said)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())


def _environment() -> dict[str, str]:
    """It imports from where the bench does, whatever the current folder holds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)}
