"""A changed bundle written in one step, or not at all.

A bundle's networks in a lower precision: made, judged, and kept only where the gate lets them.

Nothing is written before every network has been judged, and then in one step.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ferstream.engines.bundle import Bundle, write_bundle
from ferstream.engines.engine import gpu_backends, open_engine, present_backends
from ferstream.engines.manifest import Manifest

from .errors import BundleUnwritten
from .fp16 import halved, overflowing
from .gate import Budget, Examples, Verdict, change, figures, judged, timed
from .graph import prepared
from .int8 import LayerError, Progress, Target, hurting, layer_errors, measured, quantized
from .ranges import Method, Samples, fingerprint


def kept_files(bundle: Bundle) -> dict[str, bytes | Path]:
    """The bundle's networks, to be written again."""
    return {name: bundle.path / name for name in bundle.manifest.files}


def stored(place: Path, manifest: Manifest, files: dict[str, bytes | Path]) -> Bundle:
    """Writes a bundle; what was at the place stays whole until the new one is.

    Raises:
        BundleUnwritten: no right to write there, or no room.
    """
    # The old folder is gone when its files are read at last: read them first.
    held = {
        name: part if isinstance(part, bytes) else part.read_bytes() for name, part in files.items()
    }
    try:
        return write_bundle(place, manifest, held)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.errno is None:
            raise  # one of the engines' own
        why = {
            errno.ENOSPC: "the disk is full: make room",
            errno.EDQUOT: "the quota is used up: make room",
            errno.EROFS: "the file system is read-only: name another folder with --out",
        }.get(error.errno or 0, f"{error.strerror or error}: name another folder with --out")
        raise BundleUnwritten(
            f"the bundle cannot be written to {place}, what was there is as it was: {why}"
        ) from error


Lower = Literal["int8", "fp16"]

MOST_KEPT = 8
"""So many more layers may go back to float before the gate has the last word."""


@dataclass(frozen=True)
class CalibrationData:
    """What one network is quantized with and judged on."""

    samples: Samples
    """Its inputs, that stand for the work."""
    examples: Examples
    """Labelled inputs that the network has not learned from."""
    sweep: Examples
    """Fewer of them, for trying layer by layer."""


@dataclass(frozen=True)
class Options:
    """How a lower precision is made."""

    method: Method = "minmax"
    target: Target = "cpu"
    budget: Budget = field(default_factory=Budget)
    rounds: int = 100
    """Timed runs of each form; 0 where speed is not to be judged."""
    sweep: bool = True
    """Whether layers are tried one by one, so that those that hurt stay in float; if not, all
    are quantized and the gate has the only word."""


@dataclass(frozen=True)
class Tried:
    """One network's lower form and what came of it."""

    network: str
    onnx: bytes
    verdict: Verdict
    layers: tuple[LayerError, ...] = ()
    """Each layer's error alone, the worst first."""
    kept: tuple[str, ...] = ()
    """Layers left in float."""

    def to_json(self, options: Options, samples: Samples) -> dict[str, Any]:
        """What the manifest keeps."""
        document: dict[str, Any] = {
            "target": options.target,
            "samples": len(next(iter(samples.values()))),
            "fingerprint": fingerprint(samples),
            "kept_float": list(self.kept),
            "gate": self.verdict.to_json(),
        }
        if self.verdict.precision == "int8":
            document |= {"method": options.method}
        return document


def int8_tried(
    bundle: Bundle,
    network: str,
    data: CalibrationData,
    options: Options,
    progress: Progress = lambda what, share: None,
) -> Tried:
    """A network in eight bits, with the layers that hurt in float, judged.

    Raises:
        NotFinite: NaN or infinity in activations.
        EngineUnavailable: the onnx package is missing.
    """
    file = bundle.network_file(network)
    assert file is not None
    progress(f"{network}: ranges by {options.method}", 0.0)
    found = measured(file, data.samples, options.method)
    errors: list[LayerError] = []
    if options.sweep:
        spec = bundle.manifest.networks[network]
        with tempfile.TemporaryDirectory() as folder:
            errors = layer_errors(found, spec, data.sweep, options.target, Path(folder), progress)
    kept = hurting(errors, options.budget.kl)
    for more in range(MOST_KEPT + 1):
        progress(f"{network}: on trial with {len(kept)} layers in float", 1.0)
        onnx = quantized(found, kept, options.target)
        verdict = judge(bundle, network, "int8", onnx, data.examples, options)
        left = [row.layer for row in errors if row.layer not in kept]
        if verdict.passed or not left or more == MOST_KEPT or _only_slow(verdict):
            break
        kept = (*kept, left[0])
    return Tried(network, onnx, verdict, tuple(errors), kept)


