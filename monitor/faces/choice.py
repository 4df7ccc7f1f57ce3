"""Chooses what runs a pack: the fastest that gives the vectors that ONNX Runtime gives on the CPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces.align import CROP_PX
from monitor.faces.config import FacesConfig, Provider
from monitor.faces.embed import Recogniser
from monitor.faces.providers import GPU_PROVIDERS, Precision, Session, available, open_session, precisions, require

log = logging.getLogger(__name__)

OpenNetwork = Callable[[Path, Provider, Precision], Session]
"""As :func:`monitor.faces.providers.open_session`."""

_Outputs = Callable[[Path, Session], Sequence[NDArray[np.float32]]]
"""What a network gives for the probes."""

LEAST_COSINE: Mapping[Precision, float] = {
    Precision.FLOAT32: 0.9999,
    Precision.FLOAT16: 0.999,
    Precision.BFLOAT16: 0.999,
}
"""To the reference's vectors, from which a provider may be used."""

_PROBES = 8
_PROBE_CELLS = 14
_PROBE_PICTURE = (640, 384)
_TIMED_RUNS = 7

_Pair = tuple[Provider, Precision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a network did on one provider."""

    provider: Provider
    precision: Precision
    ms: float
    """For one face or picture, the quickest of several."""
    cosine: float
    """The least to the reference's outputs."""

    @property
    def passed(self) -> bool:
        """Whether its outputs are the reference's."""
        return self.cosine >= LEAST_COSINE[self.precision]

    def __str__(self) -> str:
        refused = "" if self.passed else ", refused"
        return f"{self.provider} {self.precision} {self.ms:.1f} ms (cosine {self.cosine:.5f}{refused})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a pack runs on."""

    provider: Provider
    """Of the recogniser."""
    precision: Precision
    reason: str
    """For an operator."""
    recogniser: Recogniser = field(repr=False)
    detector: Session = field(repr=False)


def choose(config: FacesConfig, detector: Path, recogniser: Path, open_network: OpenNetwork = open_session) -> Choice:
    """Try what ``faces.provider`` and ``faces.precision`` allow, and take for each network the fastest that passes.

    ``auto`` allows the CPU's: whether there is a graphics card is for the inference process to find out. With
    ``openvino`` the detector may run on ONNX Runtime, which is sometimes faster on the same CPU. It always computes in
    float32: boxes and landmarks would move.

    :raises PackError: if what was asked for is not there or gives other vectors, or a file cannot be run.
    """
    pairs = _allowed(config)
    lenient = config.provider == "auto"
    embedding = _Contest(recogniser, open_network, _vectors)
    best, told = embedding.best(pairs, lenient=lenient)
    # Whether a graphics card is used at all is the recogniser's choice: a worker without one is confined more.
    providers = [name for name in dict.fromkeys(name for name, _ in pairs) if name in (best[0], "cpu", "openvino")]
    if "openvino" in providers and "cpu" not in providers:
        providers.append("cpu")
    finding = _Contest(detector, open_network, _heads)
    found, told_found = finding.best([(provider, Precision.FLOAT32) for provider in providers], lenient=lenient)
    if told or told_found:
        reason = f"recogniser: the fastest of {told}" if told else "asked for"
        reason += f"; detector: the fastest of {told_found}" if told_found else ""
    else:
        reason = "nothing else is installed" if lenient else "asked for"
    return Choice(
        provider=best[0],
        precision=best[1],
        reason=reason,
        recogniser=Recogniser(recogniser, embedding.sessions[best]),
        detector=finding.sessions[found],
    )


def _allowed(config: FacesConfig) -> list[_Pair]:
    providers: list[Provider]
    if config.provider == "auto":
        providers = [name for name in available() if name not in GPU_PROVIDERS]
    else:
        require(config.provider)
        providers = [config.provider]
    pairs: list[_Pair] = []
    for provider in providers:
        try:
            pairs += [(provider, one) for one in precisions(provider) if config.precision in ("auto", one)]
        except PackError as error:
            if config.provider != "auto":
                raise
            log.warning("provider_left_out provider=%s reason=%s", provider, error)
    if not pairs:
        raise PackError(
            f"faces.precision {config.precision}: {', '.join(providers)} cannot compute in it here; set it to auto"
        )
    return pairs


class _Contest:
    """Opens one network on several providers and compares what they give."""

    def __init__(self, path: Path, open_network: OpenNetwork, outputs: _Outputs) -> None:
        self._path = path
        self._open = open_network
        self._outputs = outputs
        self.sessions: dict[_Pair, Session] = {}

    def best(self, pairs: Sequence[_Pair], *, lenient: bool) -> tuple[_Pair, str]:
        """The fastest that passes, and what all did; where there is no choice nothing is tried, and nothing told.

        :param lenient: one that does not start is left out, with a warning, instead of being an error.
        :raises PackError: if none passes.
        """
        if len(pairs) == 1 and pairs[0][1] is Precision.FLOAT32:
            self.sessions[pairs[0]] = self._open(self._path, *pairs[0])
            return pairs[0], ""
        reference = self._open(self._path, "cpu", Precision.FLOAT32)
        expected = self._outputs(self._path, reference)
        self.sessions["cpu", Precision.FLOAT32] = reference
        trials = []
        for pair in pairs:
            try:
                session = self.sessions.get(pair) or self._open(self._path, *pair)
            except PackError as error:
                if not lenient:
                    raise
                log.warning("provider_left_out provider=%s reason=%s", pair[0], error)
                continue
            self.sessions[pair] = session
            cosine = _least_cosine(self._outputs(self._path, session), expected)
            ms = _quickest_ms(session, time.perf_counter if pair[0] in GPU_PROVIDERS else time.process_time)
            trials.append(Trial(provider=pair[0], precision=pair[1], ms=ms, cosine=cosine))
        best = fastest(trials)
        told = ", ".join(str(trial) for trial in sorted(trials, key=lambda trial: trial.ms))
        return (best.provider, best.precision), told


def fastest(trials: Sequence[Trial]) -> Trial:
    """The quickest that passed.

    :raises PackError: if none did.
    """
    passed = [trial for trial in trials if trial.passed]
    if not passed:
        raise PackError(
            f"no provider gives the vectors of the CPU: {'; '.join(map(str, trials))}; set faces.provider to cpu"
        )
    return min(passed, key=lambda trial: trial.ms)


def probe_crops() -> list[NDArray[np.uint8]]:
    """Soft coloured patches, always the same, each of shape (112, 112, 3)."""
    return [soft_picture((CROP_PX, CROP_PX), seed) for seed in range(_PROBES)]


def soft_picture(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Coloured patches, always the same for their seed: shape (height, width, 3), BGR.

    :param size: width and height.
    """
    cells = np.random.default_rng(seed).integers(0, 256, (_PROBE_CELLS, _PROBE_CELLS, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(cells, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _vectors(path: Path, session: Session) -> list[NDArray[np.float32]]:
    return list(Recogniser(path, session).embed(probe_crops()))


def _heads(path: Path, session: Session) -> list[NDArray[np.float32]]:
    return session.run(None, _feed(session))


def _feed(session: Session) -> dict[str, NDArray[np.float32]]:
    """One soft picture of the size that the network takes."""
    entry = session.get_inputs()[0]
    free = dict(enumerate((1, 3, *reversed(_PROBE_PICTURE))))
    shape = [size if isinstance(size, int) and size > 0 else free[axis] for axis, size in enumerate(entry.shape)]
    picture = soft_picture((shape[3], shape[2]), 0)
    return {entry.name: np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)}


def _least_cosine(found: Sequence[NDArray[np.float32]], expected: Sequence[NDArray[np.float32]]) -> float:
    cosines = []
    for one, other in zip(found, expected, strict=True):
        lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
        cosines.append(float(one.ravel() @ other.ravel()) / max(lengths, 1e-12))
    return min(cosines)


def _quickest_ms(session: Session, clock: Callable[[], float]) -> float:
    """The quickest of a few is the least disturbed by what else the machine does.

    :param clock: CPU time, which a loaded machine does not draw out, where the CPU does the work.
    """
    feed = _feed(session)
    took = []
    for _ in range(_TIMED_RUNS):
        began = clock()
        session.run(None, feed)
        took.append(clock() - began)
    return 1000 * min(took)
