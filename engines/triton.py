"""A bundle as a model repository for NVIDIA's Triton Inference Server.

    DIR/pipeline.json            how a client puts the models together
    DIR/<name>_spatial/          config.pbtxt, 1/model.onnx or 1/model.plan, label files
    DIR/<name>_temporal/  DIR/<name>_fusion/
    DIR/<name>_clip/             an ensemble: temporal and fusion in one request

Requests of many clients are batched by the server. What a clip remembers between frames stays
with the client, so that any server can answer any request.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bundle import Bundle
from .contract import NetworkSpec, TensorSpec, heard_input
from .errors import EnginesError, EngineUnavailable, PlanUnwritten
from .manifest import NETWORKS

SCHEMA = 1
FORMS = ("onnx", "plan")
"""What the repository's models are: ONNX files, or TensorRT plans of this machine."""

_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32", "float16": "TYPE_FP16"}
_VARIABLE = -1
_QUEUE_US = 1000
_PIPELINE = "pipeline.json"

Fields = Mapping[str, Any]
"""A message: names to numbers, texts, enum words (`Word`), messages, or lists of these."""


@dataclass(frozen=True)
class Word:
    """An enum's value, written without quotes."""

    text: str


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
                for network in NETWORKS
            ]
            batches = [_batch_of(fresh / name) for name in names]
            names.append(_write_ensemble(fresh, bundle, min(batches)))
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


def pbtxt(fields: Fields, depth: int = 0) -> str:
    """A message in protobuf's text format."""
    lines = []
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            lines.append("  " * depth + f"{name}{_value(item, depth)}")
    return "\n".join(lines)


def _write_model(
    fresh: Path, bundle: Bundle, network: str, form: str, precision: str, max_batch: int
) -> str:
    name = model_name(bundle, network)
    spec = bundle.manifest.networks[network]
    version = fresh / name / "1"
    version.mkdir(parents=True)
    config: dict[str, Any] = {"name": name}
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
    preferred = [size for size in (4, 8, 16, 32, 64) if size <= max_batch]
    config["dynamic_batching"] = {
        "preferred_batch_size": preferred,
        "max_queue_delay_microseconds": _QUEUE_US,
    }
    if form == "plan":
        config["instance_group"] = [{"kind": Word("KIND_GPU"), "count": 1}]
        config["optimization"] = {"cuda": {"graphs": True}}
    (fresh / name / "config.pbtxt").write_text(pbtxt(config) + "\n", "utf-8")
    return name


def _write_ensemble(fresh: Path, bundle: Bundle, max_batch: int) -> str:
    """Motion and features in, a clip's scores out: the temporal scores go to fusion inside."""
    name = model_name(bundle, "clip")
    temporal, fusion = (bundle.manifest.networks[part] for part in ("temporal", "fusion"))
    (fresh / name / "1").mkdir(parents=True)  # a version without a file, as Triton wants it
    heard = {tensor.name: f"motion_{tensor.name}" for tensor in temporal.outputs}
    taken = {heard_input(head): between for head, between in heard.items()}
    given = [tensor for tensor in fusion.inputs if tensor.name not in taken]
    config = {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": max_batch,
        "input": [_tensor(tensor) for tensor in (*temporal.inputs, *given)],
        "output": [_tensor(tensor) for tensor in fusion.outputs],
        "ensemble_scheduling": {
            "step": [
                _step(bundle, temporal, {}, heard),
                _step(bundle, fusion, taken, {}),
            ]
        },
    }
    (fresh / name / "config.pbtxt").write_text(pbtxt(config) + "\n", "utf-8")
    return name


def _step(
    bundle: Bundle, spec: NetworkSpec, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> dict[str, Any]:
    """One model of the ensemble; tensors keep their names unless told otherwise."""

    def named(tensors: Sequence[TensorSpec], names: Mapping[str, str]) -> list[dict[str, str]]:
        return [{"key": t.name, "value": names.get(t.name, t.name)} for t in tensors]

    return {
        "model_name": model_name(bundle, spec.name),
        "model_version": _VARIABLE,
        "input_map": named(spec.inputs, inputs),
        "output_map": named(spec.outputs, outputs),
    }


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    """A tensor without its batch axis, which Triton adds."""
    dims = [_VARIABLE if isinstance(size, str) else size for size in tensor.shape[1:]]
    return {"name": tensor.name, "data_type": Word(_TYPES[tensor.dtype]), "dims": dims}


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
        "steps": [
            {
                "model": model_name(bundle, "spatial"),
                "per": "face and frame",
                "feed": f"crop: {manifest.crop.colour}, {manifest.crop.px} px, aligned as "
                f"{manifest.crop.template}",
                "keep": f"feature: of each face the last {manifest.clip_frames} at most, no older "
                f"than {manifest.clip_duration_s:g} s, oldest first",
            },
            {
                "model": model_name(bundle, "clip"),
                "per": "face, as often as scores are wanted",
                "feed": f"motion: {manifest.motion.fields} fields {manifest.motion.gap_s:g} s "
                f"apart, {manifest.motion.px} px, zeros where there are none; has_motion: 1 or 0; "
                "feature: what was kept; mask: 1 where a feature is, 0 where the clip is empty",
                "keep": "nothing",
            },
        ],
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
        "independent one a sigmoid for each label; a scale holds values. The manifest of the "
        "bundle may hold a finer calibrator.",
    }


def _value(item: Any, depth: int) -> str:
    if isinstance(item, Mapping):
        return " {\n" + pbtxt(item, depth + 1) + "\n" + "  " * depth + "}"
    if isinstance(item, Word):
        return f": {item.text}"
    if isinstance(item, bool):
        return f": {str(item).lower()}"
    return f": {json.dumps(item)}"


def _ours(place: Path) -> bool:
    return (place / _PIPELINE).is_file()
