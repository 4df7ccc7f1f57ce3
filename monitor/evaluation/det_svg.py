"""Draws a DET curve as an SVG element that a page can hold; no script, no font, no address in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from monitor.evaluation.openset import DetPoint

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 52
_TICKS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)


def det_svg(points: Sequence[DetPoint]) -> str:
    """FNIR over FPIR, both logarithmic, with the 95 % bounds of FNIR as a band; a dot for each threshold.

    A rate of nought has no place on a logarithmic axis: it stands at the edge, half a probe deep.

    :param points: by rising threshold, at least one.
    """
    axes = _Axes(points)
    upper = [(axes.x(one), axes.y_at(one.fnir.bounds[1])) for one in points]
    lower = [(axes.x(one), axes.y_at(one.fnir.bounds[0])) for one in points]
    middle = [(axes.x(one), axes.y(one)) for one in points]
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(_said(one))}</title></circle>'
        for one, (x, y) in zip(points, middle, strict=True)
    )
    return (
        f'<svg class="det" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="DET curve">{axes.drawn()}'
        f'<polygon class="band" points="{_path([*upper, *reversed(lower)])}"/>'
        f'<polyline class="curve" points="{_path(middle)}"/><g class="dots">{dots}</g></svg>'
    )


def _said(point: DetPoint) -> str:
    low, high = point.fnir.bounds
    return (
        f"similarity {point.threshold:.3f}: FPIR {point.fpir.hits}/{point.fpir.trials}, "
        f"FNIR {point.fnir.hits}/{point.fnir.trials} (95 %: {low:.3f} to {high:.3f})"
    )


def _path(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


class _Axes:
    """Where rates stand on the drawing."""

    def __init__(self, points: Sequence[DetPoint]) -> None:
        self._least_x = 0.5 / max(1, points[0].fpir.trials)
        self._least_y = 0.5 / max(1, points[0].fnir.trials)

    def x(self, point: DetPoint) -> float:
        return self._x_at(point.fpir.value or 0.0)

    def y(self, point: DetPoint) -> float:
        return self.y_at(point.fnir.value or 0.0)

    def _x_at(self, rate: float) -> float:
        return _LEFT + _share(rate, self._least_x) * (WIDTH - _LEFT - _RIGHT)

    def y_at(self, rate: float) -> float:
        return HEIGHT - _BOTTOM - _share(rate, self._least_y) * (HEIGHT - _TOP - _BOTTOM)

    def drawn(self) -> str:
        """Grid, figures and names."""
        bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        parts = []
        for tick in _TICKS:
            if tick >= self._least_x:
                x = self._x_at(tick)
                parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>')
                parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
            if tick >= self._least_y:
                y = self.y_at(tick)
                parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
                parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        parts.append(f'<text x="{(_LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">FPIR</text>')
        parts.append(
            f'<text transform="translate(16 {(_TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">FNIR</text>'
        )
        return "".join(parts)


def _share(rate: float, least: float) -> float:
    """0 at ``least`` and below, 1 at a rate of 1."""
    return 1 - math.log(max(rate, least)) / math.log(least)
