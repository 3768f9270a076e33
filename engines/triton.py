"""A bundle as a model repository for NVIDIA's Triton Inference Server.

    DIR/pipeline.json            how a client puts the models together
    DIR/<name>_spatial/          config.pbtxt, 1/model.onnx or 1/model.plan, label files
    DIR/<name>_temporal/  DIR/<name>_fusion/
    DIR/<name>_detector/ DIR/<name>_landmarks/   where the bundle has networks that find faces
    DIR/<name>_join/             a few lines of ONNX: the features of before, and the newest one
    DIR/<name>_frame/            an ensemble: all that is run for a face in a live frame, at once
    DIR/<name>_clip/             an ensemble: temporal and fusion, for windows about a past frame

Requests of many clients are batched by the server. What a clip remembers between frames stays
with the client, so that any server can answer any request.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .bundle import Bundle
from .contract import NetworkSpec, TensorSpec, motion_input
from .errors import EnginesError, EngineUnavailable, PlanUnwritten
from .graph import Declarations, Node, declared, model_of
from .manifest import NETWORKS

SCHEMA = 1
FORMS = ("onnx", "plan")
"""What the repository's models are: ONNX files, or TensorRT plans of this machine."""

_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32", "float16": "TYPE_FP16"}
_VARIABLE, _QUEUE_US, _PIPELINE = -1, 1000, "pipeline.json"

# What is used of model_config.proto of Triton's server. A map is a list of keys and values.
_MESSAGES: Declarations = {
    "ModelConfig": {
        "name": (1, "string", False),
        "platform": (2, "string", False),
        "max_batch_size": (4, "int32", False),
        "input": (5, "Tensor", True),
        "output": (6, "Tensor", True),
        "instance_group": (7, "InstanceGroup", True),
        "dynamic_batching": (11, "DynamicBatching", False),
        "optimization": (12, "Optimization", False),
        "ensemble_scheduling": (15, "Ensemble", False),
    },
    "Tensor": {
        "name": (1, "string", False),
        "data_type": (2, "DataType", False),
        "dims": (3, "int64", True),
        "label_filename": (4, "string", False),
    },
    "InstanceGroup": {"kind": (4, "Kind", False), "count": (2, "int32", False)},
    "DynamicBatching": {
        "preferred_batch_size": (1, "int32", True),
        "max_queue_delay_microseconds": (2, "uint64", False),
    },
    "Optimization": {"cuda": (3, "Cuda", False)},
    "Cuda": {"graphs": (1, "bool", False)},
    "Ensemble": {"step": (1, "Step", True)},
    "Step": {
        "model_name": (1, "string", False),
        "model_version": (2, "int64", False),
        "input_map": (3, "Entry", True),
        "output_map": (4, "Entry", True),
    },
    "Entry": {"key": (1, "string", False), "value": (2, "string", False)},
}
_ENUMS = {"DataType": tuple(_TYPES.values()), "Kind": ("KIND_GPU",)}


def write_repository(
    bundle: Bundle,
    folder: str | os.PathLike[str],
    *,
    form: str = "onnx",
    precision: str = "auto",
    max_batch: int = 32,
) -> list[str]:
    """Writes the repository, all or nothing, and gives the models' names.

    `precision` "auto" is int8 where the bundle has it (ONNX), or the fastest plan. A folder that
    is there must be empty or such a repository, which is replaced. Raises EngineUnavailable (no
    such form or precision, no GPU for plans), PlanMissing, PlanStale and PlanUnwritten.
    """
    if form not in FORMS:
        raise EngineUnavailable(f"there is no form {form!r} of a model; there are onnx, plan")
    place = Path(folder)
    if place.exists() and (not place.is_dir() or (any(place.iterdir()) and not _ours(place))):
        raise EnginesError(f"{place} is there and is no repository of ferstream: name another")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as work:
            fresh = Path(work) / "new"
            names = [
                _write_model(fresh, bundle, network, form, precision, max_batch)
                for network in bundle.manifest.held
            ]
            most = min(_batch_of(fresh / model_name(bundle, network)) for network in NETWORKS)
            names.append(_write_join(fresh, bundle, max_batch))
            names.append(_write_ensemble(fresh, bundle, "clip", _clip_steps(bundle), most))
            names.append(_write_ensemble(fresh, bundle, "frame", _frame_steps(bundle), most))
            text = json.dumps(_pipeline(bundle), indent=1, ensure_ascii=False) + "\n"
            (fresh / _PIPELINE).write_text(text, "utf-8")
            fresh.chmod(0o755)
            if place.exists():
                place.rename(Path(work) / "old")
            fresh.rename(place)
    except OSError as error:
        if isinstance(error, EnginesError):
            raise
        raise PlanUnwritten(f"{place} cannot be written: {error.strerror}") from error
    return names


