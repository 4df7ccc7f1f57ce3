"""Photos of different identities that look like one person: most likely one of them lies in the wrong folder."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.gallery.identity import Reference
from monitor.gallery.snapshot import GallerySnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Two accepted photos of different identities."""

    one: Reference
    other: Reference
    similarity: float

    @property
    def photos(self) -> tuple[str, str]:
        """Both, each as ``identity/photo``."""
        return _name(self.one), _name(self.other)

    def __str__(self) -> str:
        return (
            f"{' and '.join(self.photos)}: similarity {self.similarity:.2f}; if both show one person, "
            "one of them lies in the wrong folder, and rooms are judged by the wrong permissions"
        )


def alike_across(snapshot: GallerySnapshot, similarity_threshold: float) -> list[Alike]:
    """For each photo the one of another identity that it is most similar to, the most similar pairs first.

    One search a photo: seconds for thousands.

    :param similarity_threshold: the pack's; a cosine from which they count.
    """
    found: dict[frozenset[str], Alike] = {}
    for reference in snapshot.references:
        match = snapshot.match(reference.embedding)
        for candidate in (match.best, match.runner_up) if match is not None else ():
            if candidate is None or candidate.identity_id == reference.identity_id:
                continue
            if candidate.similarity >= similarity_threshold:
                pair = frozenset((_name(reference), _name(candidate.reference)))
                found.setdefault(pair, Alike(one=reference, other=candidate.reference, similarity=candidate.similarity))
    return sorted(found.values(), key=lambda alike: -alike.similarity)


def _name(reference: Reference) -> str:
    return f"{reference.identity_id}/{reference.photo}"
