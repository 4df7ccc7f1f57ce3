"""The curves of a calibration as one SVG picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from monitor.gallery.calibration import Calibration
from monitor.gallery.stranger_scores import NORMAL

_WIDTH, _HEIGHT, _LEFT, _TOP = 900, 420, 70, 40
_LOWEST_RATE = 1e-12
_GRID = "#e3e3e3"
_STRANGERS, _MATCHING, _NEEDED = "#b4463c", "#2e7d4f", "#30507f"

Curve = Callable[[float], float]


def chart(calibration: Calibration, needed: float) -> str:
    """Share of strangers' and of the person's own pictures at or above each similarity, on a logarithmic scale.

    :param needed: the similarity that the alert budget asks for; an upright line.
    """
    own = calibration.matching
    parts = [
        *_axes(),
        _line(calibration.false_match_rate, _STRANGERS),
        _line(lambda similarity: NORMAL.cdf((own.centre - similarity) / own.spread), _MATCHING),
        f'<line x1="{_x(needed):.1f}" x2="{_x(needed):.1f}" y1="{_TOP}" y2="{_TOP + _HEIGHT}" stroke="{_NEEDED}" '
        'stroke-dasharray="6 4"/>',
        _text(_x(needed) + 6, _TOP + _HEIGHT - 10, f"the alert budget asks for {needed:.2f}", _NEEDED),
        _text(_LEFT, 24, f"{calibration.pack_name}: {calibration.source}", "#222"),
        _text(_LEFT + 8, _TOP + _HEIGHT - 28, "strangers: false match rate of one picture", _STRANGERS),
        _text(_LEFT + 8, _TOP + _HEIGHT - 10, "the person: share of pictures at or above", _MATCHING),
    ]
    size = f'width="{_LEFT + _WIDTH + 30}" height="{_TOP + _HEIGHT + 50}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _axes() -> list[str]:
    parts = []
    for tenth in range(11):
        x = _x(tenth / 10)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{_TOP + _HEIGHT}" stroke="{_GRID}"/>')
        parts.append(_text(x - 9, _TOP + _HEIGHT + 18, f"{tenth / 10:.1f}", "#444"))
    for power in range(0, int(-math.log10(_LOWEST_RATE)) + 1, 2):
        y = _y(10.0**-power)
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(_LEFT - 50, y + 4, f"1e-{power}" if power else "1", "#444"))
    parts.append(_text(_LEFT + _WIDTH / 2 - 60, _TOP + _HEIGHT + 40, "similarity (cosine)", "#444"))
    return parts


def _line(share: Curve, colour: str) -> str:
    points: Sequence[tuple[float, float]] = [
        (similarity, share(float(similarity))) for similarity in np.linspace(0, 1, 201)
    ]
    drawn = " ".join(f"{_x(similarity):.1f},{_y(rate):.1f}" for similarity, rate in points if rate >= _LOWEST_RATE)
    return f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, words: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{escape(words)}</text>'


def _x(similarity: float) -> float:
    return _LEFT + _WIDTH * similarity


def _y(rate: float) -> float:
    return _TOP + _HEIGHT * math.log10(max(rate, _LOWEST_RATE)) / math.log10(_LOWEST_RATE)