def model_name(bundle: Bundle, part: str) -> str:
    """A model's name: the bundle's, in letters that Triton and file systems take, and the part."""
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in bundle.manifest.name)
    return f"{stem}_{part}"


def _write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """A model's config in protobuf's text format."""
    from google.protobuf import json_format, text_format

    message = declared("ferstream.triton", _MESSAGES, _ENUMS)["ModelConfig"]()
    text = text_format.MessageToString(json_format.ParseDict(config, message), as_utf8=True)
    (folder / "config.pbtxt").write_text(text, "utf-8")


def _write_model(
    fresh: Path, bundle: Bundle, network: str, form: str, precision: str, max_batch: int
) -> str:
    name = model_name(bundle, network)
    spec = bundle.manifest.networks[network]
    version = fresh / name / "1"
    version.mkdir(parents=True)
    config: dict[str, Any] = {"name": name}
    if network not in NETWORKS:
        # Those that find faces come in forms of their own: pictures have any size, plans do not.
        if precision not in bundle.precisions(network):
            precision = "auto"
        if not (spec.sized and bundle.suits_gpu(network)):
            form = "onnx"
    if form == "plan":
        data, max_batch = _plan(bundle, network, precision)
        (version / "model.plan").write_bytes(data)
        config |= {"platform": "tensorrt_plan", "max_batch_size": max_batch}
    else:
        shutil.copyfile(_onnx(bundle, network, precision), version / "model.onnx")
        config |= {"platform": "onnxruntime_onnx", "max_batch_size": max_batch}
    labels = {head.name: head.labels for head in bundle.manifest.heads}
    config["input"] = [_tensor(tensor) for tensor in spec.inputs]
    config["output"] = []
    for tensor in spec.outputs:
        fields = _tensor(tensor)
        if tensor.name in labels:
            fields["label_filename"] = f"{tensor.name}.txt"
            text = "\n".join(labels[tensor.name]) + "\n"
            (fresh / name / f"{tensor.name}.txt").write_text(text, "utf-8")
        config["output"].append(fields)
    config["dynamic_batching"] = _batching(max_batch)
    if form == "plan":
        config["instance_group"] = [{"kind": "KIND_GPU", "count": 1}]
        config["optimization"] = {"cuda": {"graphs": True}}
    _write_config(fresh / name, config)
    return name


def _write_join(fresh: Path, bundle: Bundle, max_batch: int) -> str:
    """The model that puts a frame's feature behind those of the frames before."""
    spec = _join(bundle)
    name = model_name(bundle, spec.name)
    version = fresh / name / "1"
    version.mkdir(parents=True)
    nodes = [
        Node("Unsqueeze", ["feature", "time"], "newest"),
        Node("Concat", ["history", "newest"], "joined", {"axis": 1}),
    ]
    (version / "model.onnx").write_bytes(model_of(spec, nodes, {"time": np.array([1], np.int64)}))
    config = {
        "name": name,
        "platform": "onnxruntime_onnx",
        "max_batch_size": max_batch,
        "input": [_tensor(tensor) for tensor in spec.inputs],
        "output": [_tensor(tensor) for tensor in spec.outputs],
        "dynamic_batching": _batching(max_batch),
    }
    _write_config(fresh / name, config)
    return name


