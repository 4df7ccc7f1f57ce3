"""What is done to a face before it is broadcast: every transformation that ``monitor evaluate`` knows, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from monitor.errors import MonitorError
from monitor.evaluation import disguise, geometry
from monitor.evaluation.shot import Shot, mirrored

BIT_RATE = 1_500_000
"""Of a clip that no transformation squeezes, bits a second at 25 pictures a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformation:
    """One way to change a recording."""

    name: str
    description: str
    """For the report's reader, who has not seen it."""
    apply: Callable[[Shot], Shot] = lambda shot: shot
    bit_rate: int = BIT_RATE
    speed: float = 1.0
    """Above 1 the recording runs faster, and is on the air for a shorter time."""
    swapped: bool = False
    """The face is laid on the moving head of the sample clip first."""


AS_IS = Transformation(name="as_is", description="720p, 1.5 Mbit/s, the face 30 % of the picture's height")

_EVERY = (
    AS_IS,
    Transformation(name="scale_480p", description="scaled to 854 x 480", apply=lambda shot: geometry.scaled(shot, 480)),
    Transformation(name="scale_360p", description="scaled to 640 x 360", apply=lambda shot: geometry.scaled(shot, 360)),
    Transformation(name="scale_240p", description="scaled to 426 x 240", apply=lambda shot: geometry.scaled(shot, 240)),
    Transformation(name="h264_500k", description="720p at 500 kbit/s (25 fps)", bit_rate=500_000),
    Transformation(name="h264_200k", description="720p at 200 kbit/s (25 fps)", bit_rate=200_000),
    Transformation(name="mirror", description="left and right exchanged", apply=mirrored),
    Transformation(
        name="crop",
        description="a window of 60 % about the face, enlarged",
        apply=lambda shot: geometry.cropped(shot, 0.6),
    ),
    Transformation(
        name="crop_chin",
        description="the picture ends between mouth and chin",
        apply=lambda shot: geometry.cut_off(shot, 1.35),
    ),
    Transformation(
        name="rotate_plus_15",
        description="turned 15 degrees counter-clockwise",
        apply=lambda shot: geometry.rotated(shot, 15),
    ),
    Transformation(
        name="rotate_minus_15",
        description="turned 15 degrees clockwise",
        apply=lambda shot: geometry.rotated(shot, -15),
    ),
    Transformation(
        name="rotate_22",
        description="turned 22 degrees: where a detector is still sure, and wrong",
        apply=lambda shot: geometry.rotated(shot, 22),
    ),
    Transformation(name="rotate_45", description="turned 45 degrees", apply=lambda shot: geometry.rotated(shot, 45)),
    Transformation(name="rotate_90", description="lying on its side", apply=lambda shot: geometry.rotated(shot, 90)),
    Transformation(
        name="upside_down", description="turned 180 degrees", apply=lambda shot: geometry.rotated(shot, 180)
    ),
    Transformation(name="darker", description="every value times 0.35", apply=lambda shot: disguise.dimmed(shot, 0.35)),
    Transformation(
        name="gamma_bright", description="gamma 0.45", apply=lambda shot: disguise.gamma_corrected(shot, 0.45)
    ),
    Transformation(name="gamma_dark", description="gamma 2.2", apply=lambda shot: disguise.gamma_corrected(shot, 2.2)),
    Transformation(
        name="colour_warm",
        description="blue times 0.55, red times 1.25",
        apply=lambda shot: disguise.tinted(shot, 0.55, 0.95, 1.25),
    ),
    Transformation(
        name="colour_cold",
        description="blue times 1.3, red times 0.6",
        apply=lambda shot: disguise.tinted(shot, 1.3, 1.0, 0.6),
    ),
    Transformation(name="colour_none", description="grey", apply=disguise.greyed),
    Transformation(
        name="beauty", description="skin smoothed, eyes enlarged, cheeks drawn in", apply=disguise.beautified
    ),
    Transformation(
        name="blur",
        description="a Gaussian of 6 % of the distance from eyes to mouth",
        apply=lambda shot: disguise.blurred(shot, 0.06),
    ),
    Transformation(name="sticker_mouth", description="the mouth covered", apply=disguise.sticker_on_mouth),
    Transformation(name="sticker_eyes", description="eyes and brows covered", apply=disguise.sticker_on_eyes),
    Transformation(name="sticker_chin", description="the chin covered", apply=disguise.sticker_on_chin),
    Transformation(
        name="banner_lower",
        description="everything from the tip of the nose downwards covered",
        apply=disguise.banner_over_lower_half,
    ),
    Transformation(name="banner_side", description="one side of the face covered", apply=disguise.banner_over_side),
    Transformation(
        name="picture_in_picture",
        description="shrunk to 30 % in a corner of another picture",
        apply=lambda shot: geometry.picture_in_picture(shot, 0.3),
    ),
    Transformation(
        name="border",
        description="shrunk to 60 % in a coloured frame",
        apply=lambda shot: geometry.in_border(shot, 0.6),
    ),
    Transformation(
        name="far_away",
        description="shrunk to 15 %: the face 32 pixels high",
        apply=lambda shot: geometry.far_away(shot, 0.15),
    ),
    Transformation(name="speed_up", description="at double speed, for half as long", speed=2.0),
    Transformation(
        name="face_swap", description="the face on the moving head of another person (carphone)", swapped=True
    ),
)

TRANSFORMATIONS: Mapping[str, Transformation] = MappingProxyType({one.name: one for one in _EVERY})
"""By name, in the order of the report."""

QUICK = ("as_is", "h264_200k", "rotate_45", "sticker_mouth", "face_swap")
"""What ``--quick`` tries."""


def chosen(names: Sequence[str]) -> tuple[Transformation, ...]:
    """The transformations of these names, in the report's order.

    :raises MonitorError: for an unknown name, or for none; lists those that there are.
    """
    if not names:
        raise MonitorError(f"--transformations names none; there are {', '.join(TRANSFORMATIONS)}")
    unknown = [name for name in names if name not in TRANSFORMATIONS]
    if unknown:
        raise MonitorError(
            f"--transformations: {', '.join(map(repr, unknown))} unknown; there are {', '.join(TRANSFORMATIONS)}"
        )
    return tuple(one for one in _EVERY if one.name in names)
