"""Tiny networks that keep the contract, made node by node, and a bundle of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, checker, helper, numpy_helper

from ferstream.engines import contract
from ferstream.engines.bundle import Bundle, write_bundle
from ferstream.engines.manifest import Crop, Head, Manifest, Motion
from ferstream.engines.taxonomy import Taxonomy, load_taxonomy

FEATURES, CROP_PX, FIELDS, MOTION_PX, UNITS = 6, 8, 2, 4, 52

SPECS = {
    "spatial": contract.spatial(FEATURES, crop_px=CROP_PX),
    "temporal": contract.temporal(FIELDS, motion_px=MOTION_PX),
    "fusion": contract.fusion(FEATURES),
}
_TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


def bundle(path: Path, **changes: Any) -> Bundle:
    """A bundle of the three networks, the spatial one also under the name of int8."""
    files = {f"{name}.onnx": network(name) for name in SPECS}
    return write_bundle(
        path, manifest(**changes), {**files, "spatial.int8.onnx": network("spatial")}
    )


def manifest(**changes: Any) -> Manifest:
    """What the tiny bundle says of itself; any field can be replaced."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "heads": (
            _head(load_taxonomy("basic8"), "trained"),
            _head(load_taxonomy("emo135"), "weakly supervised"),
            _head(load_taxonomy("fg33"), "derived"),
            Head("au", tuple(f"au{n}" for n in range(UNITS)), (), "trained", 1.0),
        ),
        "crop": Crop(CROP_PX, "grey", "eyes-and-nose"),
        "clip_duration_s": 2.0,
        "clip_frames": 8,
        "motion": Motion(MOTION_PX, FIELDS, 0.1),
        "networks": SPECS,
        "fusion": {"weight": 0.6},
        "measured": {"basic8": {"top1": 0.125}},
        "training_data": "none",
        "licence": "Apache-2.0",
    }
    return Manifest(**{**fields, **changes})


def network(name: str, seed: int = 0) -> bytes:
    """A serialised ONNX network of this name with random weights."""
    build = {"spatial": _spatial, "temporal": _temporal, "fusion": _fusion}[name]
    graph = _Graph(seed)
    build(graph)
    return graph.serialised(SPECS[name])


def _head(taxonomy: Taxonomy, supervision: Any) -> Head:
    families = tuple("" if at < 0 else taxonomy.families[at] for at in taxonomy.family_of)
    return Head(taxonomy.name, taxonomy.labels, families, supervision, 1.5)


class _Graph:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, array: npt.ArrayLike) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def linear(self, source: str, size: int, output: str, width: int) -> str:
        weight = self.random.normal(0, size**-0.5, (size, width)).astype(np.float32)
        return self.add("MatMul", [source, self.constant(f"{output}_w", weight)], output)

    def serialised(self, spec: contract.NetworkSpec) -> bytes:
        inputs, outputs = (
            [helper.make_tensor_value_info(t.name, _TYPES[t.dtype], t.shape) for t in tensors]
            for tensors in (spec.inputs, spec.outputs)
        )
        graph = helper.make_graph(self.nodes, spec.name, inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", 20)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        checker.check_model(model)
        return bytes(model.SerializeToString())


def _spatial(graph: _Graph) -> None:
    graph.add("Cast", ["crop"], "level", to=TensorProto.FLOAT)
    graph.add("Div", ["level", graph.constant("white", np.float32(255))], "bright")
    graph.add("Flatten", ["bright"], "flat")
    graph.linear("flat", CROP_PX**2, "feature", FEATURES)
    graph.linear("feature", FEATURES, "basic8", 8)
    graph.linear("feature", FEATURES, "emo135", 135)
    graph.add("Sigmoid", [graph.linear("feature", FEATURES, "au_logit", UNITS)], "au")
    graph.add("Sigmoid", [graph.linear("feature", FEATURES, "zoom_logit", 2)], "zoom")


def _temporal(graph: _Graph) -> None:
    graph.add("Flatten", ["motion"], "flat")
    graph.linear("flat", 2 * FIELDS * MOTION_PX**2, "basic8", 8)


def _fusion(graph: _Graph) -> None:
    graph.linear("feature", FEATURES, "weight", 1)
    last = graph.constant("last", np.array([-1]))
    graph.add("Squeeze", ["weight", last], "score")
    graph.add("Sub", ["mask", graph.constant("one", np.float32(1))], "hole")
    graph.add("Mul", ["hole", graph.constant("far", np.float32(1e9))], "away")
    graph.add("Add", ["score", "away"], "masked")
    graph.add("Softmax", ["masked"], "attention", axis=-1)
    graph.add("Unsqueeze", ["attention", graph.constant("middle", np.array([1]))], "row")
    graph.add("MatMul", ["row", "feature"], "pooled")
    graph.add("Squeeze", ["pooled", "middle"], "clip")
    graph.linear("clip", FEATURES, "emo135", 135)
    graph.linear("clip", FEATURES, "still", 8)
    graph.add("Mul", ["has_motion", "temporal"], "moving")
    graph.add("Add", ["still", "moving"], "basic8")
