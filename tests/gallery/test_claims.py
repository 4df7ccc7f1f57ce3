"""One photo in the folders of several people stands for one of them."""

from __future__ import annotations

import os
from pathlib import Path

from support.gallery import Folder, MemoryStore, PreparedAnalyser

from monitor.gallery.gallery import Gallery
from monitor.gallery.identity import RefusalReason
from monitor.gallery.snapshot import GallerySnapshot


def held(snapshot: GallerySnapshot) -> list[str]:
    return [f"{reference.identity_id}/{reference.photo}" for reference in snapshot.references]


def written_at(path: Path, unix_s: float) -> None:
    os.utime(path, (unix_s, unix_s))


async def test_a_copy_of_a_photo_in_another_folder_takes_nobodys_protection_and_is_refused(
    folder: Folder, gallery: Gallery
) -> None:
    bob = folder.identity("bob", a=b"bob")
    await gallery.sync()
    ann = folder.identity("ann", copy=b"bob", own=b"ann")
    written_at(ann / "copy.jpg", (bob / "a.jpg").stat().st_mtime - 1000)
    snapshot = await gallery.sync()
    assert held(snapshot) == ["ann/own.jpg", "bob/a.jpg"]
    (refused,) = snapshot.refused
    assert (refused.identity_id, refused.photo) == ("ann", "copy.jpg")
    assert refused.reason is RefusalReason.CLAIMED_BY_ANOTHER
    (error,) = map(str, snapshot.errors)
    assert error.startswith("ann/copy.jpg is the same photo as bob/a.jpg and stands for bob; leave it only in")


async def test_at_the_start_a_photo_stands_for_the_person_whose_file_is_older(folder: Folder, gallery: Gallery) -> None:
    ann, bob = folder.identity("ann", a=b"both"), folder.identity("bob", b=b"both")
    written_at(ann / "a.jpg", 1_700_000_900)
    written_at(bob / "b.jpg", 1_700_000_000)
    assert held(await gallery.sync()) == ["bob/b.jpg"]


async def test_at_the_start_a_photo_of_the_same_age_stands_for_the_first_by_name(
    folder: Folder, gallery: Gallery
) -> None:
    for person in ("bob", "ann"):
        written_at(folder.identity(person, a=b"both") / "a.jpg", 1_700_000_000)
    assert held(await gallery.sync()) == ["ann/a.jpg"]


async def test_a_photo_stands_for_the_other_once_the_first_gave_it_up(
    folder: Folder, gallery: Gallery, analyser: PreparedAnalyser, store: MemoryStore
) -> None:
    ann = folder.identity("ann", a=b"both")
    await gallery.sync()
    folder.identity("bob", copy=b"both")
    assert held(await gallery.sync()) == ["ann/a.jpg"]
    (ann / "a.jpg").unlink()
    snapshot = await gallery.sync()
    assert held(snapshot) == ["bob/copy.jpg"]
    assert snapshot.refused == ()
    assert analyser.analysed == [b"both"]
    assert len(store.rows) == 1


async def test_two_copies_in_one_folder_are_no_conflict(folder: Folder, gallery: Gallery) -> None:
    folder.identity("ann", a=b"same", b=b"same")
    snapshot = await gallery.sync()
    assert held(snapshot) == ["ann/a.jpg", "ann/b.jpg"]
    assert snapshot.errors == ()
