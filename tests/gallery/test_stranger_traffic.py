from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from support.gallery import PACK, reference, unit
from support.violations import make_identity
from support.waiting import wait_for

from monitor.errors import GalleryError
from monitor.gallery.calibration_fit import fit
from monitor.gallery.snapshot import GallerySnapshot
from monitor.gallery.stranger_traffic import StrangerTraffic

CUT = 0.3
DIMENSION = 128


def gallery(*identities: str) -> GallerySnapshot:
    """Each identity has two references."""
    references = [
        reference(identity, unit(10 * number + photo, DIMENSION), f"{photo}.jpg")
        for number, identity in enumerate(identities)
        for photo in range(2)
    ]
    known = {identity: make_identity() for identity in identities}
    return GallerySnapshot.build(known, references, refused=(), errors=())


def faces(count: int, seed: int = 5) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


_rooms = itertools.count()


def count(traffic: StrangerTraffic, face: np.ndarray, people: GallerySnapshot) -> None:
    """One face in a room where it was never seen."""
    traffic.observe(face, people, room=str(next(_rooms)), now=0.0)


def counted(traffic: StrangerTraffic) -> dict[str, int]:
    return {identity: len(similarities) for identity, similarities in traffic.observed().by_identity.items()}


def test_every_stranger_counts_once_for_each_identity_by_its_highest_similarity() -> None:
    people, traffic = gallery("ann", "bob"), StrangerTraffic("d", CUT)
    for face in faces(500):
        count(traffic, face, people)
    expected = {
        identity: np.max([faces(500) @ r.embedding for r in people.references if r.identity_id == identity], axis=0)
        for identity in ("ann", "bob")
    }
    for identity, similarities in traffic.observed().by_identity.items():
        below = np.sort(expected[identity][expected[identity] < CUT])
        assert len(similarities) == len(below)
        assert np.abs(np.sort(similarities) - below).max() <= 0.011


def test_a_face_that_comes_back_to_its_room_within_the_hour_is_not_counted_again() -> None:
    people, traffic = gallery("ann"), StrangerTraffic("d", CUT)
    host, guest = faces(2)
    for face, room, now in [(host, "a", 0.0), (host, "a", 3000.0), (guest, "a", 3000.0), (host, "b", 3000.0)]:
        traffic.observe(face, people, room=room, now=now)
    assert counted(traffic) == {"ann": 3}
    traffic.observe(host, people, room="a", now=6000.0)
    assert counted(traffic) == {"ann": 3}, "it was there fifty minutes ago"
    traffic.observe(host, people, room="a", now=9700.0)
    assert counted(traffic) == {"ann": 4}


def test_who_came_closer_than_a_candidate_may_have_been_the_person_and_is_not_counted() -> None:
    people, traffic = gallery("ann"), StrangerTraffic("d", CUT)
    count(traffic, people.references[0].embedding, people)
    assert counted(traffic) == {}
    assert traffic.observed().cut == CUT


def test_the_counts_are_saved_at_the_end_and_go_on_after_a_restart(tmp_path: Path) -> None:
    path, people = tmp_path / "data" / "traffic.json", gallery("ann", "bob")
    for seed in (1, 2):
        traffic = StrangerTraffic.load(path, "d", CUT)
        for face in faces(100, seed):
            count(traffic, face, people)
        before = counted(traffic)
        traffic.save(path)
    assert counted(StrangerTraffic.load(path, "d", CUT)) == before
    assert 150 < before["ann"] <= 200


def test_the_file_holds_counts_and_nothing_of_a_face(tmp_path: Path) -> None:
    path, people, traffic = tmp_path / "traffic.json", gallery("ann"), StrangerTraffic("d", CUT)
    for face in faces(3000):
        count(traffic, face, people)
    traffic.save(path)
    document = json.loads(path.read_text())
    assert set(document) == {"format", "format_version", "pack_digest", "cut", "identities"}
    bins = document["identities"]["ann"]
    assert all(isinstance(count, int) for count in bins.values())
    assert all(bin_ == str(int(bin_)) for bin_ in bins)
    assert path.stat().st_size < 4000


