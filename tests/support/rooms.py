"""People in front of a camera that does not exist: pictures, matches and a stream's frames for trackers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import numpy as np
from support.gallery import reference, unit

from monitor.faces.face import Box, Embedding, Face, PackInfo, PictureFaces, Quality
from monitor.gallery.calibration import Calibration, MatchingScores
from monitor.gallery.identity import Candidate, Match
from monitor.gallery.score_tail import Tail
from monitor.gallery.stranger_scores import StrangerScores
from monitor.sightings.config import SightingsConfig
from monitor.sightings.evidence_limit import sized_test
from monitor.sightings.sequential_test import SequentialTest
from monitor.sightings.tracker import Tracker, TrackUpdate
from monitor.streams.packet import EncodedFrame, Packet, VideoFormat

BEGAN = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
DIMENSION = 64
VIDEO = VideoFormat(codec="h264", extradata=None, width=640, height=360, time_base=Fraction(1, 90_000))
PACK = PackInfo(
    name="prepared",
    digest="d1",
    dimension=DIMENSION,
    licence="none",
    provider="cpu",
    similarity_threshold=0.40,
    candidate_threshold=0.30,
    margin=0.05,
)

CALIBRATION = Calibration(
    pack_name=PACK.name,
    pack_digest=PACK.digest,
    source="made up",
    observations=0,
    strangers=StrangerScores(
        centre=0.0, spread=0.04, tail=Tail(threshold=0.08, exceedance=0.0228, scale=0.016, shape=-0.1)
    ),
    matching=MatchingScores(centre=0.55, spread=0.1),
    persistence=0.75,
)
"""Strangers stand so far off that three pictures at the pack's similarity threshold are worth any budget."""

TEST = sized_test(CALIBRATION, SightingsConfig())


def frame_at(*seconds: float, epoch: int = 1) -> EncodedFrame:
    """An encoded frame whose packets arrived at the stream times ``seconds`` after ``BEGAN``."""
    packets = tuple(
        Packet(
            data=b"x" * 10,
            pts=round(second * 90_000),
            dts=round(second * 90_000),
            is_keyframe=not index,
            received_at=BEGAN + timedelta(seconds=second),
        )
        for index, second in enumerate(seconds)
    )
    return EncodedFrame(
        stream_id="room", epoch=epoch, format=VIDEO, packets=packets, instants=tuple(packet.pts for packet in packets)
    )


def match(identity_id: str, similarity: float, runner_up: float | None = 0.1, look_alike: float | None = None) -> Match:
    other = Candidate(identity_id="somebody_else", similarity=runner_up or 0.0, reference=reference("x", unit(1)))
    return Match(
        best=Candidate(identity_id=identity_id, similarity=similarity, reference=reference(identity_id, unit(1))),
        runner_up=None if runner_up is None else other,
        look_alike=None
        if look_alike is None
        else Candidate(identity_id=identity_id, similarity=look_alike, reference=reference(identity_id, unit(2))),
    )


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A face in a picture and what the gallery says of it."""

    who: int = 1
    """Whose face it is: two of the same number have a cosine of about 0.9."""
    x: float = 200.0
    similarity: float = 0.6
    runner_up: float | None = 0.1
    identity: str = "ann"
    embedded: bool = True
    look_alike: float | None = None
    """Similarity to somebody who is known not to be the identity."""

    @property
    def match(self) -> Match | None:
        return match(self.identity, self.similarity, self.runner_up, self.look_alike) if self.embedded else None

    def face(self, variation: int) -> Face:
        return Face(
            box=Box(x1=self.x, y1=80, x2=self.x + 100, y2=200),
            landmarks=np.zeros((5, 2), np.float32),
            det_score=0.9,
            quality=Quality(sharpness=200.0, brightness=120.0),
            embedding=look(self.who, variation) if self.embedded else None,
        )


def look(who: int, variation: int) -> Embedding:
    """How person ``who`` looks in one picture: cosine about 0.9 to their other looks, about 0 to other people's."""
    mixed = unit(who, DIMENSION) + 0.33 * unit(100_000 + variation, DIMENSION)
    return (mixed / np.linalg.norm(mixed)).astype(np.float32)


@dataclass
class Room:
    """A tracker with people in front of it."""

    config: SightingsConfig = field(default_factory=SightingsConfig)
    pack: PackInfo = PACK
    test: SequentialTest = TEST

    def __post_init__(self) -> None:
        self.tracker = Tracker("room", self.pack, self.config, self.test)
        self._pictures = 0

    def show(
        self, second: float, *people: Shown, epoch: int = 1, frame: EncodedFrame | None = None
    ) -> list[TrackUpdate]:
        """What the tracker says of a picture at ``second`` with these people in it."""
        self._pictures += 1
        picture = PictureFaces(
            pts=round(second * 90_000),
            width=640,
            height=360,
            faces=tuple(person.face(self._pictures) for person in people),
        )
        frame = frame or frame_at(second, epoch=epoch)
        return self.tracker.observe(frame, picture, [person.match for person in people])

    def play(self, seconds: Sequence[float], *people: Shown) -> list[TrackUpdate]:
        """The updates of the last of several pictures with the same people."""
        updates: list[TrackUpdate] = []
        for second in seconds:
            updates = self.show(second, *people)
        return updates
