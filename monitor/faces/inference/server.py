"""The inference process: runs a pack's networks for all workers of one graphics card.

Started as ``python -m monitor.faces.inference.server FD``. The daemon sends the settings, and then for every worker
the ends of its socket and of its memory. One thread listens, one for each network runs it: while a card computes one
batch, the next one gathers.

It ends with the daemon; with an error in a network too, and the daemon starts another.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from mmap import mmap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces import confinement, wire
from monitor.faces.config import FacesConfig
from monitor.faces.detect import FINE_SIDE_PX
from monitor.faces.inference.link import MOST_MESSAGE_BYTES, Answer, Network, Request, map_memory
from monitor.faces.inference.micro_batch import MicroBatcher, Waiting, bucket
from monitor.faces.worker import receive

if TYPE_CHECKING:
    from monitor.faces.inference.bound_network import BoundNetwork
    from monitor.faces.inference.networks import Networks

log = logging.getLogger(__name__)

STUCK_S = 60.0
"""A batch that takes longer is not going to end: the process does."""
_MOST_ASKED = 2
"""Requests of one worker that are not yet answered: a picture's two searches."""


@dataclass(frozen=True, slots=True, eq=False)
class _Client:
    """One worker."""

    connection: socket.socket
    memory: mmap
    closing: threading.Lock = field(default_factory=threading.Lock)

    def send(self, answer: Answer) -> None:
        """Give it what it asked for, unless it has ended; one that does not read its answers is not heard any more."""
        with self.closing, contextlib.suppress(OSError):
            try:
                self.connection.send(answer.encode(), socket.MSG_DONTWAIT)
            except BlockingIOError:
                self.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Nothing more is sent: by then the number of its socket may be another's."""
        with self.closing:
            self.connection.close()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Wish:
    """A request and who has it."""

    client: _Client
    request: Request