def _join(bundle: Bundle) -> NetworkSpec:
    """What it takes and gives: features of T frames and one more."""
    feature = _feature(bundle)
    width = feature.shape[-1]
    return NetworkSpec(
        "join",
        (TensorSpec("history", "float32", ("B", "T", width)), feature),
        (TensorSpec("joined", "float32", ("B", "S", width)),),
    )


def _feature(bundle: Bundle) -> TensorSpec:
    return next(t for t in bundle.manifest.networks["spatial"].outputs if t.name == "feature")


@dataclass(frozen=True)
class _Step:
    """A model of an ensemble; its tensors keep their names but for those that are told."""

    spec: NetworkSpec
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def _clip_steps(bundle: Bundle) -> list[_Step]:
    """Motion and features in, a clip's scores out: the temporal scores go to fusion inside."""
    temporal, fusion = (bundle.manifest.networks[part] for part in ("temporal", "fusion"))
    wanted = {tensor.name for tensor in fusion.inputs}
    read = tuple(tensor for tensor in temporal.outputs if motion_input(tensor.name) in wanted)
    between = {tensor.name: f"motion_{tensor.name}" for tensor in read}
    heard = {motion_input(head): name for head, name in between.items()}
    return [_Step(replace(temporal, outputs=read), {}, between), _Step(fusion, heard, {})]


def _frame_steps(bundle: Bundle) -> list[_Step]:
    """A face's crop, its features of before and its motion in; out its newest feature, what this
    frame alone says (`frame_...`) and what the window up to it says."""
    spatial = bundle.manifest.networks["spatial"]
    temporal, fusion = _clip_steps(bundle)
    fused = {tensor.name for tensor in fusion.spec.outputs}
    own = {t.name: f"frame_{t.name}" for t in spatial.outputs if t.name in fused}
    return [
        _Step(spatial, {}, own),
        _Step(_join(bundle), {}, {}),
        temporal,
        _Step(fusion.spec, {**fusion.inputs, "feature": "joined"}, {}),
    ]


def _write_ensemble(
    fresh: Path, bundle: Bundle, part: str, steps: Sequence[_Step], max_batch: int
) -> str:
    """Models that feed each other. Who asks gives what no step makes, and gets what none of them
    takes, and the newest feature, which it has to keep."""
    name = model_name(bundle, part)
    (fresh / name / "1").mkdir(parents=True)  # a version without a file, as Triton wants it
    taken = {step.inputs.get(t.name, t.name): t for step in steps for t in step.spec.inputs}
    made = {step.outputs.get(t.name, t.name): t for step in steps for t in step.spec.outputs}
    given = {name: tensor for name, tensor in taken.items() if name not in made}
    told = {name: t for name, t in made.items() if name not in taken or name == "feature"}
    config = {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": max_batch,
        "input": [{**_tensor(tensor), "name": name} for name, tensor in given.items()],
        "output": [{**_tensor(tensor), "name": name} for name, tensor in told.items()],
        "ensemble_scheduling": {
            "step": [
                {
                    "model_name": model_name(bundle, step.spec.name),
                    "model_version": _VARIABLE,
                    "input_map": _map(step.spec.inputs, step.inputs),
                    "output_map": _map(step.spec.outputs, step.outputs),
                }
                for step in steps
            ]
        },
    }
    _write_config(fresh / name, config)
    return name


