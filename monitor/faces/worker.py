"""One worker process: loads the pack, then answers one job after the other until the daemon closes the socket.

Started by the pool as ``python -m monitor.faces.worker FD``. It holds the decoders and the networks, so whatever a
stream's data does to them ends here. Pictures never leave it: only faces do (of embedded ones also 20 x 20 mean
brightnesses), and the JPEG files of evidence.

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
            config = FacesConfig.model_validate_json(_receive(connection)["config"])
            desk = _load(config)
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


def _load(config: FacesConfig) -> Desk:
    # The libraries are loaded here, where a missing one can be told to the pool.
    import cv2
    import onnxruntime
    from PIL import Image

    from monitor.faces import analyser
    from monitor.faces.decode import Decoder
    from monitor.faces.desk import Desk

    cv2.setNumThreads(1)
    onnxruntime.set_default_logger_severity(3)
    desk = Desk(analyser.load(config), Decoder())
    # Pillow imports its readers when it first needs them, which a confined worker might not be able to.
    Image.init()
    _return_freed_memory()
    confinement.confine(config, desk.analyser.info.provider)
    return desk


def _serve(connection: socket.socket, desk: Desk) -> None:
    """Answer until the daemon closes its end, or is gone."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            connection.sendall(wire.encode(desk.answer(_receive(connection))))


def _receive(connection: socket.socket) -> wire.Message:
    """:raises EOFError: once the daemon has closed its end."""
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
