"""The gallery on the real vision workers, with real photos."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from prometheus_client import CollectorRegistry
from support.gallery import Folder, MemoryStore

from monitor.clock import SystemClock
from monitor.faces.config import FacesConfig
from monitor.faces.metrics import FacesMetrics
from monitor.faces.pool import VisionPool
from monitor.gallery.config import GalleryConfig
from monitor.gallery.gallery import Gallery
from monitor.gallery.identity import RefusalReason
from monitor.gallery.metrics import GalleryMetrics

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "monitor/demo/photos"


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packs")


@pytest.fixture
async def pool(cache_dir: Path) -> AsyncIterator[VisionPool]:
    pool = VisionPool(FacesConfig(workers=2, cache_dir=cache_dir), FacesMetrics(CollectorRegistry()))
    await pool.start()
    yield pool
    await pool.aclose()


def gallery_on(folder: Path, pool: VisionPool) -> Gallery:
    metrics = GalleryMetrics(CollectorRegistry())
    return Gallery(folder, pool, MemoryStore(), GalleryConfig(), SystemClock(), metrics)


def jpeg(picture: np.ndarray) -> bytes:
    _, encoded = cv2.imencode(".jpg", picture)
    return encoded.tobytes()


async def test_each_unusable_photo_is_refused_with_its_own_reason_and_the_rest_is_enrolled(
    folder: Folder, pool: VisionPool
) -> None:
    portrait = cv2.imread(str(PHOTOS / "obama_official_portrait.jpg"))
    biden = cv2.resize(cv2.imread(str(PHOTOS / "biden_white_house.jpg")), None, fx=0.5, fy=0.5)
    face_height = (await pool.analyse_image(jpeg(portrait))).faces[0].box.height
    shrunk = cv2.resize(portrait, None, fx=60 / face_height, fy=60 / face_height, interpolation=cv2.INTER_AREA)
    beside = np.zeros((max(len(portrait), len(biden)), portrait.shape[1] + biden.shape[1], 3), np.uint8)
    beside[: len(portrait), : portrait.shape[1]] = portrait
    beside[: len(biden), portrait.shape[1] :] = biden
    whole = (PHOTOS / "obama_official_portrait.jpg").read_bytes()
    folder.identity(
        "barack_obama",
        portrait=whole,
        landscape=jpeg(skimage.data.rocket()[:, :, ::-1]),
        collage=jpeg(beside),
        small=jpeg(shrunk),
        blurred=jpeg(cv2.GaussianBlur(portrait, (0, 0), 8)),
        text=b"This is no photo.\n" * 50,
        half=whole[: len(whole) // 2],
    )
    snapshot = await gallery_on(folder.root, pool).sync()
    assert [reference.photo for reference in snapshot.references] == ["portrait.jpg"]
    refused = {photo.photo: (photo.reason, photo.detail) for photo in snapshot.refused}
    assert {photo: reason for photo, (reason, _) in refused.items()} == {
        "blurred.jpg": RefusalReason.BLURRED,
        "collage.jpg": RefusalReason.SEVERAL_FACES,
        "half.jpg": RefusalReason.UNREADABLE,
        "landscape.jpg": RefusalReason.NO_FACE,
        "small.jpg": RefusalReason.FACE_TOO_SMALL,
        "text.jpg": RefusalReason.UNREADABLE,
    }
    assert "at least 30 needed" in refused["blurred.jpg"][1]
    assert "2 faces found" in refused["collage.jpg"][1]
    assert "at least 80 needed" in refused["small.jpg"][1]
    assert "640 x 427 px" in refused["landscape.jpg"][1]
    (reference,) = snapshot.references
    crop = cv2.imdecode(np.frombuffer(reference.crop_jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert reference.face_height_px < len(crop) < len(portrait)


async def test_the_gallery_that_ships_knows_its_person_from_another_photo_and_no_stranger(pool: VisionPool) -> None:
    snapshot = await gallery_on(ROOT / "celebrity_gallery", pool).sync()
    assert snapshot.errors == ()
    assert snapshot.refused == ()
    similarities = {}
    for path in PHOTOS.glob("*.jpg"):
        (face,) = (await pool.analyse_image(path.read_bytes())).faces
        assert face.embedding is not None
        match = snapshot.match(face.embedding)
        assert match is not None
        assert match.best.identity_id == "barack_obama"
        similarities[path.stem] = match.best.similarity
    assert similarities["obama_official_portrait"] == pytest.approx(1, abs=1e-3)
    assert similarities["obama_senate_portrait"] > pool.pack.similarity_threshold
    assert similarities["biden_white_house"] < pool.pack.candidate_threshold


async def test_a_photo_dropped_into_the_folder_is_effective_in_under_two_seconds(
    folder: Folder, pool: VisionPool, until: Callable[[Callable[[], bool], float], Awaitable[float]]
) -> None:
    # What is measured is not a machine that still starts workers.
    await pool.ready()
    folder.identity("barack_obama")
    gallery = gallery_on(folder.root, pool)
    watch = asyncio.create_task(gallery.watch())
    try:
        await until(lambda: "barack_obama" in gallery.snapshot.identities, 5)
        photo = (PHOTOS / "obama_official_portrait.jpg").read_bytes()
        (folder.root / "barack_obama" / "a.jpg").write_bytes(photo)
        await until(lambda: len(gallery.snapshot.references) == 1, 2.0)
    finally:
        watch.cancel()
        await asyncio.wait([watch])
