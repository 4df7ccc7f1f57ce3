"""A face that is nearer to a known look-alike than to the person is not the person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import scenes
from support.gallery import reference
from support.rooms import PACK, Room, Shown, match

from monitor.demo.face_swap import open_detector, swapped_heads
from monitor.demo.portraits import OBAMA_SENATE
from monitor.faces.analyser import FaceAnalyser
from monitor.incidents.attention import attention
from monitor.sightings.evidence import assess_match
from monitor.sightings.sighting import EvidenceVerdict
from monitor.streams.sampling import Attention

if TYPE_CHECKING:
    from conftest import Watch

EVE = Shown(similarity=0.5, look_alike=0.8)


@pytest.mark.parametrize(
    ("similarity", "look_alike", "verdict"),
    [
        (0.6, None, EvidenceVerdict.PASSED),
        (0.6, 0.3, EvidenceVerdict.PASSED),
        (0.6, 0.649, EvidenceVerdict.PASSED),
        (0.6, 0.651, EvidenceVerdict.LOOK_ALIKE),
        (0.35, 0.9, EvidenceVerdict.LOOK_ALIKE),
        (0.29, 0.9, EvidenceVerdict.NOBODY_PROTECTED),
    ],
)
def test_nearer_by_the_packs_margin_is_somebody_else(similarity, look_alike, verdict) -> None:
    assert PACK.margin == 0.05
    assert assess_match(match("ann", similarity, 0.1, look_alike), PACK) is verdict


def test_a_look_alike_proves_nothing_asks_for_no_burst_and_leaves_no_sample() -> None:
    room = Room()
    for second in range(6):
        (update,) = room.show(second, EVE)
        assert (update.verdict, update.sighting) == (EvidenceVerdict.LOOK_ALIKE, None)
    assert room.tracker.burst_wanted() == ()
    assert not room.tracker._tracks[0]._samples


def test_a_room_with_a_known_look_alike_is_a_quiet_room() -> None:
    assert attention([EvidenceVerdict.LOOK_ALIKE], []) is Attention.QUIET


def test_one_picture_like_the_look_alike_does_not_end_a_sighting() -> None:
    room = Room()
    room.play([0, 1, 2], Shown())
    (update,) = room.show(3, EVE)
    assert update.verdict is EvidenceVerdict.LOOK_ALIKE
    assert room.show(4, Shown())[0].sighting is not None


def test_with_the_real_networks_a_look_alikes_photo_silences_that_head_and_not_the_person(
    networks_dir: Path, analyser: FaceAnalyser, tmp_path: Path, watch: Watch
) -> None:
    """The part of the look-alike is played by the swapped head, which the references know by about 0.55."""
    heads = swapped_heads(OBAMA_SENATE, scenes.SECONDS * 15, open_detector(networks_dir))
    face = max(analyser.faces(heads[20]), key=lambda one: one.box.height)
    assert face.embedding is not None
    eve = reference("obama", face.embedding, "not/eve.jpg")
    room = scenes.broadcast(scenes.staged(heads), tmp_path / "scene.mp4")
    assert watch(room) is not None
    assert watch(room, look_alikes=[eve]) is None
    slide = scenes.with_print(scenes.wall(), OBAMA_SENATE, face_px=150, at=(320, 180), sway=0)
    assert watch(scenes.broadcast(slide, tmp_path / "slide.mp4"), look_alikes=[eve]) is not None
