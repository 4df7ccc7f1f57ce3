from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from support.gallery import Folder, MemoryStore, PreparedAnalyser, face, picture, unit

from monitor.errors import FrameLossReason, FrameLost, StorageError
from monitor.gallery.config import GalleryConfig
from monitor.gallery.enrolment import Refusal, judge_picture
from monitor.gallery.gallery import Gallery
from monitor.gallery.identity import RefusalReason

GOOD = face(unit(1))
POOR = face(None)
UNCLEAR = replace(POOR, quality=replace(POOR.quality, clarity=0.014))
CONFIG = GalleryConfig()


@pytest.mark.parametrize(
    ("faces", "reason", "said"),
    [
        ([], RefusalReason.NO_FACE, "no face found in 640 x 480 px"),
        ([GOOD, face(unit(2), height=150)], RefusalReason.SEVERAL_FACES, "2 faces found (200, 150 px high)"),
        ([GOOD, face(unit(2), height=45)], RefusalReason.SEVERAL_FACES, "45 px"),
        ([GOOD, face(None, height=150)], RefusalReason.SEVERAL_FACES, "2 faces"),
        ([face(unit(1), height=60)], RefusalReason.FACE_TOO_SMALL, "60 px high, at least 80 needed"),
        ([face(None, height=25)], RefusalReason.FACE_TOO_SMALL, "25 px high, at least 80 needed"),
        ([face(unit(1), sharpness=12)], RefusalReason.BLURRED, "sharpness 12, at least 30 needed"),
        ([face(None, sharpness=12)], RefusalReason.BLURRED, "sharpness 12, at least 30 needed"),
        ([face(None, det_score=0.55)], RefusalReason.NO_FACE, "det_score 0.55"),
        ([POOR], RefusalReason.NO_FACE, "brightness 128 of 255);"),
        ([UNCLEAR], RefusalReason.NO_FACE, "brightness 128 of 255, clarity 0.01);"),
    ],
)
def test_a_photo_is_refused_with_what_was_measured_and_what_is_needed(faces, reason, said) -> None:
    judged = judge_picture(picture(*faces), CONFIG)
    assert isinstance(judged, Refusal)
    assert judged.reason is reason
    assert said in judged.detail


@pytest.mark.parametrize("height", [80.0, 1000.0])
def test_one_large_sharp_face_is_accepted(height: float) -> None:
    assert not isinstance(judge_picture(picture(face(unit(1), height=height, sharpness=30)), CONFIG), Refusal)


def test_a_speck_in_the_background_does_not_count_as_a_second_face() -> None:
    assert judge_picture(picture(face(None, height=20), GOOD), CONFIG) is GOOD


async def test_a_refused_photo_does_not_keep_the_others_from_loading(
    folder: Folder, analyser: PreparedAnalyser, gallery: Gallery
) -> None:
    analyser.prepared[b"landscape"] = picture()
    folder.identity("ann", good=b"good", bad=b"landscape")
    folder.identity("bob", half=b"half a jpeg", empty=b"", good=b"bob")
    snapshot = await gallery.sync()
    assert [(r.identity_id, r.photo) for r in snapshot.references] == [("ann", "good.jpg"), ("bob", "good.jpg")]
    assert [(r.identity_id, r.photo, r.reason) for r in snapshot.refused] == [
        ("ann", "bad.jpg", RefusalReason.NO_FACE),
        ("bob", "empty.jpg", RefusalReason.UNREADABLE),
        ("bob", "half.jpg", RefusalReason.UNREADABLE),
    ]
    assert [photo.detail for photo in snapshot.refused[1:]] == ["is empty", "the file ends too early"]
    assert snapshot.errors == ()


