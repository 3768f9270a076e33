"""The one way from a run to a bundle, and its ONNX files.

PyTorch modules to ONNX files under the bundle's contract.

The one way from a finished run to a bundle: ONNX, INT8 behind its gate, calibrated, measured.

Kinds of runs differ in the parts that they bring: `default` (the default bundle's own training),
`image` (systems of single images) and `clip` (systems of whole clips).
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from ferstream.calibration.heads import LabelledFaces, calibrated, hold_enough, with_coverage
from ferstream.calibration.quantize import (
    CalibrationData,
    Options,
    int8_tried,
    kept_files,
    stored,
    taken,
)
from ferstream.engines.bundle import Bundle, write_bundle
from ferstream.engines.contract import NetworkSpec
from ferstream.engines.manifest import Manifest

from ..errors import OptionsWrong, RunMismatch
from ..learning.system import finished_run

OPSET = 20
_MOST_STEPS = 1024


def write_graphs(
    modules: Mapping[str, nn.Module], specs: Mapping[str, NetworkSpec], folder: Path
) -> dict[str, Path]:
    """A bundle's networks as ONNX files in float, by file name; older ones in the folder go."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.onnx"):
        old.unlink()
    for network, spec in specs.items():
        onnx_from_network(modules[network], spec, folder / f"{network}.onnx")
    return {file.name: file for file in sorted(folder.glob("*.onnx"))}


def onnx_from_network(module: nn.Module, spec: NetworkSpec, path: Path) -> None:
    """Write a module under its contract, from which inputs, outputs and free sizes are taken."""
    onnx_from_module(
        module,
        {name: torch.from_numpy(array) for name, array in spec.example(B=2, T=5).items()},
        tuple(tensor.name for tensor in spec.outputs),
        path,
        free={
            tensor.name: {at: size for at, size in enumerate(tensor.shape) if isinstance(size, str)}
            for tensor in spec.inputs
        },
    )


def onnx_from_module(
    module: nn.Module,
    inputs: dict[str, Tensor],
    outputs: tuple[str, ...],
    path: Path,
    *,
    free: dict[str, dict[int, str]],
    steps: dict[str, int] | None = None,
    half: bool = True,
) -> None:
    """Write a module as ONNX; ``free`` names each input's free dimensions by number, ``steps``
    what those of some names are multiples of.

    Large weights are stored in half precision unless ``half`` is taken back.
    """
    stepped = {
        name: step * torch.export.Dim(name, min=1, max=_MOST_STEPS)
        for name, step in (steps or {}).items()
    }
    dynamic = {
        name: {axis: stepped.get(letter, torch.export.Dim.DYNAMIC) for axis, letter in axes.items()}
        for name, axes in free.items()
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # Without gradients there is less to trace.
    with warnings.catch_warnings(), torch.no_grad():
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


FRAMES = ("mean", "attention")
"""How an image system's bundle puts the frames of a clip together."""
ASSEMBLY = "assembly.json"
"""In the run's folder: how its bundle was put together."""


@dataclass(frozen=True)
class Parts:
    """What a run brings to its bundle. The functions are called in their turn, so that the data
    are read once the networks are written.

    Args:
        manifest: what the bundle says of itself before anything is measured.
        modules: the networks by their names in the manifest, each under its contract.
        quantized_with: the bundle of float networks to what each network is quantized with.
        faces: validation or test faces, for calibration and for the coverage of prediction sets.
        measured: the finished bundle's figures on the test faces, for the manifest.
        options: how INT8 forms are made, and what they may cost.
        report: how the networks were put together.
    """

    manifest: Manifest
    modules: Mapping[str, nn.Module]
    quantized_with: Callable[[Bundle], dict[str, CalibrationData]]
    faces: Callable[[str], LabelledFaces]
    measured: Callable[[Bundle], dict[str, Any]]
    options: Options = field(default_factory=Options)
    report: dict[str, Any] = field(default_factory=dict)


def export(
    run: Path,
    out: Path,
    folder: str | None,
    *,
    frames: str = "mean",
    options: Options | None = None,
) -> tuple[Bundle, dict[str, Any]]:
    """A run's networks as a calibrated, quantized, measured bundle, and how it was put together.

    Args:
        run: folder of a finished training.
        out: folder of the bundle.
        folder: of the data.
        frames: one of FRAMES; the attention is learned first where the run has none yet.
        options: how INT8 forms are made, instead of the kind's own.

    Raises:
        RunUnfinished: the run was not trained to its end.
        RunMismatch: the data is not what it was trained on.
        OptionsWrong: a taxonomy file that lacks a label, or another kind of ``frames``.
        SamplesUnfit: too few validation faces; nothing is written then.
        BundleUnwritten: no right to write there, or no room.
    """
    parts = parts_of(run, folder, frames)
    validation = parts.faces("validation")
    hold_enough(validation)
    files = write_graphs(parts.modules, parts.manifest.networks, run / "onnx")
    bundle = write_bundle(out, parts.manifest, dict(files))
    data = parts.quantized_with(bundle)
    bundle, verdicts = with_int8(bundle, data, options or parts.options)
    bundle = with_probabilities(bundle, validation)
    manifest = with_coverage(bundle, parts.faces("test"))
    measured = json.loads(json.dumps(parts.measured(bundle)))
    bundle = stored(out, replace(manifest, measured=measured), kept_files(bundle))
    report = {**parts.report, "int8": verdicts}
    (run / ASSEMBLY).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return bundle, report


def parts_of(run: Path, folder: str | None, frames: str) -> Parts:
    """What a run of any kind brings; see `export` for what is raised."""
    if frames not in FRAMES:
        raise OptionsWrong(f"frames {frames!r}: there are {', '.join(FRAMES)}")
    system, opened = finished_run(run)
    options = system.options.from_json(opened.about["options"])
    data = system.data(options, folder)
    now, was = data.about()["fingerprint"], opened.about["data"]["fingerprint"]
    if now != was:
        raise RunMismatch(
            f"{run} was trained on data with the fingerprint {was}, {options.faces} here has "
            f"{now}: name the folder it was trained on with --data"
        )
    if system.parts is not None:
        parts: Parts = system.parts(system, opened, options, data)
        return parts
    from .image import image_parts

    return image_parts(system, opened, options, data, frames)


def with_int8(
    bundle: Bundle, data: Mapping[str, CalibrationData], options: Options
) -> tuple[Bundle, dict[str, Any]]:
    """The bundle with the INT8 forms that pass the gate, and the gate's verdict on each network."""
    tried = [int8_tried(bundle, network, given, options) for network, given in data.items()]
    written = taken(bundle, bundle.path, "int8", tried, data, options)
    return written or bundle, {form.network: form.verdict.to_json() for form in tried}


def with_probabilities(bundle: Bundle, faces: LabelledFaces) -> Bundle:
    """The bundle with calibrators and prediction sets fitted to its deployed engines' outputs."""
    return stored(bundle.path, calibrated(bundle, faces), kept_files(bundle))
