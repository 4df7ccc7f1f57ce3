from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.gallery import unit

from monitor.errors import FrameLossReason, FrameLost, GalleryError, ImageRefused
from monitor.faces.face import Box, Face, PictureFaces, Quality
from monitor.gallery.photo_album import MOST_PHOTOS, album_photos, read_album


def face(height: float, number: int = 1, embedded: bool = True) -> Face:
    return Face(
        box=Box(x1=0, y1=0, x2=80, y2=height),
        landmarks=np.zeros((5, 2), np.float32),
        det_score=0.9,
        quality=Quality(sharpness=100.0, brightness=120.0),
        embedding=unit(number) if embedded else None,
    )


class Eyes:
    """Sees what the photo's bytes say."""

    async def analyse_image(self, data: bytes) -> PictureFaces:
        seen = {
            b"one": (face(100),),
            b"passer-by": (face(50, 2), face(100)),
            b"two": (face(100), face(70, 2)),
            b"poor": (face(100, embedded=False),),
            b"empty": (),
        }
        if data == b"broken":
            raise ImageRefused("is none of JPEG, PNG")
        if data == b"deadly":
            raise FrameLost(FrameLossReason.WORKER_DIED)
        return PictureFaces(pts=0, width=200, height=200, faces=seen[data])


def album(root: Path, photos: dict[str, bytes]) -> Path:
    for name, content in photos.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


async def test_each_folder_is_a_person_and_what_cannot_be_used_is_named_with_its_reason(tmp_path: Path) -> None:
    names = ("one", "passer-by", "two", "poor", "empty", "broken", "deadly")
    root = album(tmp_path, {f"ann/{name}.jpg": name.encode() for name in names} | {"bob/1.PNG": b"one"})
    told: list[tuple[int, int, str]] = []
    photos = [path for path in sorted(root.rglob("*")) if path.is_file()]
    read = await read_album(photos, Eyes(), lambda done, total, name: told.append((done, total, name)))
    assert {person: len(embeddings) for person, embeddings in read.people.items()} == {"ann": 2, "bob": 1}
    assert all(float(embedding @ unit(1)) > 0.999 for embedding in read.people["ann"]), "the larger face"
    assert read.skipped == [
        "ann/broken.jpg: is none of JPEG, PNG",
        "ann/deadly.jpg: worker_died",
        "ann/empty.jpg: no face that is good enough to be compared",
        "ann/poor.jpg: no face that is good enough to be compared",
        "ann/two.jpg: several faces of nearly the same size",
    ]
    assert (told[-1][:2], len(told)) == ((8, 8), 8)


def test_of_each_person_a_few_photos_are_read_and_nothing_but_photos(tmp_path: Path) -> None:
    root = album(tmp_path, {f"ann/{i:02}.jpg": b"" for i in range(20)} | {"ann/notes.txt": b"", "top.jpg": b""})
    assert [path.name for path in album_photos(root)] == [f"{i:02}.jpg" for i in range(MOST_PHOTOS)]


@pytest.mark.parametrize("made", [{}, {"top.jpg": b""}, {"ann/notes.txt": b""}])
def test_a_folder_without_a_persons_photo_says_what_is_expected(tmp_path: Path, made: dict[str, bytes]) -> None:
    with pytest.raises(GalleryError, match=r"holds no photo; one folder for each person with \.bmp"):
        album_photos(album(tmp_path, made))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="none: cannot be read: No such file"):
        album_photos(tmp_path / "none")
