"""What an evaluation found out, down to the single clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitor.evaluation.bounds import Rate
from monitor.evaluation.catalogue import Transformation
from monitor.evaluation.openset import STATED_FPIRS, OperatingPoint, Searches, det_curve, median, operating_point
from monitor.evaluation.verdict import PictureVerdict
from monitor.faces.face import PackInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One clip of one person, searched for in one gallery."""

    transformation: str
    identity: str
    photo: str
    mated: bool
    sighted: tuple[str, ...]
    """Whom the tracker proved."""
    verdicts: tuple[PictureVerdict, ...]
    """Of each analysed picture."""
    frame_verdict: PictureVerdict
    """Of the picture in the middle."""
    frame_similarity: float | None
    jpeg: bytes | None = field(default=None, repr=False)
    """The picture in the middle, where the outcome was wrong."""

    @property
    def found(self) -> bool:
        """The person in the clip was proven."""
        return self.identity in self.sighted

    @property
    def right(self) -> bool:
        """The enrolled person and nobody else, or nobody where they are not enrolled."""
        return self.sighted == ((self.identity,) if self.mated else ())

    @property
    def why(self) -> str:
        """What the pictures say, the most frequent first."""
        counted = Counter(self.verdicts).most_common()
        return ", ".join(f"{verdict} {count}" for verdict, count in counted) or "no picture came out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One transformation."""

    transformation: Transformation
    clips: Rate
    """Mated clips in which the right person was sighted."""
    identities: Rate
    """Enrolled people who were sighted in every clip of theirs."""
    frames: Rate
    """Rank-1 TPIR at the operating threshold, on one picture of each mated clip."""
    median_similarity: float | None
    """Over those of these pictures in which a face was embedded."""
    embedded: int
    false_sightings: Rate
    """Clips in which somebody was sighted who is not in them; of people who are not enrolled, and of those who are."""
    why: Mapping[str, int]
    """Verdicts on the pictures of the clips that were missed."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "transformation": self.transformation.name,
            "description": self.transformation.description,
            "clips": self.clips.to_dict(),
            "identities": self.identities.to_dict(),
            "frames": self.frames.to_dict(),
            "median_similarity": None if self.median_similarity is None else round(self.median_similarity, 4),
            "frames_with_a_face": self.embedded,
            "false_sightings": self.false_sightings.to_dict(),
            "missed_because": dict(self.why),
        }


def row(transformation: Transformation, trials: Sequence[Trial]) -> Row:
    """What the trials of one transformation come to."""
    of_it = [trial for trial in trials if trial.transformation == transformation.name]
    mated = [trial for trial in of_it if trial.mated]
    missed = [trial for trial in mated if not trial.found]
    lost = {trial.identity for trial in missed}
    people = {trial.identity for trial in mated}
    similarities = [trial.frame_similarity for trial in mated if trial.frame_similarity is not None]
    return Row(
        transformation=transformation,
        clips=Rate(hits=len(mated) - len(missed), trials=len(mated)),
        identities=Rate(hits=len(people - lost), trials=len(people)),
        frames=Rate(hits=sum(trial.frame_verdict is PictureVerdict.MATCHED for trial in mated), trials=len(mated)),
        median_similarity=median(similarities),
        embedded=len(similarities),
        false_sightings=Rate(
            hits=sum(any(sighted != trial.identity for sighted in trial.sighted) for trial in of_it), trials=len(of_it)
        ),
        why=Counter(str(verdict) for trial in missed for verdict in trial.verdicts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A photo, or a photo under one transformation, that could not be tried."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything that the report says."""

    source: str
    """The folder as the operator wrote it."""
    began: datetime
    seconds: float
    machine: str
    pack: PackInfo
    enrolled_identities: int
    """In each round."""
    enrolled_photos: int
    rounds: int
    searches: Searches
    """Photos as they are, over all rounds."""
    trials: tuple[Trial, ...] = field(repr=False)
    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]

    @property
    def operating_points(self) -> tuple[OperatingPoint, ...]:
        return tuple(operating_point(self.searches, stated) for stated in STATED_FPIRS)

    @property
    def wrong(self) -> tuple[Trial, ...]:
        """The clips whose outcome was wrong: misses and false sightings."""
        return tuple(trial for trial in self.trials if not trial.right)

    def to_dict(self) -> dict[str, Any]:
        threshold = self.pack.similarity_threshold
        return {
            "source": self.source,
            "date": self.began.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "machine": self.machine,
            "pack": {"name": self.pack.name, "digest": self.pack.digest, "provider": self.pack.provider},
            "similarity_threshold": threshold,
            "margin": self.pack.margin,
            "enrolled": {
                "identities": self.enrolled_identities,
                "photos": self.enrolled_photos,
                "rounds": self.rounds,
            },
            "photos": {
                "tpir": self.searches.tpir(threshold).to_dict(),
                "fpir": self.searches.fpir(threshold).to_dict(),
                "at_fpir": [_point(one) for one in self.operating_points],
                "det": [
                    {"similarity": round(one.threshold, 4), "fpir": one.fpir.value, "fnir": one.fnir.value}
                    for one in det_curve(self.searches)
                ],
            },
            "transformations": [one.to_dict() for one in self.rows],
            "wrong": [
                {
                    "transformation": trial.transformation,
                    "photo": f"{trial.identity}/{trial.photo}",
                    "enrolled": trial.mated,
                    "sighted": list(trial.sighted),
                    "pictures": trial.why,
                }
                for trial in self.wrong
            ],
            "skipped": [{"what": one.what, "why": one.why} for one in self.skipped],
        }


def _point(point: OperatingPoint) -> dict[str, Any]:
    return {
        "stated_fpir": point.stated_fpir,
        "similarity": None if point.threshold is None else round(point.threshold, 4),
        "tpir": None if point.tpir is None else point.tpir.to_dict(),
        "fpir": None if point.fpir is None else point.fpir.to_dict(),
        "non_mated_probes_needed": point.probes_needed,
    }