async def test_links_out_of_the_gallery_large_files_and_things_that_are_no_files_are_refused_unread(
    folder: Folder, analyser: PreparedAnalyser, make_gallery: Callable[..., Gallery], tmp_path: Path
) -> None:
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(b"secret")
    ann = folder.identity("ann", good=b"good", large=b"x" * 2000)
    (ann / "inside.png").symlink_to("good.jpg")
    (ann / "link.jpg").symlink_to(outside)
    (ann / "dangling.jpg").symlink_to(tmp_path / "nothing.jpg")
    (ann / "loop.jpg").symlink_to("loop.jpg")
    (ann / "folder.jpg").mkdir()
    os.mkfifo(ann / "pipe.jpg")
    snapshot = await make_gallery(max_photo_bytes=1024).sync()
    assert [reference.photo for reference in snapshot.references] == ["good.jpg", "inside.png"]
    assert {photo.photo: photo.detail.split(";")[0] for photo in snapshot.refused} == {
        "dangling.jpg": "cannot be read: No such file or directory",
        "folder.jpg": "is not a file",
        "large.jpg": "has 2000 bytes, at most 1024 are allowed",
        "link.jpg": "is a link that leaves the gallery's folder",
        "loop.jpg": "cannot be read: Too many levels of symbolic links",
        "pipe.jpg": "is not a file",
    }
    assert {photo.reason for photo in snapshot.refused} == {RefusalReason.UNREADABLE}
    assert set(analyser.analysed) == {b"good"}


async def test_only_image_suffixes_count_and_hidden_or_unfinished_files_are_left_alone(
    folder: Folder, analyser: PreparedAnalyser, gallery: Gallery
) -> None:
    ann = folder.identity("ann")
    for name in ["a.JPG", "b.jpeg", "c.png", "d.webp", "e.bmp"]:
        (ann / name).write_bytes(name.encode())
    for name in [".hidden.jpg", "f.jpg~", "g.jpg.part", "h.tmp", "CREDITS.md", "i.gif"]:
        (ann / name).write_bytes(name.encode())
    snapshot = await gallery.sync()
    assert [reference.photo for reference in snapshot.references] == ["a.JPG", "b.jpeg", "c.png", "d.webp", "e.bmp"]
    assert snapshot.refused == ()


async def test_photos_are_enrolled_a_few_at_a_time_and_progress_is_told(
    folder: Folder, analyser: PreparedAnalyser, make_gallery: Callable[..., Gallery]
) -> None:
    folder.identity("ann", **{f"photo{i}": b"photo %d" % i for i in range(20)})
    told: list[tuple[int, int, str]] = []
    await make_gallery(enrolments_at_once=3).sync(lambda *step: told.append(step))
    assert analyser.most_at_once == 3
    assert [(done, total) for done, total, _ in told] == [(i, 20) for i in range(1, 21)]
    assert {name for _, _, name in told} == {f"ann/photo{i}.jpg" for i in range(20)}


async def test_a_restart_takes_embeddings_from_the_store_instead_of_measuring_again(
    folder: Folder, analyser: PreparedAnalyser, store: MemoryStore, make_gallery: Callable[..., Gallery]
) -> None:
    folder.identity("ann", a=b"one", b=b"two")
    first = await make_gallery().sync()
    analyser.analysed.clear()
    again = await make_gallery(registry=CollectorRegistry()).sync()
    assert analyser.analysed == []
    assert again.digest == first.digest
    assert [r.crop_jpeg for r in again.references] == [b"crop of one", b"crop of two"]


async def test_a_stricter_setting_refuses_a_photo_that_the_store_knows(
    folder: Folder, store: MemoryStore, make_gallery: Callable[..., Gallery]
) -> None:
    folder.identity("ann", a=b"one")
    assert (await make_gallery().sync()).references
    assert len(store.rows) == 1
    stricter = await make_gallery(min_face_px=300, registry=CollectorRegistry()).sync()
    assert stricter.refused[0].reason is RefusalReason.FACE_TOO_SMALL
    assert store.rows == {}


