"""Refuses data that has ended two workers: the same bytes are not tried a third time, on whatever stream they come."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from monitor.streams.packet import EncodedFrame

Sample = tuple[bytes, ...]
"""All that a decoder is given, in order; times and names are not part of it."""

_KEYFRAME_PARTS = 3
"""So many parts of a frame's sample are what a job for its keyframe alone has."""
_FATAL_KILLS = 2
_MOST_SUSPECTS = 1024


def frame_sample(frame: EncodedFrame) -> Sample:
    """What of ``frame`` reaches a decoder."""
    video = frame.format
    return (video.codec.encode(), video.extradata or b"", *(packet.data for packet in frame.packets))


def digest(sample: Sample) -> str:
    """SHA-256 (hex) over the parts, each after its length as eight bytes."""
    state = hashlib.sha256()
    for part in sample:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.hexdigest()


@dataclass(slots=True)
class _Suspect:
    size: int
    kills: int


class Quarantine:
    """Remembers the samples that ended a worker, the last 1,024 of them. Digests only, no data.

    As long as nothing of a sample's size is suspected nothing is hashed, so healthy streams cost nothing.
    """

    def __init__(self, most: int = _MOST_SUSPECTS) -> None:
        self._most = most
        self._suspects: OrderedDict[str, _Suspect] = OrderedDict()

    def refused(self, sample: Sample) -> str | None:
        """The digest for which ``sample``, or its keyframe, is refused; None if it may be tried."""
        shorter = (sample[:_KEYFRAME_PARTS],) if len(sample) > _KEYFRAME_PARTS else ()
        for candidate in (sample, *shorter):
            found = self._suspected(candidate)
            if found is not None and self._suspects[found].kills >= _FATAL_KILLS:
                self._suspects.move_to_end(found)
                return found
        return None

    def killed(self, sample: Sample) -> str | None:
        """``sample`` ended a worker. Its digest if it is refused from now on."""
        name = digest(sample)
        suspect = self._suspects.setdefault(name, _Suspect(_size(sample), 0))
        suspect.kills += 1
        self._suspects.move_to_end(name)
        while len(self._suspects) > self._most:
            self._suspects.popitem(last=False)
        return name if suspect.kills == _FATAL_KILLS else None

    def answered(self, sample: Sample) -> None:
        """A worker survived ``sample``: the one that ended over it did so for another reason."""
        found = self._suspected(sample)
        if found is not None:
            del self._suspects[found]

    @property
    def count(self) -> int:
        """How many samples are refused."""
        return sum(suspect.kills >= _FATAL_KILLS for suspect in self._suspects.values())

    def _suspected(self, sample: Sample) -> str | None:
        size = _size(sample)
        if not any(suspect.size == size for suspect in self._suspects.values()):
            return None
        name = digest(sample)
        return name if name in self._suspects else None


def _size(sample: Sample) -> int:
    return sum(map(len, sample))