@dataclass(slots=True)
class _Room:
    """What all threads share; ``changed`` guards it."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    clients: int = 0
    asked: Counter[_Client] = field(default_factory=Counter)
    """Requests that were not yet answered. A worker asks nothing more until all of its own are."""

    @property
    def more_may_come(self) -> bool:
        """Whether there are workers that could join a batch."""
        return len(self.asked) < self.clients


class Lane:
    """One network, its queue and the thread that runs it."""

    def __init__(self, network: BoundNetwork, deadline_s: float, room: _Room) -> None:
        self._network = network
        self._room = room
        self._batcher: MicroBatcher[_Wish] = MicroBatcher(deadline_s)
        self._since: float | None = None
        self._memory: NDArray[np.uint8] = np.zeros(0, np.uint8)

    @property
    def stuck(self) -> bool:
        """Whether the network has been running one batch for so long that it never will end."""
        since = self._since
        return since is not None and time.monotonic() - since > STUCK_S

    def add(self, wish: _Wish) -> None:
        """Let a request wait; ``room.changed`` is held."""
        request = wish.request
        shape = (request.height, request.width)
        waiting = Waiting(request=wish, shape=shape, count=request.count, since=time.monotonic())
        self._batcher.add(waiting)

    def run(self) -> None:
        """Run batch after batch, for ever."""
        while True:
            wishes = self._next()
            self._since = time.monotonic()
            output = self._network.run(self._gather(wishes))
            self._since = None
            self._reply(wishes, output.reshape(len(output), -1))

    def _next(self) -> Sequence[_Wish]:
        room = self._room
        with room.changed:
            while True:
                now = time.monotonic()
                batch = self._batcher.take(now, more_may_come=room.more_may_come)
                if batch:
                    return [waiting.request for waiting in batch]
                room.changed.wait(self._batcher.wake_in(now))

    def _gather(self, wishes: Sequence[_Wish]) -> NDArray[np.uint8]:
        """The pictures of a batch one after the other, in memory that is used again; what fills it up is of others."""
        first, pictures = wishes[0].request, sum(wish.request.count for wish in wishes)
        shape = (bucket(pictures), first.height, first.width, 3)
        size = math.prod(shape)
        if self._memory.size < size:
            self._memory = np.zeros(size, np.uint8)
        gathered, begin = self._memory[:size].reshape(shape), 0
        for wish in wishes:
            end = begin + wish.request.count
            gathered[begin:end] = wish.request.pictures(wish.client.memory)
            begin = end
        return gathered

    def _reply(self, wishes: Sequence[_Wish], output: NDArray[np.float32]) -> None:
        with self._room.changed:
            self._room.asked -= Counter(wish.client for wish in wishes)
        begin = 0
        for wish in wishes:
            end = begin + wish.request.count
            answer = Answer(offset=wish.request.offset, output=output[begin:end])
            wish.client.send(answer)
            begin = end


class Server:
    """Listens to the daemon and to the workers that it announces."""

    def __init__(self, networks: Networks, config: FacesConfig) -> None:
        deadline_s = config.batch_deadline_ms / 1000
        self._fixed_size = networks.fixed_size
        self._room = _Room()
        self._lanes = {
            Network.DETECTOR: Lane(networks.detector, deadline_s, self._room),
            Network.RECOGNISER: Lane(networks.recogniser, deadline_s, self._room),
        }

    def serve(self, daemon: socket.socket) -> None:
        """Answer until the daemon closes its end, or is gone, or a batch is stuck."""
        for network, lane in self._lanes.items():
            threading.Thread(target=_or_end, args=(lane,), name=network.name.lower(), daemon=True).start()
        with selectors.DefaultSelector() as selector:
            selector.register(daemon, selectors.EVENT_READ)
            while not any(lane.stuck for lane in self._lanes.values()):
                for key, _ in selector.select(timeout=STUCK_S / 4):
                    if key.fileobj is not daemon:
                        self._hear(key.data, selector)
                    elif (client := _announced(daemon)) is not None:
                        selector.register(client.connection, selectors.EVENT_READ, client)
                        self._count(1)
                    else:
                        return
        log.error("inference_stuck seconds=%.0f", STUCK_S)

    def _hear(self, client: _Client, selector: selectors.BaseSelector) -> None:
        """Let what a worker asks wait for its network; one that asks nonsense is not heard any more."""
        try:
            data = client.connection.recv(MOST_MESSAGE_BYTES)
            request = Request.decode(data) if data else None
            self._check(client, request)
        except (OSError, ValueError) as error:
            log.error("worker_refused reason=%s", error)
            request = None
        if request is None:
            selector.unregister(client.connection)
            client.close()
            self._count(-1)
            return
        with self._room.changed:
            self._room.asked[client] += 1
            self._lanes[request.network].add(_Wish(client=client, request=request))
            self._room.changed.notify_all()

    def _check(self, client: _Client, request: Request | None) -> None:
        """:raises ValueError: for more than a worker ever asks at once, or a picture that the detector breaks at."""
        if self._room.asked[client] >= _MOST_ASKED:
            raise ValueError(f"more than {_MOST_ASKED} requests at once")
        if request is None or request.network is Network.RECOGNISER:
            return
        size = (request.width, request.height)
        if max(size) > FINE_SIDE_PX if self._fixed_size is None else size != tuple(self._fixed_size):
            takes = self._fixed_size or f"up to {FINE_SIDE_PX} pixels a side"
            raise ValueError(f"the detector takes {takes}, not {request.width} x {request.height}")

    def _count(self, more: int) -> None:
        with self._room.changed:
            self._room.clients += more
            self._room.changed.notify_all()


def main() -> None:
    """Serve the socket whose number is the first argument."""
    # The daemon decides when this ends: it closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    confinement.die_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    with socket.socket(fileno=int(sys.argv[1])) as daemon:
        try:
            message = receive(daemon)
            # The libraries take seconds to load, and one may be missing.
            from monitor.faces.inference.networks import load

            config = FacesConfig.model_validate_json(message["config"])
            networks = load(config, message["gpu"])
            confinement.lower_privileges(config)
        except PackError as error:
            daemon.sendall(wire.encode({"error": str(error)}))
            return
        # The top of this process's start: whatever is wrong is told to the operator by the daemon.
        except Exception as error:
            log.exception("inference_start_failed")
            daemon.sendall(wire.encode({"error": f"{type(error).__name__}: {error}"}))
            return
        daemon.sendall(wire.encode({"pack": wire.pack_to_wire(networks.info), "fixed_size": networks.fixed_size}))
        Server(networks, config).serve(daemon)


def _announced(daemon: socket.socket) -> _Client | None:
    """The worker that the daemon tells of; None once it has closed its end."""
    with contextlib.suppress(ConnectionError):
        data, descriptors, _, _ = socket.recv_fds(daemon, 1, 2)
        if data and len(descriptors) == 2:
            return _Client(socket.socket(fileno=descriptors[0]), map_memory(descriptors[1]))
    return None


def _or_end(lane: Lane) -> None:
    """The top of a lane's thread: without it nobody would answer. The process ends, and the daemon starts another."""
    try:
        lane.run()
    except BaseException:  # whatever it was, the process has to end with its lane
        log.exception("inference_failed")
        os._exit(1)


if __name__ == "__main__":
    main()
