"""Who is enrolled and who is searched for. Pure: the same album gives the same plan on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.evaluation.album import Album, Photo

HELD_OUT = 0.25
"""Share of the identities with several photos that is kept out of the gallery, to be searched for in vain."""

FEW_PROBES = 20
"""With fewer mated probes than this, every photo takes its turn at being enrolled."""

_MOST_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One gallery, and what is searched for in it."""

    enrolled: tuple[Photo, ...]
    mated: tuple[Photo, ...]
    """Other photos of those who are enrolled."""
    non_mated: tuple[Photo, ...]
    """Photos of people who are not."""


def plan(album: Album, *, enrol: int, most_identities: int | None = None) -> tuple[Round, ...]:
    """The rounds of an evaluation.

    Of each identity with two photos or more ``enrol`` are enrolled, but at least one is left to be searched for.
    Identities with one photo, and a held-out quarter of the others, are not enrolled.

    :param most_identities: at most so many enrolled, and as many not enrolled; the same ones on every run.
    """
    several = _shuffled([identity for identity, photos in album.items() if len(photos) >= 2])
    single = _shuffled([identity for identity, photos in album.items() if len(photos) == 1])
    held_out = several[len(several) - int(HELD_OUT * len(several)) :]
    gallery = several[: len(several) - len(held_out)][:most_identities]
    strangers = [*held_out, *single][:most_identities]
    non_mated = tuple(photo for identity in sorted(strangers) for photo in album[identity])
    probes = sum(len(album[identity]) - min(enrol, len(album[identity]) - 1) for identity in gallery)
    rounds = 1 if probes >= FEW_PROBES else min(_MOST_ROUNDS, max(len(album[identity]) for identity in gallery))
    return tuple(_round(album, sorted(gallery), non_mated, enrol, turn) for turn in range(rounds))


def _round(album: Album, gallery: Sequence[str], non_mated: tuple[Photo, ...], enrol: int, turn: int) -> Round:
    enrolled: list[Photo] = []
    mated: list[Photo] = []
    for identity in gallery:
        photos = album[identity]
        count = min(enrol, len(photos) - 1)
        turned = [*photos[turn % len(photos) :], *photos[: turn % len(photos)]]
        enrolled += turned[:count]
        mated += turned[count:]
    return Round(enrolled=tuple(enrolled), mated=tuple(mated), non_mated=non_mated)


def spread(photos: Sequence[Photo], most: int) -> tuple[Photo, ...]:
    """At most ``most`` of ``photos``: the first of each identity before the second of any."""
    turns: dict[str, int] = {}
    order = []
    for index, photo in enumerate(photos):
        turns[photo.identity] = turns.get(photo.identity, -1) + 1
        order.append((turns[photo.identity], _digest(photo.identity), index))
    return tuple(photos[index] for *_, index in sorted(order)[:most])


def _shuffled(identities: Sequence[str]) -> list[str]:
    """In an order that has nothing to do with their names, and is the same everywhere."""
    return sorted(identities, key=_digest)


def _digest(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()
