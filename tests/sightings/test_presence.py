"""How a likeness is shown, by generated video before the real networks and by prepared measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from support import scenes
from support.gallery import reference
from support.violations import make_sample, make_sighting

from monitor.demo.clip import FPS, Picture
from monitor.demo.face_swap import open_detector, swapped_heads
from monitor.demo.portraits import OBAMA_OFFICIAL, OBAMA_SENATE, Portrait
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.face import GRID_SIDE, Box
from monitor.faces.inset import FRAMED_BESIDE
from monitor.sightings.presence import RIGID_FROM, Bearing, Presence, Rival, View, presence_of
from monitor.sightings.rigidity import planar_agreement
from monitor.sightings.sighting import Sample
from monitor.sightings.track import MAX_SAMPLES, thinned

if TYPE_CHECKING:
    from conftest import Watch

Broadcast = Callable[[Sequence[Picture]], list[Picture]]


@pytest.fixture(scope="module")
def man() -> list[Picture]:
    """Somebody whom nobody protects, presenting."""
    return scenes.real_head()


@pytest.fixture(scope="module")
def clone(networks_dir: Path) -> list[Picture]:
    """The protected person's face on his head."""
    return swapped_heads(OBAMA_SENATE, scenes.SECONDS * 15, open_detector(networks_dir))


@pytest.fixture
def broadcast(tmp_path: Path) -> Broadcast:
    return lambda pictures: scenes.broadcast(pictures, tmp_path / "scene.mp4")


def test_a_cloned_head_that_talks_presents(clone: list[Picture], broadcast: Broadcast, watch: Watch) -> None:
    assert watch(broadcast(scenes.staged(clone))).presence is Presence.PRESENTER


def test_a_real_head_that_talks_presents(
    man: list[Picture], broadcast: Broadcast, watch: Watch, analyser: FaceAnalyser
) -> None:
    face = analyser.faces(man[30])[0]
    assert face.embedding is not None
    sighting = watch(broadcast(scenes.staged(man)), reference("man", face.embedding))
    assert (sighting.identity_id, sighting.presence) == ("man", Presence.PRESENTER)


def test_a_cloned_head_far_from_the_camera_presents_while_it_is_alone(
    clone: list[Picture], broadcast: Broadcast, watch: Watch
) -> None:
    sighting = watch(broadcast(scenes.staged(clone, 0.4, 250)))
    assert sighting.bearing.face_share < 0.2
    assert sighting.presence is Presence.PRESENTER


def test_of_two_who_present_beside_one_another_neither_is_in_the_background(
    man: list[Picture], clone: list[Picture], broadcast: Broadcast, watch: Watch
) -> None:
    room = scenes.with_inset(scenes.staged(man, 0.8, 0), clone, scale=0.65, x=400, y=120)
    assert watch(broadcast(room)).presence is Presence.PRESENTER


def test_a_poster_on_the_wall_behind_somebody_else_is_background(
    man: list[Picture], broadcast: Broadcast, watch: Watch
) -> None:
    room = scenes.with_print(scenes.staged(man), OBAMA_OFFICIAL, face_px=60, at=(570, 90), sway=0)
    assert watch(broadcast(room)).presence is Presence.BACKGROUND


def test_a_face_on_a_package_in_a_hand_is_a_static_image(
    man: list[Picture], broadcast: Broadcast, watch: Watch
) -> None:
    room = scenes.with_print(scenes.staged(man), OBAMA_OFFICIAL, face_px=60, at=(560, 245), sway=1)
    assert watch(broadcast(room)).presence is Presence.STATIC_IMAGE


@pytest.mark.parametrize(("scale", "x", "y"), [(0.42, 490, 10), (0.42, 506, 0), (0.3, 20, 20)])
def test_a_head_in_a_window_over_another_persons_stream_is_an_inset(
    man: list[Picture], clone: list[Picture], broadcast: Broadcast, watch: Watch, scale: float, x: int, y: int
) -> None:
    room = scenes.with_inset(scenes.staged(man), clone, scale=scale, x=x, y=y)
    assert watch(broadcast(room)).presence is Presence.INSET


