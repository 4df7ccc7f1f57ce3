"""One worker process: loads the pack, then answers one job after the other until the daemon closes the socket.

Started by the pool as ``python -m monitor.faces.worker FD``. It holds the decoders and the networks, so whatever a
stream's data does to them ends here. Pictures never leave it: only faces do (of embedded ones also 20 x 20 mean
brightnesses), and the JPEG files of evidence. Where workers share an inference process, its networks look at them in
memory that is the worker's and that process's alone.

An error that nobody foresaw ends the process; the pool counts the frame and starts another.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import signal
import socket
import sys
from typing import TYPE_CHECKING

from monitor.errors import PackError
from monitor.faces import confinement, wire
from monitor.faces.config import FacesConfig

if TYPE_CHECKING:
    from monitor.faces.analyser import FaceAnalyser
    from monitor.faces.desk import Desk

log = logging.getLogger(__name__)


def main() -> None:
    """Serve the socket whose number is the first argument."""
    # The daemon decides when its workers end: it closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    confinement.die_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            desk = _load(receive(connection))
        except PackError as error:
            connection.sendall(wire.encode({"error": str(error)}))
            return
        # The top of this process's start: whatever is wrong is told to the operator by the pool.
        except Exception as error:
            log.exception("worker_start_failed")
            connection.sendall(wire.encode({"error": f"{type(error).__name__}: {error}"}))
            return
        connection.sendall(wire.encode({"pack": wire.pack_to_wire(desk.analyser.info)}))
        _serve(connection, desk)


def _load(message: wire.Message) -> Desk:
    # The libraries are loaded here, where a missing one can be told to the pool.
    import cv2
    from PIL import Image

    from monitor.faces.decode import Decoder
    from monitor.faces.desk import Desk

    cv2.setNumThreads(1)
    config = FacesConfig.model_validate_json(message["config"])
    analyser = _sharing(config, message["inference"]) if "inference" in message else _alone(config)
    desk = Desk(analyser, Decoder())
    # Pillow imports its readers when it first needs them, which a confined worker might not be able to.
    Image.init()
    _return_freed_memory()
    confinement.confine(config, "cpu" if "inference" in message else analyser.info.provider)
    return desk


def _alone(config: FacesConfig) -> FaceAnalyser:
    """With networks of its own."""
    import onnxruntime

    from monitor.faces.loading import load

    onnxruntime.set_default_logger_severity(3)
    return load(config)


def _sharing(config: FacesConfig, hello: wire.Message) -> FaceAnalyser:
    """With those of the inference process, which the second and third argument lead to."""
    from monitor.faces.inference.link import InferenceClient, map_memory
    from monitor.faces.inference.sharing import sharing

    connection, memory = (int(number) for number in sys.argv[2:4])
    client = InferenceClient(socket.socket(fileno=connection), map_memory(memory))
    return sharing(config, client, wire.pack_from_wire(hello["pack"]), hello["fixed_size"])


def _serve(connection: socket.socket, desk: Desk) -> None:
    """Answer until the daemon closes its end, or is gone."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            connection.sendall(wire.encode(desk.answer(receive(connection))))


def receive(connection: socket.socket) -> wire.Message:
    """One message of the daemon.

    :raises EOFError: once the daemon has closed its end."""
    length = wire.body_length(_exactly(connection, wire.HEADER.size))
    return wire.decode(_exactly(connection, length))


def _exactly(connection: socket.socket, count: int) -> bytes:
    received = bytearray(count)
    view = memoryview(received)
    while view:
        taken = connection.recv_into(view)
        if not taken:
            raise EOFError
        view = view[taken:]
    return bytes(received)


def _return_freed_memory() -> None:
    """Loading parses every network twice; glibc would keep those 40 MB for later."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main()
