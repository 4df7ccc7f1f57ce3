"""Settings of face analysis: the section ``faces``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, field_validator, model_validator

OPENCV_ZOO = "opencv-zoo"

Provider = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
WantedPrecision = Literal["auto", "float32", "float16", "bfloat16"]


class FacesConfig(BaseModel):
    """Which networks look at the pictures, on what, and which faces are worth comparing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pack: str = Field(
        OPENCV_ZOO,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Model pack: opencv-zoo (comes with the package), or the name of an InsightFace pack in pack_dir, "
        "such as buffalo_l, antelopev2 or auraface.",
    )
    pack_dir: Path | None = Field(
        None,
        description="Folder that holds an InsightFace pack's .onnx files; not used by opencv-zoo.",
    )
    quality_network: Path | None = Field(
        None,
        description="File of a network that judges how clear a face is: OpenCV Zoo's eDifFIQA(T), "
        "ediffiqa_tiny_jun2024.onnx (CC-BY-4.0; 7 MB, not in the package). With any pack; references stay valid. It "
        "becomes a fifth of every compared face's quality, harmless from 0.5 up, which is what its authors publish of "
        "good photos: this project has not measured it. Costs one more small network for each face that would be "
        "compared. null: none.",
    )
    provider: Provider = Field(
        "auto",
        description="What runs the networks: auto (cuda where a graphics card works and gives the same vectors, else "
        "the faster of cpu and openvino), cpu, cuda, tensorrt or openvino. One that is asked for by name and is not "
        "there is an error at start. With cuda and tensorrt one process for each graphics card runs the networks for "
        "all workers, in batches.",
    )
    precision: WantedPrecision = Field(
        "auto",
        description="What the recogniser computes in: auto (bfloat16 with openvino, float16 with tensorrt, where that "
        "is faster and still gives vectors of cosine 0.999), float32, float16 or bfloat16.",
    )
    workers: int = Field(0, ge=0, le=256, description="Worker processes; 0 means one for each core.")
    gpus: tuple[NonNegativeInt, ...] = Field(
        (0,),
        min_length=1,
        max_length=64,
        description="Numbers of the graphics cards that cuda and tensorrt use; workers are spread over them.",
    )
    shared_inference: bool = Field(
        False,
        description="Let one process run the networks for all workers on the CPU too, as it does on a graphics card: "
        "to try that way without one. Slower there, and not possible with openvino.",
    )
    batch_deadline_ms: float = Field(
        5.0,
        ge=0,
        le=100,
        description="How long a picture may wait for others that share its batch, in ms; only where one process runs "
        "the networks. It does not wait while no other worker could ask.",
    )
    worker_memory_bytes: int = Field(
        1_500_000_000,
        ge=200_000_000,
        le=64_000_000_000,
        description="Address space that a worker may take beyond its loaded pack, in bytes; a picture that needs more "
        "is lost. A process that runs the networks for all workers is not limited: a graphics card's driver reserves "
        "more than it uses.",
    )
    worker_user: str | None = Field(
        None,
        min_length=1,
        description="User, such as nobody, whose rights workers have once the pack is loaded; only for a daemon that "
        "root starts. null: the daemon's own user.",
    )
    cache_dir: Path = Field(Path("data/cache"), description="Folder for prepared networks; it can be deleted.")
    min_face_px: float = Field(
        28.0,
        ge=16,
        le=2000,
        description="Faces less high than this are not compared, pixels; below about 28 the same person is hardly "
        "known any more.",
    )
    min_sharpness: float = Field(
        12.0,
        ge=0,
        description="Faces more blurred than this are not compared: variance of the Laplacian of the aligned "
        "112 x 112 crop.",
    )
    min_det_score: float = Field(
        0.65, ge=0.5, le=1, description="Faces that the detector is less sure of than this are not compared, 0.5 to 1."
    )
    second_look: bool = Field(
        True,
        description="Look again, enlarged and turned, where the detector is in doubt: finds faces that are tilted, "
        "upside down or small. Costs up to twelve searches of about 0.6 ms in each of up to three places, and for one "
        "face of a picture two more embeddings; only with the pack opencv-zoo.",
    )
    min_quality: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Faces whose quality is below this are not compared, 0 to 1: size, sharpness, light, pose, fit of "
        "the landmarks and share inside the picture in one. 0.25 refuses what hardly resembles anybody any more; with "
        "more, a room can hide a face by turning it, cutting it off or darkening it.",
    )
    job_timeout_s: float = Field(
        5.0,
        gt=0,
        le=600,
        description="Seconds that a worker may take for one picture before it is ended and replaced; every further "
        "100 packets of one job add as much.",
    )
    similarity_threshold: float | None = Field(
        None, gt=0, lt=1, description="Cosine from which a face counts as the identity; empty: the pack's own."
    )
    margin: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Least cosine distance between the best and the second identity; empty: the pack's own.",
    )

    @model_validator(mode="after")
    def _can_be_shared(self) -> Self:
        if self.shared_inference and self.provider == "openvino":
            raise ValueError("faces.shared_inference is not possible with faces.provider openvino: set one to another")
        return self

    @field_validator("gpus")
    @classmethod
    def _different(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(numbers)) < len(numbers):
            raise ValueError("names a card twice: one process uses all of it")
        return numbers