def test_a_photo_held_to_the_camera_is_a_static_image_however_it_is_tilted(broadcast: Broadcast, watch: Watch) -> None:
    room = scenes.with_print(scenes.wall(), OBAMA_SENATE, face_px=180, at=(320, 180), sway=1)
    assert watch(broadcast(room)).presence is Presence.STATIC_IMAGE


def test_a_slide_that_fills_the_screen_is_a_static_image(broadcast: Broadcast, watch: Watch) -> None:
    room = scenes.with_print(scenes.wall(), OBAMA_OFFICIAL, face_px=190, at=(320, 180), sway=0)
    assert watch(broadcast(room)).presence is Presence.STATIC_IMAGE


@pytest.mark.parametrize("portrait", [OBAMA_OFFICIAL, OBAMA_SENATE])
def test_a_slide_that_is_zoomed_over_and_over_is_a_static_image(
    portrait: Portrait, broadcast: Broadcast, watch: Watch
) -> None:
    sighting = watch(broadcast(scenes.zoomed(portrait, 100, 300, seconds=7) * 2))
    assert sighting.presence is Presence.STATIC_IMAGE
    assert sighting.samples_seen > 12


@pytest.mark.parametrize(("opening", "presence"), [(0.0, Presence.STATIC_IMAGE), (0.1, Presence.PRESENTER)])
@pytest.mark.parametrize("portrait", [OBAMA_OFFICIAL, OBAMA_SENATE])
def test_a_photo_of_which_software_moves_the_mouth_alone_presents(
    portrait: Portrait, opening: float, presence: Presence, broadcast: Broadcast, watch: Watch
) -> None:
    assert watch(broadcast(scenes.talking_photo(portrait, 150, opening, seconds=8))).presence is presence


def test_a_large_poster_of_somebody_else_does_not_turn_a_clone_into_background(
    man: list[Picture],
    clone: list[Picture],
    broadcast: Broadcast,
    watch: Watch,
    analyser: FaceAnalyser,
    tmp_path: Path,
) -> None:
    poster = Portrait(path=tmp_path / "man.png", face=analyser.faces(man[0])[0].box)
    cv2.imwrite(str(poster.path), man[0])
    room = scenes.with_print(scenes.staged(clone, 0.5, 20), poster, face_px=190, at=(440, 180), sway=0)
    sighting = watch(broadcast(room))
    assert sighting.bearing.outshone > 2.0
    assert sighting.presence is Presence.PRESENTER


def test_of_a_clone_and_a_poster_of_the_same_person_the_clone_is_reported(
    clone: list[Picture], broadcast: Broadcast, watch: Watch
) -> None:
    room = scenes.with_print(scenes.staged(clone), OBAMA_SENATE, face_px=75, at=(560, 90), sway=0)
    sighting = watch(broadcast(room))
    assert sighting.presence is Presence.PRESENTER
    assert sighting.best.box.height > 120


def test_a_photo_that_becomes_a_talking_head_presents_from_then_on(
    clone: list[Picture], broadcast: Broadcast, watch: Watch
) -> None:
    still = [clone[0]] * 60
    before, after = watch(broadcast(scenes.staged(still))), watch(broadcast(scenes.staged([*still, *clone])))
    assert (before.presence, after.presence) == (Presence.STATIC_IMAGE, Presence.PRESENTER)
    assert after.samples[0].stream_time == 0.0


def test_a_photo_that_was_shown_for_ten_minutes_presents_a_few_pictures_after_it_began_to_talk(
    clone: list[Picture], broadcast: Broadcast, watch: Watch
) -> None:
    talking = broadcast(scenes.staged(clone))
    assert len(talking) / FPS <= 8
    assert watch(talking[:FPS], first_lasts_s=600).presence is Presence.STATIC_IMAGE
    assert watch(talking, first_lasts_s=600).presence is Presence.PRESENTER


