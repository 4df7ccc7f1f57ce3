from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import faiss
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from support.gallery import IDENTITY, Folder, PreparedAnalyser, reference, unit

from monitor.errors import GalleryError
from monitor.gallery import index
from monitor.gallery.gallery import Gallery
from monitor.gallery.identity import Consent, Identity, Permission
from monitor.gallery.snapshot import GallerySnapshot, gallery_digest
from monitor.streams.stream import BroadcastKind

Until = Callable[[Callable[[], bool], float], Awaitable[float]]

EFFECTIVE_S = 2.0


def errors(snapshot: GallerySnapshot) -> list[str]:
    return [str(error) for error in snapshot.errors]


def test_before_the_first_sync_the_gallery_protects_nobody(gallery: Gallery) -> None:
    assert gallery.snapshot.identities == {}
    assert gallery.snapshot.match(unit(1)) is None


async def test_a_probe_finds_the_person_whose_photo_it_resembles(folder: Folder, gallery: Gallery) -> None:
    folder.identity("ann", a=b"ann one", b=b"ann two")
    folder.identity("bob", a=b"bob")
    snapshot = await gallery.sync()
    match = snapshot.match(unit(b"ann two"))
    assert match is not None
    assert match.best.identity_id == "ann"
    assert match.best.reference.photo == "b.jpg"
    assert match.runner_up is not None
    assert match.runner_up.identity_id == "bob"
    assert snapshot.identities["ann"].permissions[0].account == "ann"


async def test_a_missing_folder_is_an_error_that_names_the_remedy(folder: Folder, gallery: Gallery) -> None:
    folder.identity("ann", a=b"ann")
    good = await gallery.sync()
    shutil.rmtree(folder.root)
    with pytest.raises(GalleryError, match=r"create it or set gallery\.folder"):
        await gallery.sync()
    assert gallery.snapshot is good


async def test_folders_that_cannot_be_used_are_named_and_the_rest_is_loaded(
    folder: Folder, gallery: Gallery, tmp_path: Path
) -> None:
    folder.identity("ann", a=b"ann")
    folder.identity("Bob Builder", a=b"bob")
    folder.identity("..odd", a=b"hidden")
    folder.identity("eve", content=None, a=b"eve")
    folder.identity("mallory", "name: {en: M}\ncolour: red\n", a=b"mallory")
    folder.identity("bare")
    shutil.copytree(folder.root / "ann", tmp_path / "elsewhere")
    (folder.root / "linked").symlink_to(tmp_path / "elsewhere")
    (folder.root / "lost.jpg").write_bytes(b"lost")
    (folder.root / "README.md").write_text("about this gallery")
    snapshot = await gallery.sync()
    assert [held.identity_id for held in snapshot.references] == ["ann"]
    assert sorted(snapshot.identities) == ["ann", "bare"]
    said = errors(snapshot)
    expected = {
        "Bob Builder": "allowed are 1 to 64 of a-z",
        "eve": "has no identity.yaml",
        "linked": "a link that leaves the gallery",
        "lost.jpg": "move it into a person's folder",
        "mallory": "unknown key colour",
        "bare": "no photo in it was accepted; put a photo",
    }
    for name, message in expected.items():
        assert [message in line for line in said if name in line] == [True], name
    assert len(said) == len(expected)


async def test_a_person_without_an_accepted_photo_is_an_error_with_the_refusals(
    folder: Folder, gallery: Gallery
) -> None:
    folder.identity("ann", a=b"half a photo")
    snapshot = await gallery.sync()
    assert errors(snapshot) == [
        "ann: nobody is protected by this folder, no photo in it was accepted; refused: a.jpg (unreadable: the file "
        "ends too early)"
    ]


async def test_an_identity_that_becomes_invalid_keeps_its_last_good_version_and_is_an_error(
    folder: Folder, gallery: Gallery
) -> None:
    folder.identity("ann", a=b"ann")
    good = await gallery.sync()
    folder.identity("ann", IDENTITY.replace("live", "livee"), b=b"another")
    kept = await gallery.sync()
    assert kept.identities == good.identities
    assert [held.photo for held in kept.references] == ["a.jpg", "b.jpg"]
    (said,) = errors(kept)
    assert "'livee'" in said
    assert "last valid version stays in use" in said
    folder.identity("ann", IDENTITY.replace("account: ann", "account: ann2"))
    mended = await gallery.sync()
    assert mended.errors == ()
    assert mended.identities["ann"].permissions[0].account == "ann2"


