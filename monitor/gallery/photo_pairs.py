"""Similarities between and within people of whom there are photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.faces.face import Embedding
from monitor.gallery.calibration_fit import Observed

MOST_PEOPLE = 2000
"""More are thinned evenly: the pairs grow with the square."""

MOST_REFERENCES = 5
"""Photos of a person that the others are compared with; as the gallery does, by the highest similarity."""


def observe(
    people: Mapping[str, Sequence[Embedding]], protected: Mapping[str, Sequence[Embedding]] | None = None
) -> Observed:
    """Every person's first photo against every other person, and each person's photos against each other.

    :param people: person to embeddings, one for each photo.
    :param protected: identities of the gallery, each with its references; strangers to them are what the others of
        ``people`` are. One of the same name is taken for the same person.
    """
    names = _thinned(sorted(name for name, photos in people.items() if photos))
    first = np.stack([people[name][0] for name in names]) if names else np.empty((0, 1), np.float32)
    compared = [_highest(first, people[name]) for name in names]
    between = np.stack(compared, axis=1) if names else np.empty((0, 0), np.float32)
    apart = ~np.eye(len(names), dtype=bool)
    by_identity = {
        identity_id: _highest(first, references)[[name != identity_id for name in names]]
        for identity_id, references in (protected or {}).items()
        if references and names
    }
    return Observed(
        strangers=np.concatenate([between[apart], *by_identity.values()]).astype(np.float64),
        matching=_within([people[name] for name in names]),
        by_identity={identity_id: similarities.astype(np.float64) for identity_id, similarities in by_identity.items()},
        persistence=_persistence(names, people, between),
    )


def _thinned(names: list[str]) -> list[str]:
    if len(names) <= MOST_PEOPLE:
        return names
    return [names[i] for i in np.linspace(0, len(names) - 1, MOST_PEOPLE).round().astype(int)]


def _highest(probes: NDArray[np.float32], references: Sequence[Embedding]) -> NDArray[np.float32]:
    highest: NDArray[np.float32] = (probes @ np.stack(references[:MOST_REFERENCES]).T).max(axis=1)
    return highest


def _within(people: Sequence[Sequence[Embedding]]) -> NDArray[np.float64]:
    """Each photo against the other photos of the same person; the same picture twice is left out."""
    found = []
    for photos in people:
        used = np.stack(photos[: MOST_REFERENCES + 1])
        cosines = used @ used.T
        cosines[cosines > 0.999] = -1
        best = cosines.max(axis=1)
        found.append(best[best > -1])
    return np.concatenate(found).astype(np.float64) if found else np.empty(0)


def _persistence(
    names: Sequence[str], people: Mapping[str, Sequence[Embedding]], between: NDArray[np.float32]
) -> float | None:
    """Correlation of the similarities that two photos of one person have to everybody else."""
    twice = [i for i, name in enumerate(names) if len(people[name]) > 1]
    if len(twice) < 2:
        return None
    second = np.stack([people[names[i]][1] for i in twice])
    again = np.stack([_highest(second, people[name]) for name in names], axis=1)
    others = np.arange(len(names)) != np.array(twice)[:, np.newaxis]
    return float(np.corrcoef(between[twice][others], again[others])[0, 1])


def alike(people: Mapping[str, Sequence[Embedding]], similarity: float) -> list[str]:
    """``person / person (similarity)`` of all whose first photos are at least so alike, the most alike first.

    One person in two folders, or a wrong photo, makes a tail that no stranger has.
    """
    names = _thinned(sorted(name for name, photos in people.items() if photos))
    if len(names) < 2:
        return []
    first = np.stack([people[name][0] for name in names])
    cosines = np.triu(first @ first.T, 1)
    rows, columns = np.nonzero(cosines >= similarity)
    ranked = sorted(zip(cosines[rows, columns].tolist(), rows.tolist(), columns.tolist(), strict=True), reverse=True)
    return [f"{names[row]} / {names[column]} ({cosine:.2f})" for cosine, row, column in ranked]
