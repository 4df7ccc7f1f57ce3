"""Does not search a picture again that still shows the same: a slide, a poster, a frozen room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from monitor.faces.face import Face, PictureFaces, Settled
from monitor.streams.packet import EncodedFrame

# Keyframes of one picture differ by what the encoder's rate control makes of them.
_SAME_SIZE = 0.25
# Searched again after so many all the same: an encoder refines a picture that stands still.
_MOST_REUSED = 15


class StillFinder(Protocol):
    """The part of the VisionPool that is used here."""

    async def analyse(
        self, frame: EncodedFrame, last_luma: bytes | None = None, settled: Settled | None = None
    ) -> tuple[PictureFaces, ...]: ...


class StillFaces:
    """The faces of one stream's pictures, reused while the picture does not change.

    Unchanged means: the keyframe is about as large as that of the picture which was searched last, and each of its
    coarse brightnesses is the same. A protected face in a frozen picture so goes on being seen.
    """

    def __init__(self, finder: StillFinder) -> None:
        self._finder = finder
        self._faces: Sequence[Face] = ()
        self._luma: bytes | None = None
        self._size = 0
        self._reused = 0

    async def analyse(self, frame: EncodedFrame, settled: Settled | None = None) -> tuple[PictureFaces, ...]:
        """The faces at each wanted instant of ``frame``.

        :param settled: faces that need not be embedded; a picture in which such a face was recognised is searched
            again once the face is not settled any more.
        :raises FrameLost: as the pool does.
        """
        size = len(frame.packets[0].data)
        alike = abs(size - self._size) <= _SAME_SIZE * self._size and self._reused < _MOST_REUSED
        numbers = {face.number for face in settled.faces} if settled is not None else set()
        known = all(face.settled is None or face.settled in numbers for face in self._faces)
        pictures = await self._finder.analyse(frame, self._luma if alike and known else None, settled)
        return tuple([self._known(picture, size) for picture in pictures])

    def _known(self, picture: PictureFaces, size: int) -> PictureFaces:
        if picture.unchanged:
            self._reused += 1
            return replace(picture, faces=tuple(self._faces))
        self._faces, self._luma, self._size, self._reused = picture.faces, picture.luma, size, 0
        return picture
