"""Opens networks on what was asked for: one that is not there is an error, never silently the CPU."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces.config import Provider

log = logging.getLogger(__name__)

_ERRORS_ONLY = 3
_ONNXRUNTIME_NAMES: Mapping[str, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
_GPU_REMEDY = (
    "install onnxruntime-gpu in place of onnxruntime (never both) and NVIDIA's driver, CUDA and cuDNN, "
    "or set faces.provider to cpu"
)
_OPENVINO_REMEDY = "install the package openvino, or set faces.provider to cpu"


class TensorInfo(Protocol):
    """One input or output of a network."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> Sequence[int | str | None]: ...


class Session(Protocol):
    """The part of ``onnxruntime.InferenceSession`` that this project and InsightFace use."""

    def get_inputs(self) -> Sequence[TensorInfo]: ...

    def get_outputs(self) -> Sequence[TensorInfo]: ...

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]: ...


def resolve(provider: Provider, probe: Path) -> Provider:
    """The provider to use; never ``auto``, which means cuda where it starts, else cpu.

    :param probe: a network to try cuda with.
    :raises PackError: if a provider was asked for by name and its software is not installed; names the remedy.
    """
    available = onnxruntime.get_available_providers()
    if provider == "auto":
        return _cuda_or_cpu(available, probe)
    if provider == "openvino":
        if importlib.util.find_spec("openvino") is None:
            raise PackError(f"faces.provider openvino is not there: {_OPENVINO_REMEDY}")
    elif _ONNXRUNTIME_NAMES[provider][0] not in available:
        raise PackError(
            f"faces.provider {provider} is not there: this ONNX Runtime has {', '.join(available)}; {_GPU_REMEDY}"
        )
    return provider


def _cuda_or_cpu(available: Sequence[str], probe: Path) -> Provider:
    if _ONNXRUNTIME_NAMES["cuda"][0] not in available:
        return "cpu"
    try:
        open_session(probe, "cuda")
    except PackError as error:
        log.warning("provider_auto provider=cpu reason=%s", error)
        return "cpu"
    return "cuda"


def open_session(path: Path, provider: Provider) -> Session:
    """Load the network in ``path`` on a resolved provider, with one thread.

    :raises PackError: if the file cannot be run, or the provider did not take it.
    """
    if provider == "openvino":
        # The package is an optional extra.
        from monitor.faces.openvino_session import OpenVinoSession

        return OpenVinoSession(path)
    names = _ONNXRUNTIME_NAMES[provider]
    if provider != "cpu":
        # CUDA and cuDNN that came as Python packages are not on the loader's path.
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        session: Any = onnxruntime.InferenceSession(str(path), options, providers=list(names))
    # ONNX Runtime's own exceptions share no base class below Exception.
    except Exception as error:
        raise PackError(f"ONNX Runtime cannot run {path}: {_first_line(error)}") from error
    # ONNX Runtime goes on without a provider whose libraries are missing.
    if names[0] not in session.get_providers():
        raise PackError(f"faces.provider {provider} did not start, only {session.get_providers()}: {_GPU_REMEDY}")
    result: Session = session
    return result


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
