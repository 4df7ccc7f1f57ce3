"""Model packs: a detector and a recogniser under one name, digest and thresholds."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import PackError
from monitor.faces import opencv_zoo
from monitor.faces.config import OPENCV_ZOO, FacesConfig, Provider
from monitor.faces.face import PackInfo

_DETECTOR_PATTERNS = ("det_*.onnx", "scrfd*.onnx")
_RECOGNISER_PATTERNS = ("w600k*.onnx", "glint*.onnx", "*arcface*.onnx", "*sface*.onnx")
_RESEARCH_LICENCE = "weights for non-commercial research only (InsightFace)"
_LICENCES = {
    "auraface": "recogniser Apache-2.0 (AuraFace); detector for non-commercial research only (InsightFace)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From which cosines a pack's embeddings speak of one person."""

    similarity_threshold: float
    candidate_threshold: float
    margin: float

    def adjusted(self, similarity_threshold: float | None, margin: float | None) -> Thresholds:
        """With the operator's own values; the candidate threshold keeps its distance below the other."""
        similarity = self.similarity_threshold if similarity_threshold is None else similarity_threshold
        return Thresholds(
            similarity_threshold=similarity,
            candidate_threshold=max(0.0, similarity - (self.similarity_threshold - self.candidate_threshold)),
            margin=self.margin if margin is None else margin,
        )


SFACE_THRESHOLDS = Thresholds(similarity_threshold=0.42, candidate_threshold=0.34, margin=0.08)
"""Strangers against sharp references: mean 0.06, standard deviation 0.08, highest of 490 pairs 0.34. The same person:
0.83 across two portraits, 0.4 to 0.8 in a moving 32 px face at 200 kbit/s."""

ARCFACE_THRESHOLDS = Thresholds(similarity_threshold=0.45, candidate_threshold=0.38, margin=0.08)
"""buffalo_l reaches a false match rate of 1e-6 at 0.408; a list of many people needs more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackFiles:
    """A pack's files, found and checked, not yet loaded."""

    name: str
    licence: str
    digest: str
    """SHA-256 over the networks' own digests, and how they were prepared."""
    detector: Path
    recogniser: Path
    thresholds: Thresholds

    def described(
        self,
        config: FacesConfig,
        *,
        dimension: int,
        provider: Provider,
        precision: str,
        reason: str,
        quality_digest: str | None = None,
    ) -> PackInfo:
        """The pack once it is loaded, with the operator's own thresholds.

        :param dimension: of its embeddings.
        :param reason: why that provider and precision, for an operator.
        :param quality_digest: SHA-256 of the quality network, where there is one.
        """
        thresholds = self.thresholds.adjusted(config.similarity_threshold, config.margin)
        return PackInfo(
            name=self.name,
            digest=self.digest,
            dimension=dimension,
            licence=self.licence,
            provider=provider,
            precision=precision,
            provider_reason=reason,
            quality_digest=quality_digest,
            similarity_threshold=thresholds.similarity_threshold,
            candidate_threshold=thresholds.candidate_threshold,
            margin=thresholds.margin,
        )


def locate(config: FacesConfig) -> PackFiles:
    """Find the configured pack's files, check them, and prepare them if that was not done yet.

    :raises PackError: if a file is missing, ambiguous or altered; names the remedy.
    """
    if config.pack == OPENCV_ZOO:
        return _opencv_zoo(config.cache_dir)
    return _insightface(config.pack, config.pack_dir)


def _opencv_zoo(cache_dir: Path) -> PackFiles:
    nets = opencv_zoo.YUNET, opencv_zoo.SFACE
    detector, recogniser = (opencv_zoo.prepared(net, cache_dir) for net in nets)
    return PackFiles(
        name=OPENCV_ZOO,
        licence="YuNet MIT, SFace Apache-2.0 (OpenCV Zoo)",
        digest=_combined([*(net.sha256 for net in nets), f"preparation {opencv_zoo.PREPARATION_VERSION}"]),
        detector=detector,
        recogniser=recogniser,
        thresholds=SFACE_THRESHOLDS,
    )


def _insightface(name: str, folder: Path | None) -> PackFiles:
    if folder is None:
        raise PackError(
            f"faces.pack {name} needs faces.pack_dir: the folder that holds the pack's .onnx files, "
            f"for example ~/.insightface/models/{name}. Without one, set faces.pack to {OPENCV_ZOO}"
        )
    folder = folder.expanduser()
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".onnx")
        detector = _only_one(files, _DETECTOR_PATTERNS, "detector", folder)
        recogniser = _only_one(files, _RECOGNISER_PATTERNS, "recogniser", folder)
        digest = _combined([_sha256(detector), _sha256(recogniser)])
    except OSError as error:
        raise PackError(f"faces.pack_dir {folder} of pack {name} cannot be read: {error.strerror}") from error
    return PackFiles(
        name=name,
        licence=_LICENCES.get(name, _RESEARCH_LICENCE),
        digest=digest,
        detector=detector,
        recogniser=recogniser,
        thresholds=ARCFACE_THRESHOLDS,
    )


def _only_one(files: Sequence[Path], patterns: Sequence[str], role: str, folder: Path) -> Path:
    matching = [path for path in files if any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)]
    if len(matching) != 1:
        held = ", ".join(path.name for path in files) or "no .onnx file"
        raise PackError(
            f"faces.pack_dir {folder} must hold exactly one {role} ({' or '.join(patterns)}), "
            f"found {len(matching)}; the folder holds {held}"
        )
    return matching[0]


def _combined(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
