"""Whether two views of a face differ only as two views of one flat picture do.

A print, a package or a slide moves as a plane: between two views its pixels follow one homography and a change of
brightness. A head that turns, speaks or blinks does not. So the coarse grids of two aligned faces are registered by a
homography (inverse compositional alignment, Baker and Matthews 2004; brightness and contrast are normalised away),
and the correlation that is left says how well a plane explains both, of the whole and of the mouth alone: software
that makes a photo talk moves nothing else. Both are smoothed first: cells as coarse as these cannot be read between
one another without it, and a print that is zoomed would differ nearly as much as a head does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import GRID_SIDE

_ITERATIONS = 10
_SHAPE = (GRID_SIDE, GRID_SIDE)
_INNER = slice(2, GRID_SIDE - 2)
"""Two cells are left out on each side: what moves in and out of the crop says nothing."""
_CENTRE = (GRID_SIDE - 1) / 2
_ROWS, _COLUMNS = (axis[_INNER, _INNER].ravel() for axis in np.mgrid[0:GRID_SIDE, 0:GRID_SIDE])
_MOUTH = np.flatnonzero((_ROWS >= 15) & (_COLUMNS >= 7) & (_COLUMNS <= 12))
"""Which of them lie around the mouth of ArcFace's template, from corner to corner."""
_PLACES = np.stack([_COLUMNS - _CENTRE, _ROWS - _CENTRE, np.ones(len(_ROWS))])
_LARGEST_STEP = np.array([1.5, 0.1, 0.1, 1.5, 0.1, 0.1, 0.01, 0.01])
_LEAST_DEPTH = 0.2
"""A map that turns the plane's edge towards the camera is none of a print that a detector finds a face on."""
_STEADY = 1e-3
"""Kept on the normal equations' diagonal, relative to their mean: a flat grey picture has no gradient."""


def planar_agreement(template: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How well a homography makes each of ``others`` into ``template``, 1 for perfectly.

    It is the correlation, or less where the mouth does not fit: one less half the mean square by which the mouth's
    normalised brightnesses differ, which over the whole would be the correlation. 0 for grids without any contrast.

    :param template: grey grid of an aligned face, shape (20, 20).
    :param others: grids of the same face at other times, shape (m, 20, 20).
    :returns: shape (m,).
    :raises ValueError: the shapes do not fit.
    """
    if template.shape != _SHAPE or others.shape[1:] != _SHAPE:
        raise ValueError(f"grids have shapes {template.shape} and {others.shape}, expected {_SHAPE} and (m, *{_SHAPE})")
    pattern, grids = _smoothed(template), _smoothed(others)
    wanted = _normalised(pattern[_INNER, _INNER].reshape(1, -1))
    solve = _solver(pattern)
    warp = np.tile(np.eye(3), (len(others), 1, 1))
    best = np.full(len(others), -1.0)
    for _ in range(_ITERATIONS):
        there = warp @ _PLACES
        seen = _normalised(_sampled(grids, there[:, :2] / np.maximum(_LEAST_DEPTH, there[:, 2:]) + _CENTRE))
        mouth = 1 - ((seen - wanted)[:, _MOUTH] ** 2).mean(axis=1) / 2
        best = np.maximum(best, np.minimum((seen * wanted).mean(axis=1), mouth))
        warp = _composed(warp, (seen - wanted) @ solve)
    return best


def _solver(template: NDArray[np.float64]) -> NDArray[np.float64]:
    """From a difference of normalised pictures to the eight steps of the map; shape (points, 8)."""
    columns, rows, _ = _PLACES
    contrast = template[_INNER, _INNER].std() + 1e-9
    down, right = (gradient[_INNER, _INNER].ravel() for gradient in np.gradient(template / contrast))
    outwards = right * columns + down * rows
    affine = [right, right * columns, right * rows, down, down * columns, down * rows]
    jacobian = np.stack([*affine, -outwards * columns, -outwards * rows], axis=1)
    normal = jacobian.T @ jacobian
    steadied = normal + np.diag(_STEADY * normal.diagonal() + 1e-9)
    return np.asarray(jacobian @ np.linalg.inv(steadied))


def _composed(warp: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The maps after the inverse of the small maps ``steps``, shape (m, 8)."""
    # A step that is larger than this leaves what the gradients at the start can say.
    steps = np.clip(steps, -_LARGEST_STEP, _LARGEST_STEP)
    small = np.tile(np.eye(3), (len(steps), 1, 1))
    small[:, :2, 2] += steps[:, [0, 3]]
    small[:, :2, :2] += steps[:, [1, 2, 4, 5]].reshape(-1, 2, 2)
    small[:, 2, :2] += steps[:, 6:]
    moved = warp @ np.linalg.inv(small)
    return np.asarray(moved / moved[:, 2:, 2:], np.float64)


def _smoothed(grids: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Each cell with its neighbours, weighed 1, 2, 1 down and across; the edge goes on outside."""
    padded = np.pad(grids.astype(np.float64), [(0, 0)] * (grids.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    down = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    return np.asarray((down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]) / 16)


def _sampled(grids: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each grid at its own ``places``, shape (m, 2, points), x first; bilinear, the edge goes on outside."""
    last = grids.shape[1] - 1
    x, y = (np.clip(places[:, axis], 0, last) for axis in (0, 1))
    left, top = np.minimum(x.astype(np.intp), last - 1), np.minimum(y.astype(np.intp), last - 1)
    across, down = x - left, y - top
    which = np.arange(len(grids))[:, np.newaxis]
    upper = grids[which, top, left] * (1 - across) + grids[which, top, left + 1] * across
    lower = grids[which, top + 1, left] * (1 - across) + grids[which, top + 1, left + 1] * across
    return np.asarray(upper * (1 - down) + lower * down)


def _normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row with mean 0 and variance 1."""
    around = values - values.mean(axis=1, keepdims=True)
    return np.asarray(around / (around.std(axis=1, keepdims=True) + 1e-9))
