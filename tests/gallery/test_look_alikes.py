"""Photos in ``not/``: people who are mistaken for a protected person, and are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from support.gallery import Folder, MemoryStore, PreparedAnalyser, face, picture, reference, unit

from monitor.faces.face import Embedding
from monitor.gallery.gallery import Gallery
from monitor.gallery.identity import RefusalReason
from monitor.gallery.look_alikes import settle_look_alikes
from monitor.gallery.matcher import Matcher

ANN = unit(1)


def at(similarity: float, seed: int = 2) -> Embedding:
    """An embedding of this cosine to ``ANN``."""
    aside = unit(seed) - (unit(seed) @ ANN) * ANN
    aside /= np.linalg.norm(aside)
    return np.asarray(similarity * ANN + np.sqrt(1 - similarity**2) * aside, np.float32)


def not_them(folder: Folder, identity_id: str, **photos: bytes) -> Path:
    inner = folder.root / identity_id / "not"
    inner.mkdir(exist_ok=True)
    for name, data in photos.items():
        (inner / f"{name}.jpg").write_bytes(data)
    return inner


@pytest.fixture
def ann(folder: Folder, analyser: PreparedAnalyser) -> Path:
    analyser.prepared[b"ann"] = picture(face(ANN))
    analyser.prepared[b"eve"] = picture(face(at(0.5)))
    return folder.identity("ann", a=b"ann")


async def test_a_photo_in_the_sub_folder_is_a_look_alike_and_no_reference(
    ann: Path, folder: Folder, gallery: Gallery, registry: CollectorRegistry
) -> None:
    before = await gallery.sync()
    not_them(folder, "ann", eve=b"eve")
    snapshot = await gallery.sync()
    assert [one.photo for one in snapshot.references] == ["a.jpg"]
    assert [(one.identity_id, one.photo, one.look_alike) for one in snapshot.look_alikes] == [
        ("ann", "not/eve.jpg", True)
    ]
    assert (snapshot.refused, snapshot.errors) == ((), ())
    assert snapshot.digest != before.digest
    assert registry.get_sample_value("monitor_gallery_references") == 1
    assert registry.get_sample_value("monitor_gallery_look_alikes") == 1


async def test_a_match_tells_how_near_the_look_alike_of_its_best_identity_is(
    ann: Path, folder: Folder, gallery: Gallery
) -> None:
    not_them(folder, "ann", eve=b"eve")
    match = (await gallery.sync()).match(at(0.5))
    assert match is not None
    assert match.look_alike is not None
    assert (match.best.similarity, match.look_alike.similarity) == pytest.approx((0.5, 1.0), abs=1e-5)
    assert match.look_alike.reference.photo == "not/eve.jpg"


async def test_a_photo_of_a_look_alike_has_to_be_as_good_as_any(
    ann: Path, folder: Folder, analyser: PreparedAnalyser, gallery: Gallery
) -> None:
    analyser.prepared[b"small"] = picture(face(at(0.5), height=20))
    not_them(folder, "ann", small=b"small", half=b"half of a file")
    snapshot = await gallery.sync()
    assert snapshot.look_alikes == ()
    assert {one.photo: one.reason for one in snapshot.refused} == {
        "not/small.jpg": RefusalReason.FACE_TOO_SMALL,
        "not/half.jpg": RefusalReason.UNREADABLE,
    }


async def test_a_photo_of_the_person_among_the_look_alikes_is_refused_and_told(
    ann: Path, folder: Folder, analyser: PreparedAnalyser, gallery: Gallery
) -> None:
    analyser.prepared[b"herself"] = picture(face(at(0.75)))
    not_them(folder, "ann", same=b"ann", herself=b"herself", eve=b"eve")
    snapshot = await gallery.sync()
    assert {one.photo: one.reason for one in snapshot.refused} == {
        "not/same.jpg": RefusalReason.CONTRADICTORY,
        "not/herself.jpg": RefusalReason.TOO_ALIKE,
    }
    assert [one.photo for one in snapshot.look_alikes] == ["not/eve.jpg"]
    assert [one.photo for one in snapshot.references] == ["a.jpg"], "her protection stays"
    same, herself = sorted(map(str, snapshot.errors), reverse=True)
    assert same == "ann/not/same.jpg is the same photo as a.jpg; leave it in one place only"
    assert herself == "ann/not/herself.jpg resembles a.jpg by 0.75, less than 0.55 needed; it seems to show them"


async def test_what_was_stored_of_a_look_alike_goes_with_its_photo_or_with_its_refusal(
    ann: Path, folder: Folder, analyser: PreparedAnalyser, store: MemoryStore, gallery: Gallery
) -> None:
    analyser.prepared[b"herself"] = picture(face(at(0.75)))
    inner = not_them(folder, "ann", eve=b"eve", herself=b"herself")
    snapshot = await gallery.sync()
    kept = {snapshot.references[0].photo_sha256, snapshot.look_alikes[0].photo_sha256}
    assert {sha256 for sha256, _ in store.rows} == kept
    (inner / "eve.jpg").unlink()
    snapshot = await gallery.sync()
    assert snapshot.look_alikes == ()
    assert {sha256 for sha256, _ in store.rows} == {snapshot.references[0].photo_sha256}


async def test_a_look_alike_is_known_again_after_a_restart_without_being_analysed(
    ann: Path, folder: Folder, analyser: PreparedAnalyser, make_gallery: Callable[..., Gallery]
) -> None:
    not_them(folder, "ann", eve=b"eve")
    first = await make_gallery().sync()
    analyser.analysed.clear()
    second = await make_gallery(registry=CollectorRegistry()).sync()
    assert analyser.analysed == []
    assert (second.digest, len(second.look_alikes)) == (first.digest, 1)


async def test_two_protected_people_can_be_each_others_look_alikes(
    ann: Path, folder: Folder, analyser: PreparedAnalyser, gallery: Gallery
) -> None:
    analyser.prepared[b"bob"] = picture(face(at(0.45, 3)))
    folder.identity("bob", b=b"bob")
    not_them(folder, "ann", bob=b"bob")
    not_them(folder, "bob", ann=b"ann")
    snapshot = await gallery.sync()
    assert snapshot.refused == ()
    assert [f"{one.identity_id}/{one.photo}" for one in snapshot.references] == ["ann/a.jpg", "bob/b.jpg"]
    assert [f"{one.identity_id}/{one.photo}" for one in snapshot.look_alikes] == ["ann/not/bob.jpg", "bob/not/ann.jpg"]


async def test_a_person_with_look_alikes_only_is_not_protected(
    folder: Folder, gallery: Gallery, analyser: PreparedAnalyser
) -> None:
    folder.identity("ann")
    not_them(folder, "ann", eve=b"eve")
    snapshot = await gallery.sync()
    assert "ann: nobody is protected by this folder" in str(snapshot.errors[0])


async def test_a_sub_folder_that_is_a_link_out_of_the_gallery_is_not_read(
    ann: Path, folder: Folder, gallery: Gallery, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "eve.jpg").write_bytes(b"eve")
    (ann / "not").symlink_to(outside)
    snapshot = await gallery.sync()
    assert snapshot.look_alikes == ()
    assert "link that leaves the gallery" in str(snapshot.errors[0])


async def test_an_identity_file_in_the_sub_folder_says_nothing(ann: Path, folder: Folder, gallery: Gallery) -> None:
    (not_them(folder, "ann", eve=b"eve") / "identity.yaml").write_text("name: {en: Eve}")
    snapshot = await gallery.sync()
    assert (list(snapshot.identities), len(snapshot.look_alikes)) == (["ann"], 1)


def test_only_the_best_identitys_look_alikes_are_compared_and_the_nearest_counts() -> None:
    ann, bob = reference("ann", ANN), reference("bob", unit(9))
    others = [reference("ann", at(0.4, 5), "not/x.jpg"), reference("ann", at(0.6, 5), "not/y.jpg")]
    matcher = Matcher([ann, bob], look_alikes=[*others, reference("bob", ANN, "not/z.jpg")])
    near_ann, near_bob = matcher.match_all(np.stack([at(0.7, 5), unit(9)]))
    assert near_ann is not None
    assert near_bob is not None
    assert near_ann.look_alike is not None
    assert near_ann.look_alike.reference.photo == "not/y.jpg"
    assert near_bob.look_alike is not None
    assert near_bob.look_alike.reference.photo == "not/z.jpg"
    (alone,) = Matcher([ann]).match_all(ANN[np.newaxis])
    assert alone is not None
    assert alone.look_alike is None


@pytest.mark.parametrize(("similarity", "taken"), [(0.3, True), (0.54, True), (0.56, False), (0.99, False)])
def test_a_photo_a_quarter_of_the_way_from_the_threshold_to_the_same_picture_is_theirs(
    similarity: float, taken: bool
) -> None:
    kept, refused = settle_look_alikes([reference("ann", at(similarity), "not/x.jpg")], [reference("ann", ANN)], 0.4)
    assert (len(kept), len(refused)) == ((1, 0) if taken else (0, 1))
