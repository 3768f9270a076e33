"""Trained checkpoints to a bundle: fold in the priors and temperatures, write ONNX, check it."""

from __future__ import annotations

import datetime
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.calibration.data import (
    Photographs,
    crop_samples,
    labelled_faces,
    motion_examples,
    photograph_examples,
)
from ferstream.calibration.heads import LabelledFaces, calibrated, with_coverage
from ferstream.calibration.lower import Options, int8_tried, taken
from ferstream.calibration.material import material
from ferstream.engines import contract
from ferstream.engines.bundle import Bundle, load_bundle, write_bundle
from ferstream.engines.manifest import Crop, Head, Manifest, Motion
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.emotions import AFFECT

from .assemble import TrainedNetworks, assemble
from .commit import current_commit as current_commit
from .data.augment import CROP_PX
from .data.fer import FerPlus, load_fer_plus
from .data.motion import FIELDS
from .data.motion_set import load_motion_set
from .data.synthetic.action_units import ARKIT_NAMES
from .evaluate import crops_of, figures
from .evaluate_judged import judged_sections
from .onnx import onnx_from_fusion, onnx_from_spatial, onnx_from_temporal
from .stages import spatial_options
from .systems.compact_options import CompactOptions

Array = npt.NDArray[np.float32]

JUDGED = "a vision-language model's, which looked at each face; no person's"
NOTES = {
    "basic8": "trained on the votes of ten raters per photograph (FER+) and, for other pictures, "
    f"on machine judgements: {JUDGED}",
    "emo135": "how likely a judge names each word of this face, among three to five; trained on "
    f"machine judgements: {JUDGED}",
    "affect": f"valence, arousal and intensity; trained on machine judgements: {JUDGED}",
    "fg33": "how likely a judge names a word of each class; trained on machine judgements: "
    f"{JUDGED}",
    "au": "weakly supervised: learned from what another network (MediaPipe's face landmarker) "
    "estimates",
}
DEFAULTS = Options()
MORE = {"affect": 3, "fg33": 33}
HEARD = {"emo135": 135, "affect": 3}
"""Heads that the temporal network has too."""
TRAINING_DATA = (
    "FER2013 photographs (Goodfellow et al. 2013, research use) with FER+ votes (Barsoum et al. "
    "2016) and machine judgements; 2,060 web and film faces (muxspace/facial_expressions) with "
    "machine judgements; the temporal network and the attention on photographs set in motion or "
    "spoiled"
)


def write_networks(networks: TrainedNetworks, folder: Path) -> None:
    """The three ONNX files in float."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx_from_spatial(networks.spatial, folder / "spatial.onnx")
    onnx_from_temporal(networks.temporal, folder / "temporal.onnx")
    onnx_from_fusion(networks.fusion, folder / "fusion.onnx")


def manifest_for(networks: TrainedNetworks, fusion: dict[str, float], commit: str) -> Manifest:
    """What the bundle says of itself, before anything was measured."""
    features = networks.spatial.features
    basic8, emo135, fg33 = (load_taxonomy(name) for name in ("basic8", "emo135", "fg33"))

    def families(name: str) -> tuple[str, ...]:
        taxonomy = load_taxonomy(name)
        return tuple(taxonomy.families[f] if f >= 0 else "" for f in taxonomy.family_of)

    heads = (
        Head("basic8", basic8.labels, families("basic8"), "trained", 1.0, NOTES["basic8"]),
        Head(
            "emo135",
            emo135.labels,
            families("emo135"),
            "machine-judged",
            1.0,
            NOTES["emo135"],
            kind="independent",
        ),
        Head("affect", AFFECT, (), "machine-judged", 1.0, NOTES["affect"], kind="scale"),
        Head(
            "fg33",
            fg33.labels,
            families("fg33"),
            "machine-judged",
            1.0,
            NOTES["fg33"],
            kind="independent",
        ),
        Head("au", ARKIT_NAMES, (), "weakly supervised", 1.0, NOTES["au"]),
    )
    return Manifest(
        name="default",
        version="2",
        heads=heads,
        crop=Crop(CROP_PX, "grey", "eyes-and-nose"),
        clip_duration_s=1.0,
        clip_frames=32,
        clip_recency_s=networks.recency_s,
        motion=Motion(32, FIELDS, 0.1),
        networks={
            "spatial": contract.spatial(features, more=MORE),
            "temporal": contract.temporal(FIELDS, more=HEARD),
            "fusion": contract.fusion(features, more=MORE, heard=HEARD),
        },
        fusion=fusion,
        measured={},
        training_data=TRAINING_DATA,
        licence="weights: research use, as FER2013's photographs; code: Apache-2.0",
        commit=commit,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def taught_by(options: CompactOptions) -> str:
    """What a bundle says of the teachers whose answers joined its labels; empty without any."""
    if not options.teachers:
        return ""
    share, count = 100 * options.teacher_share, len(options.teachers.split(","))
    return (
        f"; {share:.0f} % of the labels of the FER2013 photographs are answers of {count} earlier "
        "bundles (distillation)"
    )


def bundle_from_files(path: Path, manifest: Manifest, folder: Path) -> Bundle:
    """Write every ONNX file of ``folder`` as a bundle."""
    return write_bundle(path, manifest, {file.name: file for file in sorted(folder.glob("*.onnx"))})


def gated(
    bundle: Bundle, run: Path, folder: str | None, options: Options
) -> tuple[Bundle, dict[str, dict[str, Any]]]:
    """The bundle with the INT8 forms that pass the gate on the validation data.

    Returns it, and what the gate says of each network.
    """
    crops, motion = quantization_samples(run, folder)
    validation = rated("validation", folder)
    faces = Photographs(validation, crops_of(validation, bundle.manifest.crop.px))
    stacks = load_motion_set(run / "temporal" / "validation.npz")
    photographs = photograph_examples(bundle, faces.crops, validation.majority)
    moving = motion_examples(
        bundle, stacks.motion.astype(np.float32), stacks.target.argmax(axis=1).astype(np.int64)
    )
    materials = {
        "spatial": material({"crop": crops}, photographs, faces.quality),
        "temporal": material({"motion": motion}, moving),
    }
    tried = [int8_tried(bundle, name, given, options) for name, given in materials.items()]
    written = taken(bundle, bundle.path, "int8", tried, materials, options)
    return written or bundle, {form.network: form.verdict.to_json() for form in tried}


def with_probabilities(bundle: Bundle, validation: FerPlus, folder: str | None) -> Bundle:
    """Calibrators and prediction sets, fitted to the deployed engines' own outputs."""
    faces = labelled(validation, bundle.manifest.crop.px, folder)
    return _rewritten(bundle, calibrated(bundle, faces))


