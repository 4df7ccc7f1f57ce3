"""What the bench of face analysis found out, and which aims that meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monitor.bench.faces_pool import PoolRate

MOST_OF_FLOOR = 1.2
LEAST_TIMES_OPENCV = 3.0
"""How much faster than OpenCV the provider ``openvino`` has to be."""
LEAST_COSINE = {"float32": 0.9999, "float16": 0.999, "bfloat16": 0.999}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceCost:
    """Milliseconds that one way takes."""

    frame: float
    """For a picture with one face, everything from its pixels to the embedding."""
    face: float
    """For each further face in a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FacesRow:
    """One provider."""

    provider: str
    precision: str
    ours: FaceCost
    floor: FaceCost
    """The bare sessions on the tensors that ours gave them."""
    one_by_one: FaceCost
    """The same sessions called as InsightFace does, one image at a time."""
    opencv: FaceCost
    """FaceDetectorYN and FaceRecognizerSF."""
    p99_ms: float
    """Of ours, for a picture with one face."""
    pool: PoolRate
    """Of all workers of this machine."""
    min_cosine: float
    """Least cosine of an embedding of ours to InsightFace's of the same landmarks, by ONNX Runtime on the CPU."""

    @property
    def costs(self) -> tuple[FaceCost, FaceCost, FaceCost, FaceCost]:
        """Ours, the floor, InsightFace's way and OpenCV's."""
        return self.ours, self.floor, self.one_by_one, self.opencv

    def to_dict(self) -> dict[str, Any]:
        """The row that ``--json`` prints."""
        costs = {"": self.ours, "floor_": self.floor, "opencv_": self.opencv, "insightface_": self.one_by_one}
        return {
            "provider": self.provider,
            "precision": self.precision,
            **{f"{name}ms_per_frame": round(cost.frame, 3) for name, cost in costs.items()},
            **{f"{name}ms_per_face": round(cost.face, 3) for name, cost in costs.items()},
            "frames_per_s_per_core": round(1000 / self.ours.frame, 1),
            "p99_ms": round(self.p99_ms, 3),
            "pool_workers": self.pool.workers,
            "pool_shared_inference": self.pool.shared,
            "pool_frames_per_s": round(self.pool.frames_per_s, 1),
            "pool_p99_ms": round(self.pool.p99_ms, 3),
            "min_cosine": round(self.min_cosine, 6),
        }

    def missed(self) -> list[str]:
        """The aims that this row misses, in words; those that it is not measured by are not among them."""
        said = []
        if self.ours.frame > MOST_OF_FLOOR * self.floor.frame:
            said.append(f"above {MOST_OF_FLOOR:g} x floor")
        if self.ours.face > MOST_OF_FLOOR * self.floor.face:
            said.append(f"a face above {MOST_OF_FLOOR:g} x floor")
        if self.provider == "openvino" and self.opencv.frame < LEAST_TIMES_OPENCV * self.ours.frame:
            said.append(f"above OpenCV / {LEAST_TIMES_OPENCV:g}")
        if self.min_cosine < LEAST_COSINE[self.precision]:
            said.append(f"cosine under {LEAST_COSINE[self.precision]:g}")
        return said
