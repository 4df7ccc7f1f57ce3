"""Whether two views of a face differ only as two views of one flat picture do.

A print, a package or a slide moves as a plane: between two views its pixels follow one affine map (weak perspective)
and a change of brightness. A head that turns, speaks or blinks does not. So the coarse grids of two aligned faces are
registered by an affine map (inverse compositional alignment, Baker and Matthews 2004; brightness and contrast are
normalised away), and the correlation that is left says how well a plane explains both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ITERATIONS = 10
_BORDER = 7
"""One part in so many is left out on each side: what moves in and out of the crop says nothing."""
_STEADY = 1e-3
"""Kept on the normal equations' diagonal, relative to their mean: a flat grey picture has no gradient."""


def planar_agreement(template: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How well an affine map makes each of ``others`` into ``template``: correlation, 1 for a perfect fit.

    :param template: grey grid of an aligned face, shape (N, N).
    :param others: grids of the same face at other times, shape (m, N, N).
    :returns: shape (m,).
    :raises ValueError: the shapes do not fit.
    """
    if template.ndim != 2 or template.shape[0] != template.shape[1] or others.shape[1:] != template.shape:
        raise ValueError(f"grids have shapes {template.shape} and {others.shape}, expected (N, N) and (m, N, N)")
    side = len(template)
    inner = slice(side // _BORDER, side - side // _BORDER)
    centre = (side - 1) / 2
    rows, columns = (axis[inner, inner].ravel() - centre for axis in np.mgrid[0:side, 0:side])
    wanted = _normalised(template[inner, inner].reshape(1, -1))
    solve = _solver(template, inner, rows, columns)
    places = np.stack([columns, rows, np.ones_like(rows)])
    warp = np.tile(np.eye(2, 3), (len(others), 1, 1))
    best = np.full(len(others), -1.0)
    for _ in range(_ITERATIONS):
        seen = _normalised(_sampled(others, warp @ places + centre))
        best = np.maximum(best, (seen * wanted).mean(axis=1))
        warp = _composed(warp, (seen - wanted) @ solve)
    return best


def _solver(
    template: NDArray[np.uint8], inner: slice, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From a difference of normalised pictures to the six steps of the map; shape (points, 6)."""
    grey = template.astype(np.float64)
    down, right = (gradient[inner, inner].ravel() for gradient in np.gradient(grey / (grey[inner, inner].std() + 1e-9)))
    jacobian = np.stack([right, right * columns, right * rows, down, down * columns, down * rows], axis=1)
    normal = jacobian.T @ jacobian
    steadied = normal + np.diag(_STEADY * normal.diagonal() + 1e-9)
    return np.asarray(jacobian @ np.linalg.inv(steadied))


def _composed(warp: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The maps after the inverse of the small maps ``steps``, shape (m, 6)."""
    # A step that is larger than this leaves what the gradients at the start can say.
    steps = np.clip(steps, [-1.5, -0.1, -0.1] * 2, [1.5, 0.1, 0.1] * 2)
    small = np.eye(2) + steps[:, [1, 2, 4, 5]].reshape(-1, 2, 2)
    linear = warp[:, :, :2] @ np.linalg.inv(small)
    moved = warp[:, :, 2] - (linear @ steps[:, [0, 3], np.newaxis])[:, :, 0]
    return np.concatenate([linear, moved[:, :, np.newaxis]], axis=2)


def _sampled(grids: NDArray[np.uint8], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each grid at its own ``places``, shape (m, 2, points), x first; bilinear, the edge goes on outside."""
    last = grids.shape[1] - 1
    x, y = (np.clip(places[:, axis], 0, last) for axis in (0, 1))
    left, top = np.minimum(x.astype(np.intp), last - 1), np.minimum(y.astype(np.intp), last - 1)
    across, down = x - left, y - top
    which = np.arange(len(grids))[:, np.newaxis]
    upper = grids[which, top, left] * (1 - across) + grids[which, top, left + 1] * across
    lower = grids[which, top + 1, left] * (1 - across) + grids[which, top + 1, left + 1] * across
    return np.asarray(upper * (1 - down) + lower * down)


def _normalised(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Each row with mean 0 and variance 1."""
    floats = values.astype(np.float64)
    floats -= floats.mean(axis=1, keepdims=True)
    return np.asarray(floats / (floats.std(axis=1, keepdims=True) + 1e-9), np.float64)
