"""Rewrites a pack's networks for batches: pixels in as they lie in memory, little to copy back.

What a graphics card is slowest at is being fed. So the picture goes in as bytes, a quarter of its floats, and is
normalised in the graph; and of a detector's thousands of cells only the best come back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from monitor.errors import PackError
from monitor.faces.inference.candidates import VALUES_OF_A_CANDIDATE
from monitor.faces.opencv_zoo import free_reshapes

PIXELS = "pixels"
"""Name of the input: uint8, shape (batch, height, width, 3), BGR."""
CANDIDATES = "candidates"
"""Name of a detector's output: :data:`monitor.faces.inference.candidates.Candidates` for each picture."""
MOST_CANDIDATES = 1200
"""Cells of one picture that come back: a face is seen by about ten, so those of more than a hundred faces."""

_YUNET_STRIDES = (8, 16, 32)


def recogniser_graph(model: onnx.ModelProto, *, mean: float, std: float) -> onnx.ModelProto:
    """``model`` with bytes in and a free batch; the argument is changed and returned. Its output stays what it was.

    :param mean: taken from every RGB value.
    :param std: by which the rest is divided.
    """
    _free_batch(model)
    _take_pixels(model.graph, mean=mean, std=std, rgb=True)
    return _checked(model)


def yunet_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """A prepared YuNet with bytes in and its best cells out; the argument is changed and returned.

    A cell's confidence is the product of class and object confidence.
    """
    graph = model.graph
    joined = {head: [f"{head}_{stride}" for stride in _YUNET_STRIDES] for head in ("cls", "obj", "bbox", "kps")}
    nodes = [helper.make_node("Concat", names, [f"all_{head}"], axis=1) for head, names in joined.items()]
    nodes.append(helper.make_node("Mul", ["all_cls", "all_obj"], ["all_confidences"]))
    graph.node.extend(nodes)
    _give_candidates(graph, "all_confidences", "all_bbox", "all_kps")
    _take_pixels(graph, mean=0.0, std=1.0, rgb=False)
    return _checked(model)


def scrfd_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """An SCRFD with key points, of three strides, with bytes in and its best cells out; changed and returned.

    Exports differ in where they put the batch: those that were made for one picture lay the pictures' cells between
    each other. Here each picture's cells follow each other.

    :raises PackError: if it is built in a way that this does not know.
    """
    _free_batch(model)
    graph = model.graph
    names = [output.name for output in graph.output]
    if len(names) != 9:
        raise PackError(f"an SCRFD network with key points has nine outputs, this one {len(names)}")
    for name, width in zip(names, (1, 1, 1, 4, 4, 4, 10, 10, 10), strict=True):
        _batch_first(graph, name, width)
    heads = {"confidences": names[:3], "bbox": names[3:6], "kps": names[6:]}
    graph.node.extend(helper.make_node("Concat", parts, [f"all_{head}"], axis=1) for head, parts in heads.items())
    _give_candidates(graph, "all_confidences", "all_bbox", "all_kps")
    _take_pixels(graph, mean=127.5, std=128.0, rgb=True)
    return _checked(model)


def _take_pixels(graph: onnx.GraphProto, *, mean: float, std: float, rgb: bool) -> None:
    """Put in front what turns bytes into the input that the network has."""
    entry = graph.input[0]
    batch, _, height, width = (_dimension(one) for one in entry.type.tensor_type.shape.dim)
    nodes = [
        helper.make_node("Cast", [PIXELS], ["pixel_values"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixel_values"], ["pixel_planes"], perm=[0, 3, 1, 2]),
    ]
    last = "pixel_planes"
    if rgb:
        _constant(graph, "pixel_order", np.array([2, 1, 0]))
        nodes.append(helper.make_node("Gather", [last, "pixel_order"], ["pixel_rgb"], axis=1))
        last = "pixel_rgb"
    if (mean, std) != (0.0, 1.0):
        _constant(graph, "pixel_mean", np.array(mean, np.float32))
        _constant(graph, "pixel_std", np.array(std, np.float32))
        nodes.append(helper.make_node("Sub", [last, "pixel_mean"], ["pixel_centred"]))
        nodes.append(helper.make_node("Div", ["pixel_centred", "pixel_std"], ["pixel_normal"]))
        last = "pixel_normal"
    nodes[-1].output[0] = entry.name
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, [batch, height, width, 3]))