async def test_a_file_that_was_never_valid_protects_nobody_and_is_not_analysed(
    folder: Folder, analyser: PreparedAnalyser, gallery: Gallery
) -> None:
    folder.identity("ann", "name: Ann", a=b"ann")
    snapshot = await gallery.sync()
    assert snapshot.identities == {}
    assert "this person is not protected" in errors(snapshot)[0]
    assert analyser.analysed == []


async def test_removing_identity_yaml_withdraws_the_person(folder: Folder, gallery: Gallery, store) -> None:
    ann = folder.identity("ann", a=b"ann")
    await gallery.sync()
    (ann / "identity.yaml").unlink()
    snapshot = await gallery.sync()
    assert snapshot.identities == {}
    assert not snapshot.references
    assert store.rows == {}


async def test_an_unchanged_folder_keeps_the_snapshot_and_reads_no_photo_again(
    folder: Folder, analyser: PreparedAnalyser, gallery: Gallery, registry: CollectorRegistry
) -> None:
    folder.identity("ann", a=b"ann")
    first = await gallery.sync()
    assert await gallery.sync() is first
    assert analyser.analysed == [b"ann"]
    assert registry.get_sample_value("monitor_gallery_syncs_total", {"result": "changed"}) == 1
    assert registry.get_sample_value("monitor_gallery_syncs_total", {"result": "unchanged"}) == 1


async def test_metrics_show_the_gallery_in_use(folder: Folder, gallery: Gallery, registry: CollectorRegistry) -> None:
    folder.identity("ann", a=b"ann", b=b"half")
    folder.identity("bob")
    await gallery.sync()
    values = {
        name: registry.get_sample_value(f"monitor_gallery_{name}") for name in ("identities", "references", "errors")
    }
    assert values == {"identities": 1, "references": 1, "errors": 1}
    assert registry.get_sample_value("monitor_gallery_refused_photos", {"reason": "unreadable"}) == 1
    shutil.rmtree(folder.root)
    with pytest.raises(GalleryError):
        await gallery.sync()
    assert registry.get_sample_value("monitor_gallery_syncs_total", {"result": "failed"}) == 1


async def test_searches_during_swaps_always_see_one_consistent_gallery(folder: Folder, gallery: Gallery) -> None:
    """Two galleries in turn: ann alone with one account, or ann and bob with another; never a mixture.

    Bob's photo is the only part that may come later: it has to be enrolled.
    """
    stop, problems, seen = threading.Event(), [], set()

    def search() -> None:
        probes = np.stack([unit(b"ann"), unit(b"bob")])
        while not stop.is_set():
            snapshot = gallery.snapshot
            if not snapshot.references:
                continue
            ann, bob = snapshot.match_all(probes)
            account = snapshot.identities["ann"].permissions[0].account
            has_bob = bob.best.identity_id == "bob" and bob.best.similarity > 0.99
            consistent = (account == "two") == ("bob" in snapshot.identities) and has_bob <= (account == "two")
            consistent = consistent and has_bob == (ann.runner_up is not None)
            seen.add((account, snapshot.digest))
            if not consistent or ann.best.similarity < 0.99:
                problems.append((account, has_bob, sorted(snapshot.identities)))

    searches = [threading.Thread(target=search) for _ in range(3)]
    try:
        for round_ in range(20):
            folder.identity(
                "ann", IDENTITY.replace("account: ann", f"account: {'two' if round_ % 2 else 'one'}"), a=b"ann"
            )
            if round_ % 2:
                folder.identity("bob", a=b"bob")
            else:
                shutil.rmtree(folder.root / "bob", ignore_errors=True)
            await gallery.sync()
            if not round_:
                for thread in searches:
                    thread.start()
    finally:
        stop.set()
        for thread in searches:
            thread.join()
    assert problems == []
    assert len(seen) == 3