def test_two_posters_that_take_turns_as_the_highest_face_outshine_nobody() -> None:
    noise = np.random.default_rng(3)
    posters = [noise.integers(0, 256, 400, np.uint8).tobytes() for _ in range(2)]
    places = [Box(x1=20, y1=20, x2=120, y2=160), Box(x1=500, y1=20, x2=600, y2=160)]
    views = [
        View(
            box=Box(x1=300, y1=100, x2=340, y2=150),
            picture_height=360,
            rival=Rival(box=places[second % 2], grid=posters[second % 2]),
            inset=None,
            grid=noise.integers(0, 256, 400, np.uint8).tobytes(),
        )
        for second in range(8)
    ]
    bearing = Bearing.of(views)
    assert bearing.rival_rigidity > RIGID_FROM
    assert presence_of(bearing) is Presence.PRESENTER


BEARING = Bearing(views=5, face_share=0.3, rigidity=0.8, travel=0.4, outshone=0.0, framed=0.0, rival_rigidity=0.8)


@pytest.mark.parametrize(
    ("changes", "presence"),
    [
        ({}, Presence.PRESENTER),
        ({"rigidity": None}, Presence.PRESENTER),
        ({"face_share": 0.02}, Presence.PRESENTER),
        ({"framed": 1.0}, Presence.PRESENTER),
        ({"outshone": FRAMED_BESIDE, "framed": 1.0}, Presence.PRESENTER),
        ({"outshone": 2.0}, Presence.PRESENTER),
        ({"outshone": 2.0, "framed": 1.0}, Presence.INSET),
        ({"outshone": 3.0, "framed": 0.4}, Presence.BACKGROUND),
        ({"rigidity": RIGID_FROM}, Presence.STATIC_IMAGE),
        ({"rigidity": 0.99, "outshone": 2.0}, Presence.STATIC_IMAGE),
        ({"rigidity": 0.99, "outshone": 2.0, "travel": 0.05}, Presence.BACKGROUND),
        ({"rigidity": 0.99, "travel": 0.05}, Presence.STATIC_IMAGE),
        ({"outshone": 3.0, "rival_rigidity": 0.99}, Presence.PRESENTER),
        ({"outshone": 3.0, "rival_rigidity": None}, Presence.PRESENTER),
        ({"outshone": 3.0, "framed": 1.0, "rival_rigidity": 0.99}, Presence.PRESENTER),
        ({"outshone": 3.0, "rigidity": 0.99, "rival_rigidity": 0.99, "travel": 0.05}, Presence.STATIC_IMAGE),
    ],
)
def test_what_the_measurements_leave_open_gets_the_more_severe_class(changes, presence) -> None:
    assert presence_of(replace(BEARING, **changes)) is presence


def test_presences_are_ordered_from_the_presenter_to_the_background() -> None:
    strengths = [one.strength for one in Presence]
    assert strengths == sorted(strengths, reverse=True)
    assert max(Presence, key=lambda one: one.strength) is Presence.PRESENTER


VIEW = View(box=Box(x1=100, y1=100, x2=180, y2=200), picture_height=400, rival=None, inset=None, grid=b"")


def test_a_view_without_a_grid_proves_no_rigidity() -> None:
    bearing = Bearing.of([VIEW] * 5)
    assert (bearing.views, bearing.rigidity, bearing.face_share) == (5, None, 0.25)
    assert presence_of(bearing) is Presence.PRESENTER


def test_an_inset_counts_as_the_same_while_three_of_its_sides_stay() -> None:
    frames = [Box(x1=50, y1=50, x2=right, y2=250) for right in (230, 300, 260)] + [Box(x1=80, y1=10, x2=200, y2=290)]
    assert Bearing.of([replace(VIEW, inset=frame) for frame in frames]).framed == 0.75
    assert Bearing.of([VIEW, replace(VIEW, inset=frames[0])]).framed == 0.5


