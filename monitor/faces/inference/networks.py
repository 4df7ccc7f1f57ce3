"""Loads a pack's networks for batches, on the fastest that gives the vectors of the CPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from monitor.errors import PackError
from monitor.faces import packs
from monitor.faces.align import CROP_PX
from monitor.faces.choice import Trial, fastest, probe_crops, soft_picture
from monitor.faces.config import OPENCV_ZOO, FacesConfig, Provider
from monitor.faces.embed import Recogniser
from monitor.faces.face import PackInfo
from monitor.faces.inference import graph
from monitor.faces.inference.bound_network import BoundNetwork
from monitor.faces.inference.candidates import Candidates
from monitor.faces.inference.micro_batch import BUCKETS, LARGEST
from monitor.faces.providers import GPU_PROVIDERS, GraphicsCard, Precision, available, open_session, precisions, require

log = logging.getLogger(__name__)

_CROP_SHAPE = (CROP_PX, CROP_PX)
_ROOM_SHAPES = (384, 640), (640, 384), (96, 160), (160, 96)
"""Heights and widths at which landscape and portrait rooms are searched."""
_TIMED_RUNS = 5
_TIMED_BATCH = 4
_LEAST_IN_COMMON = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """A pack that is loaded for batches."""

    info: PackInfo
    detector: BoundNetwork
    recogniser: BoundNetwork
    fixed_size: tuple[int, int] | None = field(default=None)
    """Width and height of the only input that the detector takes."""


def load(config: FacesConfig, gpu: int) -> Networks:
    """Load the configured pack, try it against plain ONNX Runtime on the CPU, and prepare a card for every batch.

    :param gpu: number of the graphics card.
    :raises PackError: if the pack or the provider is missing, altered, unusable, or gives other vectors.
    """
    files = packs.locate(config)
    card = GraphicsCard(number=gpu, cache_dir=config.cache_dir)
    if config.provider != "auto":
        require(config.provider)
        return _loaded(files, config, config.provider, card)
    if "cuda" in available():
        try:
            return _loaded(files, config, "cuda", card)
        except PackError as error:
            if not config.shared_inference:
                raise
            log.warning("provider_left_out provider=cuda reason=%s", error)
    if not config.shared_inference:
        raise PackError("ONNX Runtime has no provider for a graphics card")
    return _loaded(files, config, "cpu", card)


def _loaded(files: packs.PackFiles, config: FacesConfig, provider: Provider, card: GraphicsCard) -> Networks:
    wanted = [one for one in precisions(provider) if config.precision in ("auto", one)]
    if not wanted:
        raise PackError(f"faces.precision {config.precision}: {provider} cannot compute in it here; set it to auto")
    plain = Recogniser(files.recogniser, open_session(files.recogniser, "cpu"))
    recogniser = graph.recogniser_graph(onnx.load(files.recogniser), mean=plain.mean, std=plain.std)
    source = onnx.load(files.detector)
    fixed = _fixed_size(source)
    detector = graph.yunet_graph(source) if files.name == OPENCV_ZOO else graph.scrfd_graph(source)
    contest = _Contest(provider, card)
    embedding, precision, reason = contest.best(recogniser, wanted, _CROP_SHAPE, _vector_cosine(plain))
    # Boxes and landmarks would move in any other.
    shape = _ROOM_SHAPES[0] if fixed is None else fixed[::-1]
    finding, _, told = contest.best(detector, [Precision.FLOAT32], shape, _candidate_cosine(detector))
    reason = f"one process for all workers; recogniser: {reason}; detector: {told}"
    info = files.described(config, dimension=plain.dimension, provider=provider, precision=precision, reason=reason)
    networks = Networks(info=info, detector=finding, recogniser=embedding, fixed_size=fixed)
    _warm_up(networks)
    return networks


class _Contest:
    """Opens a network on one provider, in each precision, and compares what it gives."""

    def __init__(self, provider: Provider, card: GraphicsCard) -> None:
        self._provider = provider
        self._card = card

    def best(
        self,
        model: onnx.ModelProto,
        wanted: Sequence[Precision],
        shape: tuple[int, int],
        cosine: Callable[[BoundNetwork], float],
    ) -> tuple[BoundNetwork, Precision, str]:
        """The fastest that passes, what it computes in, and how each did.

        :param cosine: the least to what the CPU gives.
        :raises PackError: if none passes.
        """
        data = model.SerializeToString()
        opened, trials = {}, []
        for precision in wanted:
            network = opened[precision] = self._open(data, precision)
            trial = Trial(
                provider=self._provider, precision=precision, ms=_ms_each(network, shape), cosine=cosine(network)
            )
            trials.append(trial)
        best = fastest(trials)
        return opened[best.precision], best.precision, ", ".join(map(str, trials))

    def _open(self, data: bytes, precision: Precision) -> BoundNetwork:
        session: Any = open_session(data, self._provider, precision, self._card)
        if self._provider in GPU_PROVIDERS:
            return BoundNetwork(session, "cuda", self._card.number)
        return BoundNetwork(session, "cpu")


def _vector_cosine(plain: Recogniser) -> Callable[[BoundNetwork], float]:
    """The least cosine to the vectors of ``plain``, of crops alone and in a batch."""
    crops = np.stack(probe_crops())
    expected = plain.embed(list(crops))

    def least(network: BoundNetwork) -> float:
        together = network.run(crops)
        alone = np.concatenate([network.run(crop[np.newaxis]) for crop in crops])
        found = np.stack([together, alone])
        found /= np.maximum(np.linalg.norm(found, axis=2, keepdims=True), 1e-9)
        return float((found * expected).sum(axis=2).min())

    return least


def _candidate_cosine(model: onnx.ModelProto) -> Callable[[BoundNetwork], float]:
    """The least cosine to what the same graph gives on the CPU, of pictures alone and in a batch."""
    session: Any = open_session(model.SerializeToString(), "cpu")
    reference = BoundNetwork(session, "cpu")
    size = _fixed_size(model) or _ROOM_SHAPES[0][::-1]
    pictures = np.stack([soft_picture(size, seed) for seed in range(2)])
    expected = [reference.run(picture[np.newaxis])[0] for picture in pictures]

    def least(network: BoundNetwork) -> float:
        alone = [network.run(picture[np.newaxis])[0] for picture in pictures]
        together = network.run(pictures)
        return min(
            _cosine_in_common(one, other)
            for found in (alone, together)
            for one, other in zip(found, expected, strict=True)
        )

    return least


def _cosine_in_common(found: Candidates, expected: Candidates) -> float:
    """Of what is said of the cells that both name; 0 where these are too few. The weakest may differ by rounding."""
    _, ours, theirs = np.intersect1d(found[:, 1], expected[:, 1], return_indices=True)
    if len(ours) < _LEAST_IN_COMMON * len(expected):
        return 0.0
    one, other = np.delete(found[ours], 1, axis=1).ravel(), np.delete(expected[theirs], 1, axis=1).ravel()
    return float(one @ other / max(float(np.linalg.norm(one)) * float(np.linalg.norm(other)), 1e-12))


def _ms_each(network: BoundNetwork, shape: tuple[int, int]) -> float:
    """Milliseconds for one picture of a batch, the quickest of several."""
    pictures = np.zeros((_TIMED_BATCH, *shape, 3), np.uint8)
    took = []
    for _ in range(_TIMED_RUNS):
        began = time.perf_counter()
        network.run(pictures)
        took.append(time.perf_counter() - began)
    return 1000 * min(took) / _TIMED_BATCH


def _warm_up(networks: Networks) -> None:
    """Run every batch that rooms of the usual shapes make; the largest first, which bounds what the others need.

    A processor needs no preparing for a size.
    """
    on_card = networks.info.provider in GPU_PROVIDERS
    sizes = sorted(BUCKETS, key=lambda size: (size not in (1, LARGEST), -size)) if on_card else [1]
    shapes = _ROOM_SHAPES if networks.fixed_size is None else [networks.fixed_size[::-1]]
    pairs = [(networks.detector, shape) for shape in shapes] + [(networks.recogniser, _CROP_SHAPE)]
    for network, shape in pairs:
        for size in sizes:
            network.run(np.zeros((size, *shape, 3), np.uint8))


def _fixed_size(model: onnx.ModelProto) -> tuple[int, int] | None:
    """Width and height of a detector's input where they are fixed; of the network as it came, or rewritten."""
    dimensions = [one.dim_value for one in model.graph.input[0].type.tensor_type.shape.dim]
    height, width = dimensions[2:] if dimensions[1] == 3 else dimensions[1:3]
    return (width, height) if width > 0 and height > 0 else None
