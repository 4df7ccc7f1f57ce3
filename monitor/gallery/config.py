"""Settings of the gallery."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class GalleryConfig(BaseModel):
    """Where the protected people's photos lie and which photos are good enough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Field(
        default=Path("celebrity_gallery"),
        description="Folder with one sub-folder per protected person: identity.yaml and photos beside it.",
    )
    calibration_file: Path = Field(
        default=Path("data/calibration.json"),
        description="What `monitor calibrate` wrote; while there is no such file the pack's built-in calibration "
        "holds. Read at start.",
    )
    traffic_file: Path = Field(
        default=Path("data/stranger_traffic.json"),
        description="Where the daemon counts how similar the strangers in its rooms are to each protected person, "
        "numbers only; `monitor calibrate` without a folder fits to it.",
    )
    min_face_px: float = Field(
        default=80.0,
        ge=20,
        le=2000,
        description="Least height of the face in a photo, in pixels; smaller ones are refused.",
    )
    min_sharpness: float = Field(
        default=30.0,
        ge=0,
        le=10_000,
        description="Least sharpness of the face (variance of the Laplacian of the aligned crop); blurred ones are "
        "refused.",
    )
    max_photo_bytes: int = Field(
        default=20_000_000, ge=1024, le=20_000_000, description="Photo files larger than this many bytes are refused."
    )
    enrolments_at_once: int = Field(
        default=4, ge=1, le=64, description="How many photos are read and analysed at the same time during a sync."
    )
    rescan_s: float = Field(
        default=10.0,
        ge=1,
        le=3600,
        description="Seconds between looks at the folder when the file system reports no change; it catches what "
        "network file systems never report.",
    )
