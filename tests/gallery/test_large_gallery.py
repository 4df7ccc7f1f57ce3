"""A gallery of very many photos changes beside an event loop that goes on, and beside searches."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support.gallery import Folder, MemoryStore, PreparedAnalyser, reference, unit
from support.waiting import wait_for

from monitor import daemon
from monitor.clock import ManualClock
from monitor.faces.face import PictureFaces
from monitor.gallery import gallery as galleries
from monitor.gallery import gallery as gallery_module
from monitor.gallery.config import GalleryConfig
from monitor.gallery.enrolment import Enrolment
from monitor.gallery.gallery import Gallery
from monitor.gallery.identity import Reference
from monitor.gallery.long_sequence import PIECE, LongSequence
from monitor.gallery.metrics import GalleryMetrics
from monitor.gallery.snapshot import GallerySnapshot


async def test_what_looks_at_every_photo_is_not_done_on_the_event_loop(
    folder: Folder, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, set[int]] = {}

    def told(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any, **kwargs: Any) -> Any:
            threads.setdefault(name, set()).add(threading.get_ident())
            return work(*args, **kwargs)

        return done

    for owner, name in (
        (gallery_module, "scan_folder"),
        (gallery_module, "settle_claims"),
        (gallery_module, "settle_look_alikes"),
        (gallery_module, "_same"),
        (GallerySnapshot, "build"),
        (Enrolment, "survey"),
        (Enrolment, "undecided"),
    ):
        monkeypatch.setattr(owner, name, told(name, getattr(owner, name)))
    folder.identity("ann", a=b"ann")
    await gallery.sync()
    assert len(threads) == 7
    assert threading.get_ident() not in set.union(*threads.values())


@pytest.mark.parametrize(("look_s", "enrols_for_s"), [(0.01, 0.5), (20.0, 60.0)])
async def test_where_a_look_at_the_folder_takes_long_most_of_the_time_is_spent_on_enrolling(
    folder: Folder,
    analyser: PreparedAnalyser,
    store: MemoryStore,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    look_s: float,
    enrols_for_s: float,
) -> None:
    clock = ManualClock(now=datetime(2026, 1, 1, tzinfo=UTC))
    gallery = Gallery(folder.root, analyser, store, GalleryConfig(), clock, GalleryMetrics(registry))
    scan, advance, given = gallery_module.scan_folder, Enrolment.advance, []

    def slow(*args: Any, **kwargs: Any) -> Any:
        clock.elapsed_s += look_s
        return scan(*args, **kwargs)

    async def told(enrolment: Enrolment, for_s: float, progress: Any) -> None:
        given.append(for_s)
        await advance(enrolment, for_s, progress)

    monkeypatch.setattr(gallery_module, "scan_folder", slow)
    monkeypatch.setattr(Enrolment, "advance", told)
    folder.identity("ann", a=b"ann")
    assert len((await gallery.sync()).references) == 1
    assert given
    assert given == [pytest.approx(enrols_for_s)] * len(given)


async def test_what_did_not_change_in_the_folder_is_the_same_object_after_the_next_look(
    folder: Folder, gallery: Gallery
) -> None:
    old = time.time() - 60
    for person in (folder.identity("ann", a=b"ann"), folder.identity("bob", a=b"bob")):
        for file in person.iterdir():
            os.utime(file, (old, old))
    first, before = await gallery.sync(), gallery._scan
    folder.identity("bob", b=b"another")
    second, after = await gallery.sync(), gallery._scan
    assert before is not None
    assert after is not None
    assert after.folders[0] is before.folders[0]
    assert after.folders[1] is not before.folders[1]
    assert second.references[0] is first.references[0]
    assert second.identities["ann"] is first.identities["ann"]
    assert len(second.references) == 3


def test_a_changed_snapshot_makes_no_container_of_all_photos_for_the_garbage_collector_to_walk_through() -> None:
    def photos(first: int) -> list[Reference]:
        embedding = unit(1)
        return [reference(f"p{number % 50:02}", embedding, f"{number}.jpg") for number in range(first, first + 9000)]

    kept = photos(0)
    before = GallerySnapshot.build({}, kept, refused=(), errors=())
    changed = LongSequence([*kept[100:], *photos(9000)[:100]])
    gc.collect()
    known = {id(one) for one in gc.get_objects()}
    after = GallerySnapshot.build({}, changed, refused=(), errors=(), previous=before)
    made = [one for one in gc.get_objects() if id(one) not in known and one is not known]
    assert len(after.references) == 9000
    assert [type(one) for one in made if isinstance(one, (list, tuple, dict, set)) and len(one) > PIECE] == []
    assert len(made) < 1000


async def test_a_gallery_is_taken_from_the_garbage_collector_once_it_is_large_and_again_when_it_grew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen: list[int] = []
    looks = 0

    class Growing:
        references: range = range(0)

        @property
        def snapshot(self) -> SimpleNamespace:
            nonlocal looks
            looks += 1
            return SimpleNamespace(references=self.references)

    growing = Growing()
    monkeypatch.setattr(daemon, "_SPARE_FROM", 100)
    monkeypatch.setattr(daemon, "_TICK_S", 0.001)
    monkeypatch.setattr(daemon.gc, "freeze", lambda: frozen.append(len(growing.references)))
    task = asyncio.create_task(daemon._spare_collector(growing))
    for count in (99, 100, 199, 50, 200):
        growing.references, before = range(count), looks
        await wait_for(lambda before=before: looks > before + 3, timeout_s=10, what="the gallery was looked at")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert frozen == [100, 200]


async def test_nothing_false_is_said_of_a_photo_that_is_decided_while_a_snapshot_is_built(
    folder: Folder,
    make_gallery: Callable[..., Gallery],
    analyser: PreparedAnalyser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder.identity("ann", a=b"ann one")
    folder.identity("bob", a=b"bob one")
    examine, settle = analyser.analyse_image, galleries.settle_claims
    loop, decided, may_go_on = asyncio.get_running_loop(), threading.Event(), asyncio.Event()
    snapshots: list[object] = []

    async def analyse_image(data: bytes) -> PictureFaces:
        if data.startswith(b"bob"):
            await may_go_on.wait()
            loop.call_later(0.05, decided.set)
        return await examine(data)

    def settle_claims(*args: Any) -> Any:
        settled = settle(*args)
        snapshots.append(settled)
        if len(snapshots) == 2:
            # A large gallery takes seconds here: bob's only photo is decided meanwhile.
            loop.call_soon_threadsafe(may_go_on.set)
            assert decided.wait(10)
        return settled

    monkeypatch.setattr(analyser, "analyse_image", analyse_image)
    monkeypatch.setattr(galleries, "settle_claims", settle_claims)
    gallery = make_gallery(enrolments_at_once=2)
    await gallery.sync()
    assert len(snapshots) > 2
    assert "gallery_error" not in caplog.text
    assert gallery.snapshot.errors == ()
