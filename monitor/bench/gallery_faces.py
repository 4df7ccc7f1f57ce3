"""Embeddings that are spread as those of faces are, in any number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Embedding

SEED = 1
REFERENCES_EACH = 5
"""Photos of one identity."""

_OF_PERSON = (0.6, 0.8)
"""How much of a photo's squared length is the person's: two photos of one person have a cosine of 0.6 to 0.8."""
_OF_PERSON_LIVE = (0.45, 0.75)
"""The same of a face in a room, which is seen less well."""
_DECAY = 0.3
"""The axes are not alike: the k-th is k ** -0.3 wide, so that strangers' cosines spread by 0.07 instead of 0.04."""
_IN_COMMON = 0.08
"""What all people share: the mean cosine of two of them; of a photo of each it is 0.06."""
_IDENTITIES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """A gallery's embeddings and faces to look for in it."""

    embeddings: tuple[Embedding, ...]
    """Each of shape (D,), L2-normalised, read-only; those of one identity follow each other."""
    owners: NDArray[np.int64]
    """Shape (N,): the number of each embedding's identity."""
    probes: NDArray[np.float32]
    """Shape (n, D), L2-normalised: faces of identities and of strangers in turn."""

    @property
    def is_mated(self) -> NDArray[np.bool_]:
        """Shape (n,): whether the probe's identity is in the gallery."""
        return np.tile(np.array([True, False]), len(self.probes) // 2)


def make_crowd(
    count: int,
    dimension: int,
    probes: int,
    *,
    seed: int = SEED,
    progress: Callable[[int], None] | None = None,
) -> Crowd:
    """A person is a random direction; a photo is that direction and another one mixed, as is a face in a room.

    :param count: embeddings; ``REFERENCES_EACH`` of each identity, fewer of the last.
    :param probes: an even number; the mated ones are spread over all identities.
    :param progress: told how many embeddings were added.
    """
    random = np.random.default_rng(seed)
    faces = _Faces(random, dimension)
    identities = -(-count // REFERENCES_EACH)
    shown = np.linspace(0, identities - 1, probes // 2).astype(np.int64)
    embeddings: list[Embedding] = []
    mated = []
    for first in range(0, identities, _IDENTITIES_AT_ONCE):
        people = faces.people(min(_IDENTITIES_AT_ONCE, identities - first))
        photos = faces.seen(np.repeat(people, REFERENCES_EACH, axis=0), _OF_PERSON)[: count - len(embeddings)]
        photos.flags.writeable = False
        embeddings += list(photos)
        mated.append(
            faces.seen(people[shown[(shown >= first) & (shown < first + len(people))] - first], _OF_PERSON_LIVE)
        )
        if progress:
            progress(len(photos))
    asked = np.stack([np.concatenate(mated), faces.people(probes // 2)], axis=1).reshape(-1, dimension)
    return Crowd(embeddings=tuple(embeddings), owners=np.arange(count, dtype=np.int64) // REFERENCES_EACH, probes=asked)


class _Faces:
    def __init__(self, random: np.random.Generator, dimension: int) -> None:
        self._random = random
        self._width = np.arange(1, dimension + 1, dtype=np.float32) ** -_DECAY
        self._common = _normalised(random.standard_normal((1, dimension), dtype=np.float32))

    def people(self, count: int) -> NDArray[np.float32]:
        own = math.sqrt(1 - _IN_COMMON) * self._directions(count)
        return _normalised(own + math.sqrt(_IN_COMMON) * self._common)

    def seen(self, people: NDArray[np.float32], share: tuple[float, float]) -> NDArray[np.float32]:
        of_person = self._random.uniform(*share, (len(people), 1)).astype(np.float32)
        of_moment: NDArray[np.float32] = np.sqrt(1 - of_person)
        return _normalised(np.sqrt(of_person) * people + of_moment * self._directions(len(people)))

    def _directions(self, count: int) -> NDArray[np.float32]:
        drawn = self._random.standard_normal((count, len(self._width)), dtype=np.float32)
        return _normalised(drawn * self._width)


def _normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths
