"""Opens networks on what was asked for: one that is not there is an error, never silently the CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from monitor.errors import PackError
from monitor.faces.config import Provider

GPU_PROVIDERS: tuple[Provider, ...] = ("cuda", "tensorrt")

_ERRORS_ONLY = 3
_ONNXRUNTIME_NAMES: Mapping[Provider, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
_GPU_REMEDY = (
    "install onnxruntime-gpu in place of onnxruntime (never both) and NVIDIA's driver, CUDA and cuDNN, "
    "or set faces.provider to cpu"
)
_OPENVINO_REMEDY = "install the package openvino, or set faces.provider to cpu"


class Precision(StrEnum):
    """What a network computes in."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphicsCard:
    """Which one, and what it is told."""

    number: int = 0
    cache_dir: Path | None = None
    """Folder for TensorRT's engines, which take minutes to build; None builds them at every start."""

    def options(self, name: str, precision: Precision) -> dict[str, str]:
        """What the provider of that name is told.

        :param name: ONNX Runtime's own, such as ``CUDAExecutionProvider``.
        """
        device = {"device_id": str(self.number)}
        if name == "CPUExecutionProvider":
            return {}
        if name == "CUDAExecutionProvider":
            # Ten bits of mantissa would give other vectors. An exhaustive search for every new size takes seconds.
            return {**device, "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
        cached = {} if self.cache_dir is None else _engine_cache(self.cache_dir / "tensorrt")
        return {**device, "trt_fp16_enable": "1" if precision is Precision.FLOAT16 else "0", **cached}


def _engine_cache(folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    cache = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
    return {**cache, "trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}


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


def available() -> tuple[Provider, ...]:
    """What can run networks here."""
    there = onnxruntime.get_available_providers()
    names: list[Provider] = [name for name, (first, *_) in _ONNXRUNTIME_NAMES.items() if first in there]
    if importlib.util.find_spec("openvino") is not None:
        names.append("openvino")
    return tuple(names)


def require(provider: Provider) -> None:
    """Make sure that a provider's software is installed.

    :raises PackError: if it is not; names the remedy.
    """
    if provider in (there := available()):
        return
    remedy = _OPENVINO_REMEDY if provider == "openvino" else _GPU_REMEDY
    raise PackError(f"faces.provider {provider} is not installed here, only {', '.join(there)}: {remedy}")


def precisions(provider: Provider) -> tuple[Precision, ...]:
    """What ``provider`` can compute in on this machine.

    :raises PackError: if its software is installed and cannot be loaded.
    """
    if provider == "tensorrt":
        return (Precision.FLOAT32, Precision.FLOAT16)
    if provider != "openvino":
        return (Precision.FLOAT32,)
    try:
        from monitor.faces.openvino_session import has_bfloat16
    except ImportError as error:
        raise PackError(f"the package openvino cannot be loaded: {error}; {_OPENVINO_REMEDY}") from error
    return (Precision.FLOAT32, Precision.BFLOAT16) if has_bfloat16() else (Precision.FLOAT32,)


def open_session(
    network: Path | bytes,
    provider: Provider,
    precision: Precision = Precision.FLOAT32,
    card: GraphicsCard | None = None,
) -> Session:
    """Load a network on a provider, never ``auto``, with one thread.

    :param network: its ONNX file, or that file's content; openvino takes files only.
    :param precision: what it computes in; one of :func:`precisions`.
    :param card: which graphics card; None is the first.
    :raises PackError: if the file cannot be run, or the provider did not take it.
    """
    if provider == "openvino":
        # The package is an optional extra.
        from monitor.faces.openvino_session import OpenVinoSession

        assert isinstance(network, Path)
        return OpenVinoSession(network, precision)
    names = _ONNXRUNTIME_NAMES[provider]
    if provider in GPU_PROVIDERS:
        # CUDA and cuDNN that came as Python packages are not on the loader's path.
        onnxruntime.preload_dlls()
    told = [(card or GraphicsCard()).options(name, precision) for name in names]
    try:
        source = network if isinstance(network, bytes) else str(network)
        session: Any = onnxruntime.InferenceSession(source, _one_thread(), providers=list(names), provider_options=told)
    # ONNX Runtime's own exceptions share no base class below Exception.
    except Exception as error:
        name = "a rewritten network" if isinstance(network, bytes) else network
        raise PackError(f"ONNX Runtime cannot run {name}: {_first_line(error)}") from error
    # ONNX Runtime goes on without a provider whose libraries are missing.
    if names[0] not in session.get_providers():
        raise PackError(f"faces.provider {provider} did not start, only {session.get_providers()}: {_GPU_REMEDY}")
    result: Session = session
    return result


def _one_thread() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return options


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