def _give_candidates(graph: onnx.GraphProto, confidences: str, boxes: str, landmarks: str) -> None:
    """Replace the outputs by the best cells: :data:`CANDIDATES`.

    :param confidences: shape (batch, cells, 1); ``boxes`` has 4 in place of 1, ``landmarks`` 10.
    """
    for name, value in {
        "flat": np.array([0, -1]),
        "column": np.array([0, -1, 1]),
        "second": np.array([1]),
        "most": np.array([MOST_CANDIDATES], np.float32),
        "spread": np.array([1, 1, 14]),
    }.items():
        _constant(graph, f"best_{name}", value)
    make = helper.make_node
    graph.node.extend(
        [
            make("Reshape", [confidences, "best_flat"], ["best_from"]),
            # A small picture has fewer cells. Before opset 12 the least of two numbers is known of floats only.
            make("Shape", ["best_from"], ["best_shape"]),
            make("Gather", ["best_shape", "best_second"], ["best_cells"]),
            make("Cast", ["best_cells"], ["best_cells_float"], to=TensorProto.FLOAT),
            make("Min", ["best_cells_float", "best_most"], ["best_count_float"]),
            make("Cast", ["best_count_float"], ["best_count"], to=TensorProto.INT64),
            make("TopK", ["best_from", "best_count"], ["best_values", "best_places"], axis=1),
            make("Reshape", ["best_values", "best_column"], ["best_confidences"]),
            make("Reshape", ["best_places", "best_column"], ["best_numbers"]),
            make("Cast", ["best_numbers"], ["best_numbers_float"], to=TensorProto.FLOAT),
            make("Concat", [boxes, landmarks], ["best_heads"], axis=2),
            make("Expand", ["best_numbers", "best_spread"], ["best_wanted"]),
            make("GatherElements", ["best_heads", "best_wanted"], ["best_regressions"], axis=1),
            make("Concat", ["best_confidences", "best_numbers_float", "best_regressions"], [CANDIDATES], axis=2),
        ]
    )
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info(CANDIDATES, TensorProto.FLOAT, ["batch", "most", VALUES_OF_A_CANDIDATE])
    )


def _batch_first(graph: onnx.GraphProto, output: str, width: int) -> None:
    """Let a head give (batch, cells, width), whatever order its export has: (batch, h, w, ...) is what it means."""
    by_output = {name: node for node in graph.node for name in node.output}
    node = by_output[output]
    if node.op_type == "Sigmoid":
        node = by_output[node.input[0]]
    transpose = by_output.get(node.input[0])
    if node.op_type != "Reshape" or transpose is None or transpose.op_type != "Transpose":
        raise PackError(f"its output {output} is not a transposed and reshaped head")
    del transpose.attribute[:]
    transpose.attribute.append(helper.make_attribute("perm", [0, 2, 3, 1]))
    shape = f"{output}_shape"
    _constant(graph, shape, np.array([0, -1, width]))
    node.input[1] = shape


def _free_batch(model: onnx.ModelProto) -> None:
    """Let the network take any number of pictures."""
    graph = model.graph
    known = _known_sizes(model)
    # The recorded shapes of inner values speak of a batch of one.
    del graph.value_info[:]
    free_reshapes(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Resize" and len(node.input) == 4 and node.input[3] in constants:
            _scale_instead(graph, node, known[node.input[0]], numpy_helper.to_array(constants[node.input[3]]))
    for entry in (*graph.input, *graph.output):
        if entry.type.tensor_type.shape.dim:
            entry.type.tensor_type.shape.dim[0].Clear()
            entry.type.tensor_type.shape.dim[0].dim_param = "batch"


def _scale_instead(
    graph: onnx.GraphProto, node: onnx.NodeProto, size: Sequence[int], target: NDArray[np.int64]
) -> None:
    """Let a Resize to a fixed size, batch included, enlarge by as much instead."""
    name = f"{node.output[0]}_scales"
    _constant(graph, name, (target / np.array(size)).astype(np.float32))
    node.input[2] = name
    del node.input[3]


def _known_sizes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Shapes of inner values, as far as they are fixed."""
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    return {value.name: [one.dim_value for one in value.type.tensor_type.shape.dim] for value in inferred}


def _dimension(one: onnx.TensorShapeProto.Dimension) -> str | int:
    return one.dim_value if one.HasField("dim_value") else one.dim_param


def _constant(graph: onnx.GraphProto, name: str, value: NDArray[np.generic]) -> None:
    graph.initializer.append(numpy_helper.from_array(value, name))


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    onnx.checker.check_model(model)
    return model
