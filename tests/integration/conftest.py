"""Clips with a protected face, made once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from monitor.demo.clip import Clip
from monitor.demo.rooms import ROOMS, make_clips


@pytest.fixture(scope="session")
def room_clips(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Clip]:
    """The demo's clip of each portrait room, by the room's name."""
    folder = tmp_path_factory.mktemp("clips")
    rooms = [room for room in ROOMS if not room.swapped]
    return asyncio.run(make_clips(rooms, cache_dir=folder, networks_dir=folder))


@pytest.fixture(scope="session")
def protected_clip(room_clips: Mapping[str, Clip]) -> Clip:
    """Twelve seconds of a protected person."""
    return room_clips["obama-fan-shop"]


@pytest.fixture(scope="session")
def protected_clip_file(protected_clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as an MP4 file."""
    path = tmp_path_factory.mktemp("clip") / "protected.mp4"
    path.write_bytes(protected_clip.template)
    return path
