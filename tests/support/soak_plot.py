"""Draws the course of a soak as a PNG, with OpenCV, which the product brings along."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

WIDTH, PANEL, MARGIN = 1400, 170, 60
INK, GRID, FAULT = (60, 60, 60), (225, 225, 225), (120, 120, 240)
COLOURS = ((180, 90, 20), (40, 140, 40), (30, 30, 190), (150, 40, 150), (20, 120, 160), (120, 120, 20))


def draw(
    path: Path, seconds: Sequence[float], series: dict[str, Sequence[float]], faults: Sequence[tuple[float, str]]
) -> None:
    """One panel for each of ``series`` (name to values, one for each of ``seconds``); faults are upright lines."""
    image = np.full((PANEL * len(series) + MARGIN, WIDTH, 3), 255, np.uint8)
    span = max(seconds[-1], 1.0)

    def across(second: float) -> int:
        return MARGIN + round((WIDTH - 2 * MARGIN) * second / span)

    for index, (name, values) in enumerate(series.items()):
        top, bottom = PANEL * index + 34, PANEL * (index + 1) - 6
        most = max(values) * 1.1 or 1.0
        cv2.rectangle(image, (MARGIN, top), (WIDTH - MARGIN, bottom), GRID, 1)
        for second, _ in faults:
            cv2.line(image, (across(second), top), (across(second), bottom), FAULT, 1)
        points = [(across(s), round(bottom - (bottom - top) * v / most)) for s, v in zip(seconds, values, strict=True)]
        cv2.polylines(image, [np.array(points, np.int32)], False, COLOURS[index % len(COLOURS)], 2, cv2.LINE_AA)
        title = f"{name}: first {values[0]:g}, last {values[-1]:g}, highest {max(values):g}"
        _write(image, title, (MARGIN, top - 8))
    for index, (second, name) in enumerate(faults):
        # In two lines, so that names do not run into each other.
        _write(image, name, (across(second) - 10, PANEL * len(series) + 10 + 10 * (index % 2)), scale=0.33)
    step_s = max(30, round(span / 10 / 30) * 30)
    for second in range(0, int(span) + 1, step_s):
        _write(image, f"{second // 60}:{second % 60:02}", (across(second) - 12, PANEL * len(series) + 40))
    cv2.imwrite(str(path), image)


def _write(image: np.ndarray, text: str, at: tuple[int, int], scale: float = 0.45) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)