async def test_syncs_asked_for_together_run_one_after_the_other(
    folder: Folder, analyser: PreparedAnalyser, gallery: Gallery
) -> None:
    folder.identity("ann", a=b"ann")
    snapshots = await asyncio.gather(*(gallery.sync() for _ in range(5)))
    assert len({id(snapshot) for snapshot in snapshots}) == 1
    assert analyser.analysed == [b"ann"]


async def test_a_new_person_a_new_photo_a_new_permission_and_a_removal_are_effective_in_under_two_seconds(
    folder: Folder, watched: Gallery, until: Until
) -> None:
    folder.identity("ann", a=b"ann")
    await until(lambda: len(watched.snapshot.references) == 1, EFFECTIVE_S)
    folder.identity("bob", a=b"bob")
    await until(lambda: "bob" in watched.snapshot.identities and len(watched.snapshot.references) == 2, EFFECTIVE_S)
    folder.identity("ann", IDENTITY.replace("account: ann", "account: other"))
    await until(lambda: watched.snapshot.identities["ann"].permissions[0].account == "other", EFFECTIVE_S)
    (folder.root / "ann" / "b.jpg").write_bytes(b"more")
    await until(lambda: len(watched.snapshot.references) == 3, EFFECTIVE_S)
    shutil.rmtree(folder.root / "bob")
    await until(lambda: "bob" not in watched.snapshot.identities, EFFECTIVE_S)


async def test_what_changed_before_the_watch_began_is_seen(folder: Folder, gallery: Gallery, until: Until) -> None:
    await gallery.sync()
    folder.identity("ann", a=b"ann")
    watch = asyncio.create_task(gallery.watch())
    try:
        await until(lambda: "ann" in gallery.snapshot.identities, EFFECTIVE_S)
    finally:
        watch.cancel()
        await asyncio.wait([watch])


async def test_a_photo_that_is_copied_slowly_is_enrolled_once_it_is_whole(
    folder: Folder, watched: Gallery, until: Until
) -> None:
    ann = folder.identity("ann")
    (ann / "a.jpg").write_bytes(b"half")
    await until(lambda: len(watched.snapshot.refused) == 1, EFFECTIVE_S)
    (ann / "a.jpg").write_bytes(b"whole")
    await until(lambda: len(watched.snapshot.references) == 1, EFFECTIVE_S)
    assert watched.snapshot.refused == ()
    assert watched.snapshot.match(unit(b"whole")).best.similarity > 0.99


async def test_a_photo_replaced_by_one_of_the_same_size_and_time_is_seen(folder: Folder, gallery: Gallery) -> None:
    ann = folder.identity("ann", a=b"one")
    await gallery.sync()
    before = (ann / "a.jpg").stat()
    (ann / "a.jpg").write_bytes(b"two")
    os.utime(ann / "a.jpg", ns=(before.st_atime_ns, before.st_mtime_ns))
    snapshot = await gallery.sync()
    assert snapshot.match(unit(b"two")).best.similarity > 0.99