async def test_rows_of_another_pack_are_never_used(
    folder: Folder, analyser: PreparedAnalyser, store: MemoryStore, make_gallery: Callable[..., Gallery]
) -> None:
    folder.identity("ann", a=b"one")
    first = await make_gallery().sync()
    analyser.pack = replace(analyser.pack, digest="d2")
    second = await make_gallery(registry=CollectorRegistry()).sync()
    assert analyser.analysed == [b"one", b"one"]
    assert {reference.pack_digest for reference in second.references} == {"d2"}
    assert second.digest != first.digest


async def test_rows_that_do_not_fit_the_pack_are_measured_again_even_if_the_store_hands_them_out(
    folder: Folder, analyser: PreparedAnalyser, store: MemoryStore, make_gallery: Callable[..., Gallery]
) -> None:
    folder.identity("ann", a=b"one", b=b"two")
    await make_gallery().sync()
    one, two = store.rows.values()
    analyser.analysed.clear()
    odd = [replace(one, pack_digest="d0"), replace(two, embedding=unit(1, 8))]
    store.rows = {(row.photo_sha256, "d1"): row for row in odd}
    store.hands_out_everything = True
    snapshot = await make_gallery(registry=CollectorRegistry()).sync()
    assert sorted(analyser.analysed) == [b"one", b"two"]
    assert {(r.pack_digest, len(r.embedding)) for r in snapshot.references} == {("d1", 16)}


async def test_removing_a_photo_deletes_its_stored_embedding(
    folder: Folder, store: MemoryStore, gallery: Gallery
) -> None:
    ann = folder.identity("ann", a=b"one", b=b"two")
    kept, gone = (reference.photo_sha256 for reference in (await gallery.sync()).references)
    assert {key[0] for key in store.rows} == {kept, gone}
    (ann / "b.jpg").unlink()
    await gallery.sync()
    assert {key[0] for key in store.rows} == {kept}


async def test_a_deletion_that_the_database_refused_is_asked_for_again(
    folder: Folder, store: MemoryStore, gallery: Gallery
) -> None:
    ann = folder.identity("ann", a=b"one", b=b"two")
    await gallery.sync()
    (ann / "b.jpg").unlink()
    store.failure = StorageError("disk full")
    assert len((await gallery.sync()).references) == 1
    assert len(store.rows) == 2
    store.failure = None
    await gallery.sync()
    assert len(store.rows) == 1


async def test_a_person_is_protected_even_when_the_database_cannot_store_the_photo(
    folder: Folder, store: MemoryStore, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    folder.identity("ann", a=b"one")
    await gallery.sync()
    store.failure = StorageError("disk full")
    folder.identity("bob", a=b"two")
    assert [r.identity_id for r in (await gallery.sync()).references] == ["ann", "bob"]
    assert "disk full" in caplog.text


async def test_a_photo_whose_analysis_was_lost_is_tried_again_and_given_up_after_five_times(
    folder: Folder, analyser: PreparedAnalyser, gallery: Gallery
) -> None:
    folder.identity("ann", a=b"one", b=b"poison")
    analyser.prepared[b"one"] = FrameLost(FrameLossReason.TIMED_OUT)
    analyser.prepared[b"poison"] = FrameLost(FrameLossReason.WORKER_DIED)
    settle(folder)
    snapshot = await gallery.sync()
    assert {photo.reason for photo in snapshot.refused} == {RefusalReason.UNREADABLE}
    assert "will be tried again" in snapshot.refused[0].detail
    del analyser.prepared[b"one"]
    for _ in range(8):
        snapshot = await gallery.sync()
    assert [reference.photo for reference in snapshot.references] == ["a.jpg"]
    assert analyser.analysed.count(b"poison") == 5
    assert "when the file changes" in snapshot.refused[0].detail


async def test_embeddings_of_a_snapshot_cannot_be_changed(folder: Folder, gallery: Gallery) -> None:
    folder.identity("ann", a=b"one")
    (held,) = (await gallery.sync()).references
    with pytest.raises(ValueError, match="read-only"):
        held.embedding[0] = 0


def settle(folder: Folder) -> None:
    """Make every file old enough for its stamp to be believed."""
    for path in folder.root.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
