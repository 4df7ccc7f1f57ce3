"""What a worker does with each job: decode, look for faces, draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from monitor.errors import FrameLossReason, FrameLost, ImageRefused
from monitor.faces import wire
from monitor.faces.analyser import FaceAnalyser
from monitor.faces.decode import Decoder, Picture
from monitor.faces.draw import boxed_jpeg, crop_jpeg, others_hidden
from monitor.faces.face import PictureFaces, Settled
from monitor.faces.images import decode_image
from monitor.faces.inference.link import InferenceGone
from monitor.faces.luma import is_cut, is_same, luma_hash


class Desk:
    """Does the jobs; each method takes and returns wire messages."""

    def __init__(self, analyser: FaceAnalyser, decoder: Decoder) -> None:
        self.analyser = analyser
        self._decoder = decoder

    def answer(self, message: wire.Message) -> wire.Message:
        """The answer to one job; what was foreseen to go wrong is an answer too."""
        jobs: Mapping[str, Callable[[wire.Message], wire.Message]] = {
            wire.Job.ANALYSE: self._analyse,
            wire.Job.ANALYSE_IMAGE: self._analyse_image,
            wire.Job.RENDER: self._render,
            wire.Job.CROP_IMAGE: self._crop_image,
            wire.Job.DECODE: self._decode,
        }
        try:
            return jobs[message["job"]](message)
        except FrameLost as error:
            return {"lost": error.reason, "detail": str(error)}
        except InferenceGone:
            # Not the picture's fault; the daemon replaces this worker.
            return {"lost": FrameLossReason.WORKER_DIED, "detail": "the process that runs its networks ended"}
        except ImageRefused as error:
            return {"refused": str(error)}

    def _analyse(self, message: wire.Message) -> wire.Message:
        found: dict[int, wire.Message] = {}
        pictures: list[wire.Message] = []
        last_luma: bytes | None = message["luma"]
        settled = None if message["settled"] is None else wire.settled_from_wire(message["settled"])
        for picture in self._decoder.pictures(wire.frame_from_wire(message["frame"])):
            if picture is None:
                continue
            if picture.pts not in found:
                shown = self._changed(picture, last_luma, settled)
                if not shown.unchanged:
                    last_luma = shown.luma
                found[picture.pts] = wire.picture_to_wire(shown)
            pictures.append(found[picture.pts])
        if not pictures:
            raise FrameLost(FrameLossReason.UNDECODABLE, "no wanted picture came out of the data")
        return {"pictures": pictures}

    def _changed(self, picture: Picture, last_luma: bytes | None, settled: Settled | None) -> PictureFaces:
        """The faces of ``picture``; one that shows what the last one did is not searched."""
        luma = luma_hash(picture.luma)
        if last_luma is not None and is_same(luma, last_luma):
            width, height = picture.size
            return PictureFaces(pts=picture.pts, width=width, height=height, faces=(), luma=luma, unchanged=True)
        if settled is not None and is_cut(settled.luma, luma):
            settled = None
        return replace(self._faces(picture.pts, picture.pixels, settled), luma=luma)

    def _analyse_image(self, message: wire.Message) -> wire.Message:
        return {"picture": wire.picture_to_wire(self._faces(0, decode_image(message["data"])))}

    def _render(self, message: wire.Message) -> wire.Message:
        frame = wire.frame_from_wire(message["frame"])
        picture = next(self._decoder.pictures(frame), None)
        if picture is None:
            raise FrameLost(FrameLossReason.UNDECODABLE, "the picture did not come out of the data")
        box = wire.box_from_wire(message["box"])
        shown = others_hidden(picture.pixels, self.analyser.boxes(picture.pixels), box)
        return {"frame_jpeg": boxed_jpeg(shown, box, message["label"]), "crop_jpeg": crop_jpeg(shown, box)}

    def _crop_image(self, message: wire.Message) -> wire.Message:
        return {"crop_jpeg": crop_jpeg(decode_image(message["data"]), wire.box_from_wire(message["box"]))}

    def _decode(self, message: wire.Message) -> wire.Message:
        pictures = self._decoder.pictures(wire.frame_from_wire(message["frame"]))
        return {"decoded": sum(picture is not None for picture in pictures)}

    def _faces(self, pts: int, pixels: NDArray[np.uint8], settled: Settled | None = None) -> PictureFaces:
        height, width = pixels.shape[:2]
        faces = self.analyser.faces(pixels, settled.faces if settled is not None else ())
        return PictureFaces(pts=pts, width=width, height=height, faces=faces)
