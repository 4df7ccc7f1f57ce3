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
from monitor.faces.providers import Precision, Session, available, open_session, precisions, require

log = logging.getLogger(__name__)

OpenNetwork = Callable[[Path, Provider, Precision], Session]
"""As :func:`monitor.faces.providers.open_session`."""

LEAST_COSINE: Mapping[Precision, float] = {Precision.FLOAT32: 0.9999, Precision.BFLOAT16: 0.999}
"""To the reference's vectors, from which a provider may be used."""

_PROBES = 8
_PROBE_CELLS = 14
_TIMED_RUNS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a recogniser did on one provider."""

    provider: Provider
    precision: Precision
    ms: float
    """For one face, the quickest of several."""
    cosine: float
    """The least to the reference's vectors."""

    @property
    def passed(self) -> bool:
        """Whether its vectors are the reference's."""
        return self.cosine >= LEAST_COSINE[self.precision]

    def __str__(self) -> str:
        verdict = "" if self.passed else ", refused"
        return f"{self.provider} {self.precision} {self.ms:.1f} ms a face (cosine {self.cosine:.5f}{verdict})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a pack runs on."""

    provider: Provider
    precision: Precision
    reason: str
    """For an operator."""
    recogniser: Recogniser = field(repr=False)


def choose(config: FacesConfig, recogniser: Path, open_network: OpenNetwork = open_session) -> Choice:
    """Try what ``faces.provider`` and ``faces.precision`` allow, and take the fastest that passes.

    ``auto`` allows every provider but tensorrt, which builds its engines for minutes.

    :raises PackError: if what was asked for is not there or gives other vectors, or the file is no recogniser.
    """
    pairs = _allowed(config)
    if len(pairs) > 1 or pairs[0][1] is not Precision.FLOAT32:
        return _tried(pairs, recogniser, open_network, may_fail=config.provider == "auto")
    ((provider, precision),) = pairs
    network = Recogniser(recogniser, open_network(recogniser, provider, precision))
    reason = "nothing else is installed" if config.provider == "auto" else "asked for"
    return Choice(provider=provider, precision=precision, reason=reason, recogniser=network)


def _allowed(config: FacesConfig) -> list[tuple[Provider, Precision]]:
    if config.provider == "auto":
        providers = [name for name in available() if name != "tensorrt"]
    else:
        require(config.provider)
        providers = [config.provider]
    pairs: list[tuple[Provider, Precision]] = []
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


def _tried(
    pairs: Sequence[tuple[Provider, Precision]], path: Path, open_network: OpenNetwork, *, may_fail: bool
) -> Choice:
    """The best of several, each run on the same probes as the reference.

    :param may_fail: one that does not start is left out, with a warning, instead of being an error.
    """
    probes = probe_crops()
    reference = Recogniser(path, open_network(path, "cpu", Precision.FLOAT32)).embed(probes)
    tried: list[tuple[Trial, Recogniser]] = []
    for provider, precision in pairs:
        try:
            network = Recogniser(path, open_network(path, provider, precision))
        except PackError as error:
            if not may_fail:
                raise
            log.warning("provider_left_out provider=%s reason=%s", provider, error)
            continue
        cosine = float((network.embed(probes) * reference).sum(axis=1).min())
        trial = Trial(provider=provider, precision=precision, ms=_quickest_ms(network, probes[0]), cosine=cosine)
        tried.append((trial, network))
    best = fastest([trial for trial, _ in tried])
    told = "; ".join(str(trial) for trial, _ in sorted(tried, key=lambda one: one[0].ms))
    return Choice(
        provider=best.provider,
        precision=best.precision,
        reason=f"the fastest of {told}",
        recogniser=next(network for trial, network in tried if trial is best),
    )


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
    cells = np.random.default_rng(1).integers(0, 256, (_PROBES, _PROBE_CELLS, _PROBE_CELLS, 3), dtype=np.uint8)
    size = (CROP_PX, CROP_PX)
    return [np.asarray(cv2.resize(patch, size, interpolation=cv2.INTER_CUBIC), np.uint8) for patch in cells]


def _quickest_ms(network: Recogniser, crop: NDArray[np.uint8]) -> float:
    """The quickest of a few is the least disturbed by what else the machine does."""
    took = []
    for _ in range(_TIMED_RUNS):
        began = time.perf_counter()
        network.embed([crop])
        took.append(time.perf_counter() - began)
    return 1000 * min(took)
