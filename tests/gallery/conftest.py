"""Fixtures of the gallery's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support.gallery import Folder, MemoryStore, PreparedAnalyser
from support.waiting import own_turn

from monitor.clock import SystemClock
from monitor.gallery.config import GalleryConfig
from monitor.gallery.gallery import Gallery
from monitor.gallery.metrics import GalleryMetrics


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "gallery")


@pytest.fixture
def analyser() -> PreparedAnalyser:
    return PreparedAnalyser()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def make_gallery(
    folder: Folder, analyser: PreparedAnalyser, store: MemoryStore, registry: CollectorRegistry
) -> Callable[..., Gallery]:
    """A gallery on ``folder``; call it again, with another registry, for a restart."""

    def make(**settings: Any) -> Gallery:
        metrics = GalleryMetrics(settings.pop("registry", registry))
        return Gallery(folder.root, analyser, store, GalleryConfig(**settings), SystemClock(), metrics)

    return make


@pytest.fixture
def gallery(make_gallery: Callable[..., Gallery]) -> Gallery:
    return make_gallery()


@pytest.fixture
async def watched(gallery: Gallery) -> AsyncIterator[Gallery]:
    """The gallery with its watch running."""
    watch = asyncio.create_task(gallery.watch())
    yield gallery
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch


@pytest.fixture
def until() -> Callable[[Callable[[], bool], float], Awaitable[float]]:
    """Waits for a condition; returns the seconds of the loop's own time that it took, fails at the deadline."""

    async def wait(condition: Callable[[], bool], deadline_s: float) -> float:
        passed = 0.0
        while not condition():
            assert passed < deadline_s, f"not within {deadline_s} s"
            passed += await own_turn()
        return passed

    return wait
