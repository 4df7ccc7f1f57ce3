"""OpenVINO's own runtime with the face of an ONNX Runtime session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces.providers import Precision

MOST_SIZES = 4
"""Input sizes for which a detector is compiled apart: those of landscape and portrait rooms, searched twice each.

They are the first that it meets, while the pack is loaded: a confined worker has not the memory to compile.
"""

_HINTS = {Precision.FLOAT32: "f32", Precision.BFLOAT16: "bf16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoTensor:
    """One input or output; a free dimension is None."""

    name: str
    shape: tuple[int | None, ...]


class OpenVinoSession:
    """A :class:`monitor.faces.providers.Session` on the CPU, one thread; a free batch becomes 1."""

    def __init__(self, path: Path, precision: Precision) -> None:
        """:raises PackError: if OpenVINO cannot run the file."""
        self._core = openvino.Core()
        self._settings = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            # Every worker would pin its thread to the same core.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
        }
        try:
            # Kept: once a worker is confined it may not be able to read the file.
            self._network = self._core.read_model(str(path))
            batch, *size = self._network.inputs[0].get_partial_shape()
            self._resizes = any(dimension.is_dynamic for dimension in size)
            if batch.is_dynamic and not self._resizes:
                # Batches of different sizes in turn cost more than a batch saves.
                self._network.reshape([1, *(dimension.get_length() for dimension in size)])
            self._model = self._core.compile_model(self._network, "CPU", self._settings)
        except RuntimeError as error:
            raise PackError(f"OpenVINO cannot run {path}: {str(error).splitlines()[0]}") from error
        self._any_size = self._model.create_infer_request()
        self._requests: dict[tuple[int, ...], openvino.InferRequest] = {}

    def get_inputs(self) -> Sequence[OpenVinoTensor]:
        return [_tensor(port) for port in self._model.inputs]

    def get_outputs(self) -> Sequence[OpenVinoTensor]:
        return [_tensor(port) for port in self._model.outputs]

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """The named outputs, or all, as arrays of their own."""
        request = self._request(next(iter(input_feed.values())).shape)
        request.infer(dict(input_feed), share_inputs=True)
        names = output_names or [port.get_any_name() for port in self._model.outputs]
        return [np.array(request.get_tensor(name).data) for name in names]

    def _request(self, shape: tuple[int, ...]) -> openvino.InferRequest:
        """What runs inputs of that shape: for the first few shapes a network compiled for each."""
        if not self._resizes:
            return self._any_size
        if shape not in self._requests and len(self._requests) < MOST_SIZES:
            model = self._network.clone()
            model.reshape(list(shape))
            self._requests[shape] = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        return self._requests.get(shape, self._any_size)


def _tensor(port: openvino.ConstOutput) -> OpenVinoTensor:
    shape = tuple(None if dimension.is_dynamic else dimension.get_length() for dimension in port.get_partial_shape())
    return OpenVinoTensor(name=port.get_any_name(), shape=shape)


def has_bfloat16() -> bool:
    """Whether this machine's CPU multiplies bfloat16."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
