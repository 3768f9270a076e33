"""PyTorch modules to ONNX files under the bundle's contract."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from .networks.compact_msau import CompactMSAU
from .networks.fusion import Fusion, FusionOutput
from .networks.motion_net import MotionNet, MotionScores

OPSET = 20
SPATIAL_OUTPUTS = ("feature", "basic8", "emo135", "au", "zoom", "affect", "fg33")


class SpatialGraph(nn.Module):
    """`CompactMSAU` of judged faces with blendshapes under the contract: these as probabilities.

    A crop is judged together with its mirror image: feature and scores are means over both, which
    steadies them for the price of a second pass. Action units know left from right and zoom has a
    place, so both are the crop's own.
    """

    def __init__(self, network: CompactMSAU) -> None:
        super().__init__()
        self.network = network

    def forward(self, crop: Tensor) -> tuple[Tensor, ...]:
        """In the order of SPATIAL_OUTPUTS."""
        # TensorRT takes bytes into nothing but a cast.
        crop = crop.float()
        out = self.network(torch.cat([crop, crop.flip(3)]))
        feature, basic8, emo135, affect, fg33 = (
            both.reshape(2, -1, both.shape[1]).mean(0)
            for both in (
                out.feature,
                out.logits,
                out.judged.words,
                out.judged.affect,
                out.judged.fine,
            )
        )
        units, zoom = (
            both.reshape(2, -1, both.shape[1])[0] for both in (out.blendshapes, out.zoom)
        )
        return feature, basic8, emo135, torch.sigmoid(units), zoom, affect, fg33


def onnx_from_module(
    module: nn.Module,
    inputs: dict[str, Tensor],
    outputs: tuple[str, ...],
    path: Path,
    *,
    free: dict[str, dict[int, str]],
    half: bool = True,
) -> None:
    """Write a module as ONNX; ``free`` names each input's free dimensions by number.

    Large weights are stored in half precision unless ``half`` is taken back.
    """
    dynamic = {
        name: {axis: torch.export.Dim.DYNAMIC for axis in axes} for name, axes in free.items()
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval().float().cpu(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"exporting {path.name} gave no program")
    program.save(str(path), external_data=False)
    forget_origin(path)
    if half:
        store_weights_in_half(path)


def onnx_from_spatial(network: CompactMSAU, path: Path) -> None:
    """crop (B, 1, 48, 48) uint8 to SPATIAL_OUTPUTS."""
    crop = torch.randint(0, 255, (2, 1, 48, 48), dtype=torch.uint8)
    onnx_from_module(
        SpatialGraph(network),
        {"crop": crop},
        SPATIAL_OUTPUTS,
        path,
        free={"crop": {0: "B"}},
    )


def onnx_from_temporal(network: MotionNet, path: Path) -> None:
    """motion (B, 2F, 32, 32) to basic8, emo135 and affect."""
    motion = torch.randn(2, 2 * network.fields, 32, 32)
    onnx_from_module(
        network, {"motion": motion}, MotionScores._fields, path, free={"motion": {0: "B"}}
    )


def onnx_from_fusion(network: Fusion, path: Path) -> None:
    """feature (B, T, D), mask (B, T), has_motion (B, 1) and temporal scores to `FusionOutput`."""
    features = network.basic8.in_features
    inputs = {
        "feature": torch.randn(2, 5, features),
        "mask": torch.ones(2, 5),
        "temporal": torch.randn(2, 8),
        "has_motion": torch.ones(2, 1),
        "temporal_emo135": torch.randn(2, 135),
        "temporal_affect": torch.rand(2, 3),
    }
    onnx_from_module(
        network,
        inputs,
        FusionOutput._fields,
        path,
        free={
            name: {0: "B", 1: "T"} if name in ("feature", "mask") else {0: "B"} for name in inputs
        },
    )


def forget_origin(path: Path) -> None:
    """Rewrite an ONNX file without the exporter's stack traces, which name this machine's paths."""
    model = onnx.load(str(path))
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
    for weight in graph.initializer:
        weight.ClearField("metadata_props")
    onnx.save(model, str(path))


def store_weights_in_half(path: Path, least: int = 256) -> None:
    """Rewrite an ONNX file so that large weights are stored as float16 and cast when loaded.

    Computation stays in float32 and engines fold the cast away; the file is half the size and
    the weights are rounded to 11 bits, far below what training determines.
    """
    model = onnx.load(str(path))
    graph = model.graph
    casts = []
    for weight in list(graph.initializer):
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < least:
            continue
        half = values.astype(np.float16)
        if not np.isfinite(half).all():
            continue
        stored = f"{weight.name}.half"
        graph.initializer.remove(weight)
        graph.initializer.append(onnx.numpy_helper.from_array(half, stored))
        casts.append(
            onnx.helper.make_node("Cast", [stored], [weight.name], to=onnx.TensorProto.FLOAT)
        )
    for index, cast in enumerate(casts):
        graph.node.insert(index, cast)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