def labelled(data: FerPlus, crop_px: int, folder: str | None) -> LabelledFaces:
    """Photographs as calibration takes them, with the same ones spoiled."""
    return labelled_faces(Photographs(data, crops_of(data, crop_px)), folder)


def with_figures(bundle: Bundle, test: FerPlus, more: dict[str, Any], folder: str | None) -> Bundle:
    """The measured figures written into the manifest, the prediction sets' coverage with them."""
    measured = {
        "data": "FER+ test split (PrivateTest), at least 5 usable votes, twins removed",
        **figures(bundle, test, engine="auto", precision="auto"),
        **more,
    }
    manifest = with_coverage(bundle, labelled(test, bundle.manifest.crop.px, folder))
    return _rewritten(bundle, replace(manifest, measured=json.loads(json.dumps(measured))))


def rated(split: str, folder: str | None) -> FerPlus:
    """The photographs of a split that the measuring protocol counts."""
    data = load_fer_plus(split, folder)
    return data.subset(data.rated)


def _rewritten(bundle: Bundle, manifest: Manifest) -> Bundle:
    files: dict[str, bytes | Path] = {
        name: (bundle.path / name).read_bytes() for name in bundle.manifest.files
    }
    write_bundle(bundle.path, manifest, files)
    return load_bundle(bundle.path)


def export(
    run: Path, path: Path, folder: str | None, options: Options = DEFAULTS
) -> tuple[Bundle, dict[str, Any]]:
    """A run's networks as a calibrated, quantized, measured bundle, and how it was put together.

    Args:
        options: how INT8 forms are made, and what they may cost.

    Raises:
        StageMissing: a stage of the run has not been trained.
    """
    networks, report = assemble(run, folder)
    onnx = run / "onnx"
    write_networks(networks, onnx)
    names = ("weight", "word_weight", "affect_weight")
    fusion = {f"spatial_{name}": float(report[name]) for name in names}
    fusion |= {name: float(report["heads"][name]) for name in ("prior", "neutral_shift")}
    manifest = manifest_for(networks, fusion, current_commit())
    manifest = replace(manifest, training_data=f"{TRAINING_DATA}{taught_by(spatial_options(run))}")
    bundle = bundle_from_files(path, manifest, onnx)
    bundle, report["int8"] = gated(bundle, run, folder, options)
    bundle = with_probabilities(bundle, rated("validation", folder), folder)
    (run / "assembly.json").write_text(json.dumps(report, indent=1) + "\n")
    judged = judged_sections(bundle, "test", folder, told=logging.getLogger(__name__).warning)
    return with_figures(bundle, rated("test", folder), judged, folder), report


def quantization_samples(
    run: Path, folder: str | None, each: int = 96, seed: int = 0
) -> tuple[npt.NDArray[np.uint8], Array]:
    """Training crops (N, 1, 48, 48) and motion stacks, ``each`` of every emotion at most;
    every fourth crop spoiled."""
    rng = np.random.default_rng(seed)
    data = rated("train", folder)
    rows = np.concatenate(
        [rng.permutation(np.flatnonzero(data.majority == k))[:each] for k in range(8)]
    )
    stacks = load_motion_set(run / "temporal" / "train.npz").motion
    chosen = stacks[rng.permutation(len(stacks))[: 8 * each]].astype(np.float32)
    faces = data.subset(rows)
    return crop_samples(Photographs(faces, crops_of(faces, CROP_PX)), seed), chosen
