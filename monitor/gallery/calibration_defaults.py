"""What is assumed of a pack until it is calibrated on data of the operator's own."""

from __future__ import annotations

from typing import Protocol

from monitor.faces.config import OPENCV_ZOO
from monitor.gallery.calibration import Calibration, MatchingScores
from monitor.gallery.score_tail import Tail
from monitor.gallery.stranger_scores import StrangerScores


class Pack(Protocol):
    """A pack, loaded or not."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...


_SFACE_STRANGERS = StrangerScores(
    centre=0.09, spread=0.085, tail=Tail(threshold=0.23, exceedance=0.05, scale=0.036, shape=-0.08)
)
"""Weak: few faces. 97 people of LFW, 25 px crops as scikit-image carries them, against 11 sharp faces (1,067 pairs):
median 0.063, 95 % below 0.208, 99.9 % below 0.293, highest 0.336. The 54 pairs among sharp faces: mean 0.138, standard
deviation 0.082, highest 0.355. Centre and spread lie between the two; the tail reaches 0.355 in 1 of 1,090 pairs, and
0.363, where SFace is at its published best on LFW, in 1 of 1,500. Nobody among them is East Asian, where strangers are
more alike for public models."""

_SFACE_MATCHING = MatchingScores(centre=0.65, spread=0.12)
"""Weak: 0.61 to 0.86 between photos of few people; 0.60 to 0.85 in rooms; 0.4 to 0.8 at 32 px and 200 kbit/s."""

_ARCFACE_STRANGERS = StrangerScores(
    centre=0.02, spread=0.08, tail=Tail(threshold=0.152, exceedance=0.05, scale=0.033, shape=-0.065)
)
"""From one published figure: buffalo_l has a false match rate of 1e-6 at 0.408."""

_ARCFACE_MATCHING = MatchingScores(centre=0.65, spread=0.12)

_PERSISTENCE = 0.75
"""Weak: one moving head (carphone, 4 s) against 11 faces. Standard deviation 0.062 between the faces, 0.037 within the
clip, which makes 0.74."""


def default_calibration(pack: Pack) -> Calibration:
    """The built-in calibration of a shipped pack; packs in InsightFace's layout are taken for ArcFace."""
    sface = pack.name == OPENCV_ZOO
    return Calibration(
        pack_name=pack.name,
        pack_digest=pack.digest,
        source="built in, from few faces" if sface else "built in, from one published figure",
        observations=0,
        strangers=_SFACE_STRANGERS if sface else _ARCFACE_STRANGERS,
        matching=_SFACE_MATCHING if sface else _ARCFACE_MATCHING,
        persistence=_PERSISTENCE,
    )
