"""Runs a network on batches of pictures through ONNX Runtime's IO binding."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from monitor.faces.inference.graph import PIXELS

_MOST_BYTES = 512 * 2**20
"""Of pictures' memory that stays bound on the device, for all sizes of batches together."""


class BoundNetwork:
    """A network of :mod:`monitor.faces.inference.graph`; belongs to one thread.

    The input's memory on the device is kept for each shape and written over, so that nothing is allocated as it runs;
    of what the network computes only its output is copied back.
    """

    def __init__(self, session: onnxruntime.InferenceSession, device: str, device_id: int = 0) -> None:
        """:param device: ``cpu`` or ``cuda``: where the input's memory lies."""
        self._session = session
        self._device = device
        self._device_id = device_id
        self._output = session.get_outputs()[0].name
        self._bound: OrderedDict[tuple[int, ...], tuple[Any, Any]] = OrderedDict()

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The network's output for a batch.

        :param pictures: shape (n, h, w, 3), BGR, contiguous.
        """
        binding, memory = self._binding(pictures)
        memory.update_inplace(pictures)
        self._session.run_with_iobinding(binding)
        # The binding writes the next output to the same place.
        return np.array(binding.copy_outputs_to_cpu()[0], np.float32)

    def _binding(self, pictures: NDArray[np.uint8]) -> tuple[Any, Any]:
        known = self._bound.get(pictures.shape)
        if known is None:
            memory = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                pictures.shape, np.uint8, self._device, self._device_id
            )
            binding = self._session.io_binding()
            binding.bind_ortvalue_input(PIXELS, memory)
            binding.bind_output(self._output, "cpu")
            known = self._bound[pictures.shape] = binding, memory
            while sum(map(math.prod, self._bound)) > _MOST_BYTES:
                self._bound.popitem(last=False)
        self._bound.move_to_end(pictures.shape)
        return known
