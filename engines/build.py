"""ONNX to TensorRT: one network's plan, built, tried against ONNX Runtime and kept if it holds.

The network is strongly typed: every layer computes in the type its ONNX file says, so precision is
a property of the file (FP16 types, Q/DQ nodes) and the builder has no say in it.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .bundle import PRECISIONS, Bundle
from .contract import NetworkSpec
from .cuda import Gpu, probe
from .device import Device, open_device
from .errors import BuildFailed, EngineUnavailable, PlanMissing, PlanStale
from .errors import OutOfDeviceMemory as OutOfMemory
from .manifest import NETWORKS
from .plan import Sidecar, locked, machine_folder, onnx_hash, read_plan, write_plan, write_whole
from .trial import Trial, try_plan
from .trt_log import (
    is_out_of_memory,
    last_error,
    load_tensorrt,
    log_summary,
    make_log,
    make_monitor,
    plan_layers,
)

Progress = Callable[[str, float], None]
"""Told what is being done and how far it is, 0 to 1."""

_TIMING_CACHE = "timing.cache"


@dataclass(frozen=True)
class BuildOptions:
    """What a plan is built for. Raises ValueError where the sizes do not go together."""

    max_batch: int = 32
    """Faces at once, at most; larger batches go through in parts."""
    opt_batch: int = 16
    """The batch that kernels are chosen for."""
    workspace_mb: int = 1024
    """Memory that a kernel may use while it works."""

    def __post_init__(self) -> None:
        if not 1 <= self.opt_batch <= self.max_batch or self.workspace_mb < 1:
            raise ValueError(
                f"batches of 1 <= {self.opt_batch} <= {self.max_batch} and a workspace of "
                f"{self.workspace_mb} MB are asked for: --opt-batch may not exceed --max-batch, "
                "and all are at least 1"
            )


@dataclass(frozen=True)
class Built:
    """What came of one network in one precision."""

    network: str
    precision: str
    state: str
    """built, current (was there and holds) or failed."""
    note: str
    """Why it failed; for a plan, its speed and difference."""
    sidecar: Sidecar | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


def build_bundle(
    bundle: Bundle,
    precision: str = "auto",
    options: BuildOptions | None = None,
    *,
    force: bool = False,
    progress: Progress = lambda what, share: None,
    device: Device | None = None,
) -> Iterator[Built]:
    """Builds a bundle's plans for this GPU, one after the other; current ones are left alone.

    "auto" is every precision the bundle has: the engine then opens what ran fastest. A network
    that fails in one precision is told of and the others go on; EnginesErrors that concern all of
    them (no GPU, no TensorRT, a folder that cannot be written, no such precision) are raised.
    """
    options = options or BuildOptions()
    gpu, trt = probe(), load_tensorrt()
    forms = list(_forms(bundle, precision))
    device = device or open_device()
    folder = machine_folder(bundle, gpu, trt.__version__)
    with locked(folder):
        for network, form in forms:
            progress(f"{network} {form}", 0.0)
            known = _current(bundle, network, form, gpu, trt.__version__, options)
            if known and not force:
                yield Built(network, form, "current", _told(known), known)
                continue
            try:
                sidecar = _build(bundle, network, form, gpu, trt, options, folder, progress, device)
            except (BuildFailed, OutOfMemory, EngineUnavailable) as error:
                yield Built(network, form, "failed", str(error))
            else:
                yield Built(network, form, "built", _told(sidecar), sidecar)


def plan_from_onnx(
    trt: Any,
    onnx: bytes,
    spec: NetworkSpec,
    frames: int,
    options: BuildOptions,
    *,
    log: Any,
    timing: bytes = b"",
    progress: Progress = lambda what, share: None,
) -> tuple[bytes, bytes, dict[str, list[list[int]]]]:
    """The plan, the timing cache after it, and the profile's shapes.

    `frames` is the longest clip, T. Raises BuildFailed (naming the operator) and
    OutOfDeviceMemory.
    """
    builder = trt.Builder(log)
    flag = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx):
        raise BuildFailed(f"TensorRT {trt.__version__} cannot read {spec.name}: {_fault(parser)}")
    wanted = {tensor.name for tensor in spec.outputs}
    for index in reversed(range(network.num_outputs)):
        if network.get_output(index).name not in wanted:
            network.unmark_output(network.get_output(index))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # TF32 keeps ten bits of a float's fraction; fp32 is to mean what it says.
    config.clear_flag(trt.BuilderFlag.TF32)
    shapes = _profile(spec, frames, options)
    profile = builder.create_optimization_profile()
    for name, (low, best, high) in shapes.items():
        profile.set_shape(name, tuple(low), tuple(best), tuple(high))
    if config.add_optimization_profile(profile) < 0:
        raise BuildFailed(f"TensorRT refuses the shapes of {spec.name}: {last_error(log)}")
    # A cache of another TensorRT or GPU is refused, and the measuring starts anew.
    if not config.set_timing_cache(config.create_timing_cache(timing), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)
    monitor = make_monitor(trt, progress)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor.stopped_by is not None:
        raise monitor.stopped_by
    if plan is None:
        if is_out_of_memory(log):
            raise OutOfMemory(
                f"out of device memory while building {spec.name}: close other programs on the "
                f"GPU, or use a smaller --max-batch (is {options.max_batch}) or --workspace-mb "
                f"(is {options.workspace_mb})"
            )
        raise BuildFailed(f"TensorRT {trt.__version__} builds no {spec.name}: {last_error(log)}")
    return bytes(plan), bytes(config.get_timing_cache().serialize()), shapes


def _build(
    bundle: Bundle,
    network: str,
    precision: str,
    gpu: Gpu,
    trt: Any,
    options: BuildOptions,
    folder: Path,
    progress: Progress,
    device: Device,
) -> Sidecar:
    """Builds one plan, tries it and puts it in place."""
    start_s = time.perf_counter()
    file, spec = bundle.network_file(network, precision), bundle.manifest.networks[network]
    assert file is not None
    frames = bundle.manifest.clip_frames
    log = make_log(trt)
    cache = folder / _TIMING_CACHE
    plan, timing, profile = plan_from_onnx(
        *(trt, file.read_bytes(), spec, frames, options),
        log=log,
        timing=cache.read_bytes() if cache.is_file() else b"",
        progress=lambda what, share: progress(f"{network} {precision}: {what}", share),
    )
    write_whole(cache, timing)
    layers = plan_layers(trt, plan, log)
    sidecar = Sidecar(
        network=network,
        precision=precision,
        gpu=gpu.name,
        capability=gpu.capability,
        tensorrt=trt.__version__,
        onnx_sha256=onnx_hash(bundle, network, precision) or "",
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        plan_bytes=len(plan),
        options={**asdict(options), "max_frames": frames},
        profile=profile,
        activation_bytes=0,
        difference=math.nan,
        median_ms=math.nan,
        build_s=0.0,
        log=log_summary(log),
        layer_precisions=dict(Counter(layer["type"] for layer in layers)),
        layers=layers,
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    progress(f"{network} {precision}: trying it", 1.0)
    trial: Trial = try_plan(plan, sidecar, file, spec, device)
    sidecar = trial.told(sidecar, build_s=time.perf_counter() - start_s)
    write_plan(folder, plan, sidecar)
    return sidecar


def _forms(bundle: Bundle, asked: str) -> Iterator[tuple[str, str]]:
    """Every (network, precision) to build; a precision asked for is fp32 where a network lacks it.

    EngineUnavailable where no network has it.
    """
    specs = bundle.manifest.networks
    networks = [n for n in bundle.manifest.held if specs[n].sized and bundle.suits_gpu(n)]
    if asked == "auto":
        yield from ((n, p) for n in networks for p in bundle.precisions(n))
        return
    if asked not in PRECISIONS or not any(asked in bundle.precisions(n) for n in NETWORKS):
        have = sorted({p for n in NETWORKS for p in bundle.precisions(n)}, key=PRECISIONS.index)
        raise EngineUnavailable(
            f"bundle {bundle.manifest.name} has {', '.join(have)}, not {asked!r}: precision is a "
            f"property of the ONNX file; make that form first (`ferstream calibrate {asked}`)"
            if asked in PRECISIONS
            else f"there is no precision {asked!r}; there are auto, {', '.join(PRECISIONS)}"
        )
    for network in networks:
        forms = bundle.precisions(network)
        yield network, next(form for form in (asked, "fp32", *forms) if form in forms)


def _current(
    bundle: Bundle, network: str, precision: str, gpu: Gpu, version: str, options: BuildOptions
) -> Sidecar | None:
    """The sidecar of a whole plan that is there and was built with these options."""
    try:
        sidecar = read_plan(bundle, network, precision, gpu, version).sidecar
    except (PlanMissing, PlanStale):
        return None
    wanted = {**asdict(options), "max_frames": bundle.manifest.clip_frames}
    return sidecar if sidecar.options == wanted else None


def _profile(spec: NetworkSpec, frames: int, options: BuildOptions) -> dict[str, list[list[int]]]:
    """Least, best and greatest shape of each input with a free size or without."""
    ranges = {"B": (1, options.opt_batch, options.max_batch), "T": (1, frames, frames)}
    return {
        tensor.name: [
            [ranges[size][step] if isinstance(size, str) else size for size in tensor.shape]
            for step in range(3)
        ]
        for tensor in spec.inputs
    }


def _fault(parser: Any) -> str:
    """The parser's errors in one line, each with its node and operator."""
    told = []
    for index in range(min(parser.num_errors, 3)):
        error = parser.get_error(index)
        node = (
            f"node {error.node_name()!r} ({error.node_operator()}): " if error.node_name() else ""
        )
        told.append(node + " ".join(str(error.desc()).split()))
    return "; ".join(told) or "no reason given"


def _told(sidecar: Sidecar) -> str:
    batch = sidecar.options["opt_batch"]
    return f"{sidecar.median_ms:.3f} ms at batch {batch}, differs by {sidecar.difference:.1e}"