def fp16_tried(
    bundle: Bundle,
    network: str,
    data: CalibrationData,
    options: Options,
    progress: Progress = lambda what, share: None,
) -> Tried:
    """A network in half precision, with the nodes that overflow in float, judged.

    On a CPU the file is computed in float32: the figures there hold the weights' rounding, and a
    GPU's plan is compared once more when it is built.

    Raises:
        NotFinite: NaN or infinity in activations.
        EngineUnavailable: the onnx package is missing.
    """
    file = bundle.network_file(network)
    assert file is not None
    progress(f"{network}: on trial in half precision", 0.5)
    model = prepared(file)
    kept = overflowing(model, data.samples)
    onnx = halved(model, kept)
    verdict = judge(bundle, network, "fp16", onnx, data.examples, options)
    return Tried(network, onnx, verdict, kept=kept)


def judge(
    bundle: Bundle,
    network: str,
    precision: Lower,
    onnx: bytes,
    examples: Examples,
    options: Options,
) -> Verdict:
    """The gate's verdict on a lower form, run by the engine that would run it here."""
    judging, timing = _backends(options)
    name = f"{network}.{precision}.onnx"
    with tempfile.TemporaryDirectory() as folder:
        trial = write_bundle(
            Path(folder) / "trial", bundle.manifest, {**kept_files(bundle), name: onnx}
        )
        exact = open_engine(trial, network, backend=judging, precision="fp32")
        lower = open_engine(trial, network, backend=judging, precision=precision)
        try:
            predicted, lower_predictions = examples.predictions(exact), examples.predictions(lower)
            speed = None
            if timing == judging and options.rounds:
                speed = timed(exact, lower, examples.inputs, options.rounds)
        finally:
            exact.close()
            lower.close()
    return judged(
        network,
        precision,
        len(examples.label),
        figures(predicted, examples.label),
        figures(lower_predictions, examples.label),
        change(predicted, lower_predictions),
        speed,
        options.budget,
    )


def taken(
    bundle: Bundle,
    place: Path,
    precision: Lower,
    tried: list[Tried],
    data: Mapping[str, CalibrationData],
    options: Options,
) -> Bundle | None:
    """Writes the bundle with the forms that passed; None, and nothing written, where none did.

    A form that was there before and is refused now stays as it was.

    Raises:
        BundleUnwritten: a bundle that is read-only, a disk that is full.
    """
    passed = [form for form in tried if form.verdict.passed]
    if not passed:
        return None
    files = kept_files(bundle)
    known = dict(bundle.manifest.calibration)
    known[precision] = dict(known.get(precision, {}))
    for form in passed:
        files[f"{form.network}.{precision}.onnx"] = form.onnx
        known[precision][form.network] = form.to_json(options, data[form.network].samples)
    return stored(place, replace(bundle.manifest, calibration=known), files)


def _backends(options: Options) -> tuple[str, str]:
    """Who computes the figures, and who would have to be timed; "" where that one is not here."""
    if options.target == "cpu":
        return present_backends()[0], present_backends()[0]
    gpu = [name for name in gpu_backends() if name != "tensorrt"]
    return (gpu[0], gpu[0]) if gpu else (present_backends()[0], "")


def _only_slow(verdict: Verdict) -> bool:
    """Whether nothing but speed is wrong: more layers in float would not help."""
    return len(verdict.failures) == 1 and " ms is " in verdict.failures[0]