def test_whoever_left_the_gallery_leaves_the_counts(tmp_path: Path) -> None:
    path, traffic = tmp_path / "traffic.json", StrangerTraffic("d", CUT)
    for people in (gallery("ann", "bob"), gallery("bob")):
        for face in faces(50):
            count(traffic, face, people)
    traffic.save(path)
    assert list(json.loads(path.read_text())["identities"]) == ["bob"]


def test_whoever_is_not_enrolled_again_yet_keeps_the_counts(tmp_path: Path) -> None:
    path, traffic, both = tmp_path / "traffic.json", StrangerTraffic("d", CUT), gallery("ann", "bob")
    for face in faces(50):
        count(traffic, face, both)
    traffic.save(path)
    again = StrangerTraffic.load(path, "d", CUT)
    half = [one for one in both.references if one.identity_id == "ann"]
    count(again, faces(1)[0], GallerySnapshot.build(both.identities, half, refused=(), errors=()))
    before = counted(traffic)
    assert counted(again) == {"ann": before["ann"] + 1, "bob": before["bob"]}


def test_the_counts_of_an_identity_are_bounded_and_new_ones_outweigh_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.gallery.stranger_traffic.MOST_OF_IDENTITY", 400)
    traffic, people = StrangerTraffic("d", CUT), gallery("ann")
    for seed in range(20):
        for face in faces(100, seed):
            count(traffic, face, people)
        traffic.save(tmp_path / "traffic.json")
        assert counted(traffic)["ann"] <= 500
    assert counted(traffic)["ann"] > 150


def test_a_face_that_is_not_finite_is_not_counted() -> None:
    traffic = StrangerTraffic("d", CUT)
    count(traffic, np.full(DIMENSION, np.nan, np.float32), gallery("ann"))
    assert counted(traffic) == {}


def test_counts_of_another_pack_are_not_mixed_in(tmp_path: Path) -> None:
    path, traffic = tmp_path / "traffic.json", StrangerTraffic("d", CUT)
    count(traffic, faces(1)[0], gallery("ann"))
    traffic.save(path)
    assert counted(StrangerTraffic.load(path, "another", CUT)) == {}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": "likeness-stranger-traffic", "format_version": 1}',
        '{"format": "likeness-stranger-traffic", "format_version": 1, "pack_digest": "d", "cut": 0.3,'
        ' "identities": {"ann": {"999": 1}}}',
    ],
)
def test_a_spoilt_file_is_refused_with_the_remedy(tmp_path: Path, content: str) -> None:
    path = tmp_path / "traffic.json"
    path.write_text(content)
    with pytest.raises(GalleryError, match="remove it, and counting starts anew"):
        StrangerTraffic.load(path, "d", CUT)


def test_a_gallery_of_nobody_counts_nothing() -> None:
    traffic = StrangerTraffic("d", CUT)
    count(traffic, faces(1)[0], GallerySnapshot.empty())
    assert counted(traffic) == {}


def test_the_counts_of_a_thousand_faces_can_be_calibrated_on() -> None:
    people, traffic = gallery("ann", "bob"), StrangerTraffic(PACK.digest, CUT)
    for face in faces(1000):
        count(traffic, face, people)
    observed = traffic.observed()
    calibration = fit(observed, PACK, "traffic")
    assert calibration.observations == len(observed.strangers) > 1000
    assert set(calibration.identities) == {"ann", "bob"}
    assert calibration.false_match_rate(0.2) == pytest.approx((observed.strangers > 0.2).mean(), rel=0.3)


async def test_the_counts_are_saved_while_the_daemon_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.gallery.stranger_traffic._SAVE_EVERY_S", 0.01)
    path, traffic = tmp_path / "traffic.json", StrangerTraffic("d", CUT)
    keeping = asyncio.create_task(traffic.keep(path))
    for face in faces(20):
        count(traffic, face, gallery("ann"))
    await wait_for(path.exists, timeout_s=10, what="the file")
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert counted(StrangerTraffic.load(path, "d", CUT)) == counted(traffic)


def test_a_folder_that_cannot_be_written_loses_no_count(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    traffic, path = StrangerTraffic("d", CUT), tmp_path / "traffic.json"
    count(traffic, faces(1)[0], gallery("ann"))
    traffic.save(tmp_path / "file" / "traffic.json")
    traffic.save(path)
    assert counted(StrangerTraffic.load(path, "d", CUT)) == {"ann": 1}