def test_one_odd_view_in_seven_does_not_make_a_print_a_presenter() -> None:
    chance = np.random.default_rng(3)
    grid = chance.integers(0, 255, GRID_SIDE**2, np.uint8)
    odd = chance.integers(0, 255, GRID_SIDE**2, np.uint8)
    views = [replace(VIEW, grid=one.tobytes()) for one in (grid, grid, odd, grid, grid, grid, grid)]
    assert Bearing.of(views).rigidity > 0.99
    assert Bearing.of([*views, views[2]]).rigidity < 0.5


def test_a_plane_agrees_with_itself_moved_turned_and_lit_otherwise_and_not_with_another() -> None:
    rows, columns = np.mgrid[0:GRID_SIDE, 0:GRID_SIDE].astype(np.float64)

    def grid(phase: float, turn: float = 0.0, shift: float = 0.0, gain: float = 1.0) -> np.ndarray:
        x = columns * np.cos(turn) - rows * np.sin(turn) + shift
        y = columns * np.sin(turn) + rows * np.cos(turn)
        return (gain * (120 + 60 * np.sin(x / 2.3 + phase) * np.cos(y / 3.1 - phase) + 20 * np.sin(y / 1.7))).astype(
            np.uint8
        )

    others = np.stack([grid(0, 0.08, 0.7), grid(0, -0.05, -0.6, 0.7), grid(2.2)])
    same, darker, another = planar_agreement(grid(0), others)
    assert min(same, darker) >= RIGID_FROM
    assert another < 0.9


def test_flat_grey_grids_prove_no_print() -> None:
    flat = np.full((GRID_SIDE, GRID_SIDE), 90, np.uint8)
    assert planar_agreement(flat, np.stack([flat, flat])).tolist() == [0, 0]


def test_grids_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        planar_agreement(np.zeros((4, 5), np.uint8), np.zeros((1, 4, 5), np.uint8))


def test_of_samples_as_similar_the_clearer_picture_is_shown_and_a_poor_one_only_if_it_is_far_more_similar() -> None:
    def sampled(similarity: float, quality: float) -> Sample:
        return replace(make_sample(0, similarity), view=replace(VIEW, quality=quality))

    blurred, clear, poor = sampled(0.70, 0.4), sampled(0.69, 0.9), sampled(0.95, 0.1)
    sighting = replace(make_sighting(), samples=(blurred, clear, poor), best=poor)
    assert sighting.clearest is clear
    assert replace(sighting, samples=(blurred, poor), best=poor).clearest is poor
    unknown = [make_sample(second, 0.7) for second in (0, 1, 2)]
    assert replace(sighting, samples=tuple(unknown), best=unknown[2]).clearest is unknown[2]


def test_how_the_likeness_is_shown_now_is_told_by_the_clearest_of_the_newest_three_samples() -> None:
    samples = tuple(
        replace(make_sample(second, 0.7), view=replace(VIEW, quality=quality))
        for second, quality in enumerate((1.0, 0.9, 0.3, 0.8, 0.5))
    )
    sighting = replace(make_sighting(), samples=samples, best=samples[0])
    assert (sighting.clearest, sighting.clearest_now) == (samples[0], samples[3])
    assert replace(sighting, samples=samples[:1]).clearest_now is samples[0]


def test_thinning_keeps_the_clearest_sample_too() -> None:
    samples = [replace(make_sample(second, 0.6), view=replace(VIEW, quality=0.5)) for second in range(60)]
    samples[20] = replace(samples[20], view=replace(VIEW, quality=1.0))
    samples[40] = replace(make_sample(40, 0.65), view=replace(VIEW, quality=0.1))
    kept = thinned(samples)
    assert len(kept) == MAX_SAMPLES
    assert all(any(one is wanted for one in kept) for wanted in (samples[0], samples[20], samples[40], samples[59]))