def _map(tensors: Sequence[TensorSpec], names: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": t.name, "value": names.get(t.name, t.name)} for t in tensors]


def _batching(max_batch: int) -> dict[str, Any]:
    return {
        "preferred_batch_size": [size for size in (4, 8, 16, 32, 64) if size <= max_batch],
        "max_queue_delay_microseconds": _QUEUE_US,
    }


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    """A tensor without its batch axis, which Triton adds."""
    dims = [_VARIABLE if isinstance(size, str) else size for size in tensor.shape[1:]]
    return {"name": tensor.name, "data_type": _TYPES[tensor.dtype], "dims": dims}


def _onnx(bundle: Bundle, network: str, precision: str) -> Path:
    have = bundle.precisions(network)
    if precision == "auto":
        precision = "int8" if "int8" in have else "fp32"
    file = bundle.network_file(network, precision)
    if file is None:
        raise EngineUnavailable(
            f"bundle {bundle.manifest.name} has {network} in {', '.join(have)}, not in "
            f"{precision!r}; ask for one of these or for auto"
        )
    return file


def _plan(bundle: Bundle, network: str, precision: str) -> tuple[bytes, int]:
    """A plan of this machine and the greatest batch it takes."""
    from .cuda import probe
    from .plan import fastest_precision, read_plan
    from .trt_log import load_tensorrt

    gpu, version = probe(), load_tensorrt().__version__
    if precision == "auto":
        precision = fastest_precision(bundle, network, gpu, version)
    plan = read_plan(bundle, network, precision, gpu, version)
    return plan.data, plan.sidecar.options["max_batch"]


def _batch_of(model: Path) -> int:
    lines = (model / "config.pbtxt").read_text("utf-8").splitlines()
    return next(int(line.split(":")[1]) for line in lines if line.startswith("max_batch_size:"))


def _pipeline(bundle: Bundle) -> dict[str, Any]:
    """What a client does between the models, with the bundle's own numbers."""
    manifest = bundle.manifest
    return {
        "schema": SCHEMA,
        "bundle": f"{manifest.name} {manifest.version}",
        "licence": manifest.licence,
        "steps": _client_steps(bundle),
        "heads": {
            head.name: {
                "labels": list(head.labels),
                "supervision": head.supervision,
                "kind": head.kind,
                "temperature": head.temperature,
                "note": head.note,
            }
            for head in manifest.heads
        },
        "fusion": manifest.fusion,
        "outputs": "logits: of an exclusive head divided by its temperature, softmax; of an "
        "independent one a sigmoid for each, if the manifest has no calibrator; a scale as it is",
    }


def _client_steps(bundle: Bundle) -> list[dict[str, str]]:
    """Which models are asked, how often, with what."""
    manifest = bundle.manifest
    motion, spacing_s = manifest.motion, manifest.clip_duration_s / manifest.clip_frames
    weight = "1"
    if manifest.clip_recency_s:
        weight = f"e^(-its age, seen from the newest / {manifest.clip_recency_s:g} s)"
    counts = f"mask: {weight} of each frame, 0 where there is none"
    moved = (
        f"motion: {motion.fields} fields {motion.gap_s:g} s apart, {motion.px} px, face widths per "
        "second, oldest first, zeros where there are none; has_motion: 0 without motion or up to a "
        f"mean speed of {motion.still:g}, 1 from {motion.moving:g} on, between these in proportion"
    )
    face = manifest.crop
    turns = ", of every second frame of a face mirrored" if manifest.mirrored else ""
    crop = f"crop: {face.colour}, {face.px} px, aligned as {face.template}{turns}"
    kept = (
        f"feature: of each face the last {manifest.clip_frames} at most, no older than "
        f"{manifest.clip_duration_s:g} s, oldest first; one less than {spacing_s:g} s after the "
        "one before it makes way for the next"
    )
    return [
        {
            "model": model_name(bundle, "frame"),
            "per": "face and live frame; it runs all networks that read faces",
            "feed": f"{crop}; history: the features that were kept, in front of them rows of "
            f"{_feature(bundle).shape[-1]} zeros, one at least and as many as make all requests "
            f"equally long, for the server to batch; {counts}, and 1 for this frame; {moved}",
            "keep": kept,
        },
        {
            "model": model_name(bundle, "spatial"),
            "per": "face and frame of a recording, which is read with what comes after it",
            "feed": crop,
            "keep": "feature: of every frame within the window",
        },
        {
            "model": model_name(bundle, "clip"),
            "per": "face and frame of a recording, once what follows it is there",
            "feed": f"{moved}; feature: of the frames about this one; {counts}",
            "keep": "nothing",
        },
    ]


def _ours(place: Path) -> bool:
    return (place / _PIPELINE).is_file()