async def test_a_folder_that_vanishes_keeps_the_last_good_gallery_and_is_followed_when_it_returns(
    folder: Folder, watched: Gallery, until: Until, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    folder.identity("ann", a=b"ann")
    await until(lambda: len(watched.snapshot.references) == 1, EFFECTIVE_S)
    folder.root.rename(tmp_path / "away")
    await until(lambda: "gallery_sync_failed" in caplog.text, 4)
    assert "ann" in watched.snapshot.identities
    returned = Folder(folder.root)
    returned.identity("bob", a=b"bob")
    await until(lambda: list(watched.snapshot.identities) == ["bob"], 4)
    returned.identity("eve", a=b"eve")
    await until(lambda: "eve" in watched.snapshot.identities, EFFECTIVE_S)
    assert caplog.text.count("gallery_sync_failed") == 1


async def test_a_fault_in_one_sync_does_not_end_the_watch(
    folder: Folder, analyser: PreparedAnalyser, watched: Gallery, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    analyser.prepared[b"fault"] = ZeroDivisionError("a defect")
    folder.identity("ann", a=b"fault")
    await until(lambda: "a defect" in caplog.text, EFFECTIVE_S)
    (folder.root / "ann" / "a.jpg").write_bytes(b"good")
    await until(lambda: len(watched.snapshot.references) == 1, EFFECTIVE_S)


async def test_the_log_names_refusals_once_and_never_an_embedding(
    folder: Folder, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    folder.identity("ann", a=b"ann", b=b"half")
    await gallery.sync()
    folder.identity("ann", c=b"more")
    await gallery.sync()
    assert caplog.text.count("photo_refused identity=ann photo='b.jpg' reason=unreadable") == 1
    assert "embedding=" not in caplog.text
    assert "array(" not in caplog.text


def test_the_digest_depends_on_who_and_which_photos_and_not_on_order() -> None:
    def person(id_: str, basis: str = "contract") -> Identity:
        consent = Consent(basis=basis, date=date(2026, 1, 1), reference="r")
        return Identity(id=id_, names={"en": id_}, consent=consent)

    ann, bob = person("ann"), person("bob")
    photos = [reference("ann", unit(1)), reference("bob", unit(2))]
    digest = gallery_digest({"ann": ann, "bob": bob}, photos)
    assert digest == gallery_digest({"bob": bob, "ann": ann}, photos[::-1])
    assert digest != gallery_digest({"ann": ann, "bob": person("bob", "other")}, photos)
    assert digest != gallery_digest({"ann": ann, "bob": bob}, photos[:1])
    assert digest != gallery_digest({"ann": ann}, photos)
    assert len(digest) == 64


@pytest.mark.parametrize(
    "changed",
    [
        {"platform": "other"},
        {"account": "other"},
        {"kinds": frozenset({BroadcastKind.LIVE})},
        {"valid_from": date(2026, 1, 2)},
        {"valid_until": date(2027, 1, 2)},
        {"max_concurrent_rooms": 2},
        {"suspended": True},
    ],
)
def test_the_digest_depends_on_every_part_of_a_permission(changed: dict[str, object]) -> None:
    permission = Permission(platform="demo", account="ann", kinds=frozenset(BroadcastKind))
    consent = Consent(basis="contract", date=date(2026, 1, 1), reference="r")
    ann = Identity(id="ann", names={"en": "Ann"}, consent=consent, permissions=(permission,))
    other = replace(ann, permissions=(replace(permission, **changed),))
    assert gallery_digest({"ann": ann}, []) != gallery_digest({"ann": other}, [])


async def test_where_the_system_refuses_to_watch_the_folder_is_looked_at_all_the_same(
    folder: Folder,
    make_gallery: Callable[..., Gallery],
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr("monitor.gallery.watch.awatch", refuse)
    gallery = make_gallery(rescan_s=1)
    watch = asyncio.create_task(gallery.watch())
    try:
        await until(lambda: "gallery_not_watched" in caplog.text, 5)
        folder.identity("ann", a=b"ann")
        # Sooner than with the default of rescan_s.
        await until(lambda: "ann" in gallery.snapshot.identities, 5)
        assert not watch.done()
    finally:
        watch.cancel()
        await asyncio.wait([watch])
    assert caplog.text.count("gallery_not_watched") == 1


async def test_a_new_photo_in_a_very_large_gallery_costs_only_its_own_code(
    folder: Folder, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "EXACT_UP_TO_BYTES", 0)
    encoded: list[int] = []
    encode = faiss.IndexRaBitQ.sa_encode

    def counted(codes: object, rows: np.ndarray) -> np.ndarray:
        encoded.append(len(rows))
        return encode(codes, rows)

    monkeypatch.setattr(faiss.IndexRaBitQ, "sa_encode", counted)
    folder.identity("ann", a=b"ann one", b=b"ann two", c=b"ann three")
    await gallery.sync()
    encoded.clear()
    folder.identity("bob", a=b"bob")
    snapshot = await gallery.sync()
    assert encoded == [1]
    assert [snapshot.match(unit(photo)).best.identity_id for photo in (b"ann two", b"bob")] == ["ann", "bob"]
