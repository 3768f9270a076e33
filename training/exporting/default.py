"""What the default bundle's own training brings to its bundle.  B batch, S side of a crop."""

from __future__ import annotations

import datetime
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ferstream.calibration.data import (
    Photographs,
    calibration_data_of,
    crop_samples,
    labelled_faces,
    motion_examples,
    photograph_examples,
    photographs,
)
from ferstream.calibration.heads import LabelledFaces
from ferstream.calibration.quantize import CalibrationData
from ferstream.engines import contract
from ferstream.engines.bundle import Bundle
from ferstream.engines.manifest import Crop, Head, Manifest, Motion
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.emotions import AFFECT

from ..datasets.augment import CROP_PX
from ..datasets.fer import load_fer_plus
from ..datasets.motion import FIELDS, load_motion_set
from ..datasets.synthetic.expressions import ARKIT_NAMES
from ..learning.run_folder import RunFolder, current_commit
from ..measuring.evaluate import figures, judged_sections
from ..networks.compact_msau import CompactMSAU
from ..systems.compact import CompactOptions
from ..systems.default import TEMPORAL, DefaultOptions
from .assemble import TrainedNetworks, assemble
from .export import Parts

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
MORE = {"affect": 3, "fg33": 33}
HEARD = {"emo135": 135, "affect": 3}
"""Heads that the temporal network has too."""
TRAINING_DATA = (
    "FER2013 photographs (Goodfellow et al. 2013, research use) with FER+ votes (Barsoum et al. "
    "2016) and machine judgements; 2,060 web and film faces (muxspace/facial_expressions) with "
    "machine judgements; the temporal network and the attention on photographs set in motion or "
    "spoiled"
)


class SpatialGraph(nn.Module):
    """`CompactMSAU` of judged faces with blendshapes under the contract: these as probabilities.

    The run time shows it mirrored crops too (`Manifest.mirrored`, engines/views.py).
    """

    def __init__(self, network: CompactMSAU) -> None:
        super().__init__()
        self.network = network

    def forward(self, crop: Tensor) -> tuple[Tensor, ...]:
        """In the order of the contract: feature, basic8, emo135, au, zoom, affect, fg33."""
        out = self.network(crop.float())  # TensorRT takes bytes into nothing but a cast
        units, judged = torch.sigmoid(out.blendshapes), out.judged
        return out.feature, out.logits, judged.words, units, out.zoom, judged.affect, judged.fine


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
        mirrored=True,
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


def default_parts(run: RunFolder, options: DefaultOptions, folder: str | None) -> Parts:
    """The networks that `assemble` puts together, and the photographs behind them.

    Raises:
        RunUnfinished: a stage of the run was not trained to its end.
    """
    networks, report = assemble(run, options, folder)
    names = ("weight", "word_weight", "affect_weight")
    fusion = {f"spatial_{name}": float(report[name]) for name in names}
    fusion |= {name: float(report["heads"][name]) for name in ("prior", "neutral_shift")}
    manifest = manifest_for(networks, fusion, current_commit())

    def faces(split: str) -> LabelledFaces:
        return labelled_faces(photographs(split, folder, CROP_PX), folder)

    return Parts(
        replace(manifest, training_data=f"{TRAINING_DATA}{taught_by(options)}"),
        {
            "spatial": SpatialGraph(networks.spatial),
            "temporal": networks.temporal,
            "fusion": networks.fusion,
        },
        lambda bundle: quantized_with(bundle, run.stage(TEMPORAL), folder),
        faces,
        lambda bundle: measured(bundle, folder),
        report=report,
    )


def measured(bundle: Bundle, folder: str | None) -> dict[str, Any]:
    """Figures on the test photographs and, where they are there, on judged faces."""
    test = photographs("test", folder, CROP_PX).data
    told = logging.getLogger(__name__).warning
    return {
        "data": "FER+ test split (PrivateTest), at least 5 usable votes, twins removed",
        **figures(bundle, test, backend="auto", precision="auto"),
        **judged_sections(bundle, "test", folder, told=told),
    }


def quantized_with(bundle: Bundle, sets: Path, folder: str | None) -> dict[str, CalibrationData]:
    """Training crops and motion stacks for the ranges, validation's for the gate; ``sets`` is the
    folder of the motion sets."""
    crops, motion = quantization_samples(sets, folder)
    faces = photographs("validation", folder, CROP_PX)
    stacks = load_motion_set(sets / "validation.npz")
    still = photograph_examples(bundle, faces.crops, faces.data.majority)
    moving = motion_examples(
        bundle, stacks.motion.astype(np.float32), stacks.target.argmax(axis=1).astype(np.int64)
    )
    return {
        "spatial": calibration_data_of({"crop": crops}, still, faces.quality),
        "temporal": calibration_data_of({"motion": motion}, moving),
    }


def quantization_samples(
    sets: Path, folder: str | None, each: int = 96, seed: int = 0
) -> tuple[npt.NDArray[np.uint8], Array]:
    """Training crops (N, 1, S, S) and motion stacks, ``each`` of every emotion at most; every
    fourth crop is spoiled."""
    rng = np.random.default_rng(seed)
    data = load_fer_plus("train", folder)
    data = data.subset(data.rated)
    rows = np.concatenate(
        [rng.permutation(np.flatnonzero(data.majority == k))[:each] for k in range(8)]
    )
    stacks = load_motion_set(sets / "train.npz").motion
    chosen = stacks[rng.permutation(len(stacks))[: 8 * each]].astype(np.float32)
    faces = data.subset(rows)
    return crop_samples(Photographs(faces, faces.crops(CROP_PX)), seed), chosen
