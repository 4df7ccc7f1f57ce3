"""While many photos are being enrolled the gallery goes on following its folder."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable

import pytest
from support.gallery import IDENTITY, Folder, MemoryStore, PreparedAnalyser

from monitor.errors import GalleryError
from monitor.faces.face import PictureFaces
from monitor.gallery.gallery import Gallery

Until = Callable[[Callable[[], bool], float], Awaitable[float]]

EFFECTIVE_S = 2.0


@pytest.fixture
def hold(analyser: PreparedAnalyser, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Photos whose content begins with ``slow`` are analysed only once it is set."""
    release = asyncio.Event()
    analyse = analyser.analyse_image

    async def held(data: bytes) -> PictureFaces:
        if data.startswith(b"slow"):
            await release.wait()
        return await analyse(data)

    monkeypatch.setattr(analyser, "analyse_image", held)
    return release


def slow_photos(count: int) -> dict[str, bytes]:
    return {f"p{number}": b"slow %d" % number for number in range(count)}


async def test_a_permission_change_and_a_removal_are_effective_in_under_two_seconds_during_a_long_enrolment(
    folder: Folder, watched: Gallery, until: Until, hold: asyncio.Event
) -> None:
    folder.identity("ann", a=b"ann")
    folder.identity("bob", a=b"bob")
    await until(lambda: len(watched.snapshot.references) == 2, EFFECTIVE_S)
    folder.identity("eve", **slow_photos(20))
    await until(lambda: "eve" in watched.snapshot.identities, EFFECTIVE_S)
    folder.identity("ann", IDENTITY.replace("account: ann", "account: other"))
    await until(lambda: watched.snapshot.identities["ann"].permissions[0].account == "other", EFFECTIVE_S)
    shutil.rmtree(folder.root / "bob")
    await until(lambda: "bob" not in watched.snapshot.identities, EFFECTIVE_S)
    assert [reference.identity_id for reference in watched.snapshot.references] == ["ann"]
    hold.set()
    await until(lambda: len(watched.snapshot.references) == 21, EFFECTIVE_S)


async def test_what_is_enrolled_protects_while_the_rest_is_still_being_enrolled(
    folder: Folder, gallery: Gallery, until: Until, hold: asyncio.Event
) -> None:
    folder.identity("ann", a=b"quick one", z=b"slow")
    folder.identity("bob", a=b"slow, too")
    sync = asyncio.create_task(gallery.sync())
    await until(lambda: len(gallery.snapshot.references) == 1, EFFECTIVE_S)
    assert not sync.done()
    assert gallery.snapshot.errors == (), "bob's photo waits; it is not wanting"
    with pytest.raises(GalleryError, match="not read yet"):
        await gallery.ready()
    hold.set()
    assert len((await sync).references) == 3


async def test_photos_that_come_during_a_long_enrolment_are_enrolled_by_the_same_sync(
    folder: Folder, gallery: Gallery, until: Until, hold: asyncio.Event
) -> None:
    folder.identity("ann", a=b"slow")
    sync = asyncio.create_task(gallery.sync())
    await until(lambda: "ann" in gallery.snapshot.identities, EFFECTIVE_S)
    folder.identity("bob", a=b"bob")
    await until(lambda: len(gallery.snapshot.references) == 1, EFFECTIVE_S)
    hold.set()
    assert {reference.identity_id for reference in (await sync).references} == {"ann", "bob"}


async def test_a_photo_that_is_removed_while_it_is_analysed_leaves_no_embedding(
    folder: Folder, gallery: Gallery, store: MemoryStore, until: Until, hold: asyncio.Event
) -> None:
    folder.identity("ann", a=b"ann")
    await gallery.sync()
    bob = folder.identity("bob", a=b"slow")
    sync = asyncio.create_task(gallery.sync())
    await until(lambda: "bob" in gallery.snapshot.identities, EFFECTIVE_S)
    shutil.rmtree(bob)
    await until(lambda: "bob" not in gallery.snapshot.identities, EFFECTIVE_S)
    hold.set()
    snapshot = await sync
    assert [reference.identity_id for reference in snapshot.references] == ["ann"]
    assert len(store.rows) == 1


async def test_a_photo_that_is_replaced_while_it_is_analysed_counts_as_it_is_now(
    folder: Folder, gallery: Gallery, store: MemoryStore, until: Until, hold: asyncio.Event
) -> None:
    ann = folder.identity("ann", a=b"slow")
    sync = asyncio.create_task(gallery.sync())
    await until(lambda: "ann" in gallery.snapshot.identities, EFFECTIVE_S)
    (ann / "a.jpg").write_bytes(b"another photo")
    await until(lambda: len(gallery.snapshot.references) == 1, EFFECTIVE_S)
    now = gallery.snapshot.references[0].photo_sha256
    hold.set()
    assert [reference.photo_sha256 for reference in (await sync).references] == [now]
    assert [sha256 for sha256, _ in store.rows] == [now]


async def test_a_folder_that_vanishes_during_an_enrolment_ends_it_with_the_folders_error(
    folder: Folder, gallery: Gallery, until: Until, hold: asyncio.Event
) -> None:
    folder.identity("ann", a=b"slow")
    sync = asyncio.create_task(gallery.sync())
    await until(lambda: "ann" in gallery.snapshot.identities, EFFECTIVE_S)
    shutil.rmtree(folder.root)
    with pytest.raises(GalleryError, match=r"create it or set gallery\.folder"):
        await sync
