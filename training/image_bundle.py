"""A finished run of an image system as a bundle that `score`, `live` and the page play.

The run's network becomes the spatial stream; a clip is the mean of its frames' features, even or
under attention, through the system's own head; nothing hears motion. The system's labels are
shared out among the eight basic expressions and the 135 words, and the manifest says so.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ferstream.calibration.data import photograph_examples
from ferstream.calibration.heads import LabelledFaces, calibrated
from ferstream.calibration.lower import Options as LowerOptions
from ferstream.calibration.lower import int8_tried, taken
from ferstream.calibration.material import material
from ferstream.calibration.outputs import photograph_logits
from ferstream.engines import contract
from ferstream.engines.bundle import Bundle, load_bundle, write_bundle
from ferstream.engines.labels import BASIC, WORDS
from ferstream.engines.manifest import Crop, Head, Manifest, Motion, Supervision
from ferstream.engines.taxonomy import load_taxonomy

from .data.face_splits import Splits
from .data.hardships import HARDSHIPS, worsened
from .data.learning_faces import LearningFaces
from .errors import OptionsWrong, RunMismatch
from .image_attention import learned_attention
from .label_lists import LabelLists, lists_for
from .metrics import classifier_figures
from .networks.fusion import CascadedAttention
from .networks.image_stream import FrameAggregation, ImageSpatial, LabelRollUp, NoMotion
from .onnx import onnx_from_module
from .run_folder import RunFolder
from .system import System, finished_run, trained_network

Array = npt.NDArray[np.float32]

FIELDS, MOTION_PX = 1, 32
CLIP_FRAMES, CLIP_S = 32, 1.0
HEADS = ("basic8", "fg33", "emo135")
"""What a label set may be, in the order in which that is asked (as in label_maps.word_shares)."""
FRAMES = ("mean", "attention")
INT8_SAMPLES = 512
"""Training crops from which ranges are taken."""


def bundle_from_run(
    path: Path, out: Path, folder: str | None, frames: str = "mean"
) -> tuple[Bundle, dict[str, Any]]:
    """Write a finished run as a bundle: ONNX, INT8, calibrated and measured.

    ``frames`` says how a clip's frames are put together: "mean", or "attention", which is learned
    first where the run has none yet.

    Returns the bundle, its figures on the test faces, and what the gate says of INT8.

    Raises:
        RunUnfinished: the run was not trained to its end.
        RunMismatch: the data is not what it was trained on.
        OptionsWrong: a taxonomy file that lacks a label, or another kind of ``frames``.
    """
    if frames not in FRAMES:
        raise OptionsWrong(f"frames {frames!r}: there are {', '.join(FRAMES)}")
    system, run = finished_run(path)
    options = system.options.from_json(run.about["options"])
    data = system.data(options, folder)
    assert isinstance(data, Splits)
    if (now := data.about()["fingerprint"]) != (was := run.about["data"]["fingerprint"]):
        raise RunMismatch(
            f"{path} was trained on data with the fingerprint {was}, {options.faces} here has "
            f"{now}: name the folder it was trained on with --data"
        )
    network = trained_network(system, run, len(data.labels))
    crop_px = system.crop_px(options)
    onnx = run.path / "onnx"
    attend = learned_attention(network, data, crop_px, run.path) if frames == "attention" else None
    lists = lists_for(data.labels, options.taxonomy)
    features = write_image_networks(network, lists, crop_px, onnx, attend)
    manifest = manifest_of(system, run, lists, crop_px, features)
    files = {file.name: file for file in sorted(onnx.glob("*.onnx"))}
    name = f"{data.train.name}, {len(data.test)} test faces (fingerprint {now})"
    return finished_bundle(write_bundle(out, manifest, files), data, lists, crop_px, name)


def finished_bundle(
    bundle: Bundle, data: Splits, lists: LabelLists, crop_px: int, name: str
) -> tuple[Bundle, dict[str, Any]]:
    """A bundle of float networks with its INT8 form where the gate lets it pass, calibrated on
    validation faces and measured on test faces, which ``name`` tells of.

    Returns it, and figures and what the gate said.
    """
    bundle, verdict = _with_int8(bundle, data, lists, crop_px)
    bundle = _rewritten(bundle, calibrated(bundle, labelled(data.validation, lists, crop_px)))
    measured = _measured(bundle, data.test, lists, crop_px)
    document = {"data": name, "basic8": measured}
    bundle = _rewritten(bundle, replace(bundle.manifest, measured=document))
    return bundle, {"test": measured, "int8": verdict}


def write_image_networks(
    network: Any,
    lists: LabelLists,
    crop_px: int,
    folder: Path,
    attend: CascadedAttention | None = None,
) -> int:
    """The three ONNX files of an image network in float; returns D."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.onnx"):
        old.unlink()
    roll_up = LabelRollUp(torch.from_numpy(lists.basic_KB), torch.from_numpy(lists.words_KW))
    basic = len(lists.basic.labels)
    features = int(network.features)
    onnx_from_module(
        ImageSpatial(network, roll_up),
        {"crop": torch.randint(0, 255, (2, 1, crop_px, crop_px), dtype=torch.uint8)},
        ("feature", "basic8", "emo135", "au", "zoom"),
        folder / "spatial.onnx",
        free={"crop": {0: "B"}},
    )
    onnx_from_module(
        NoMotion(basic),
        {"motion": torch.randn(2, 2 * FIELDS, MOTION_PX, MOTION_PX)},
        ("basic8",),
        folder / "temporal.onnx",
        free={"motion": {0: "B"}},
    )
    head: nn.Module = network.head
    onnx_from_module(
        FrameAggregation(head, roll_up, attend),
        {
            "feature": torch.randn(2, 5, features),
            "mask": torch.ones(2, 5),
            "temporal": torch.randn(2, basic),
            "has_motion": torch.ones(2, 1),
        },
        ("basic8", "emo135", "attention"),
        folder / "fusion.onnx",
        free={
            "feature": {0: "B", 1: "T"},
            "mask": {0: "B", 1: "T"},
            "temporal": {0: "B"},
            "has_motion": {0: "B"},
        },
    )
    return features


def manifest_of(
    system: System,
    run: RunFolder,
    lists: LabelLists,
    crop_px: int,
    features: int,
) -> Manifest:
    """What the bundle says of itself, before anything was measured."""
    heads = []
    for name, (kind, told) in taught_heads(lists, run.about["data"]["name"]).items():
        own = {BASIC: lists.basic, WORDS: lists.words}
        taxonomy = own[name] if name in own else load_taxonomy(name)
        families = tuple(taxonomy.families[at] if at >= 0 else "" for at in taxonomy.family_of)
        heads.append(Head(name, taxonomy.labels, families, kind, 1.0, told))
    unit_names: tuple[str, ...] = ()
    how: Supervision = "derived"
    note = "none: this system estimates no action units"
    if system.units is not None:
        unit_names, how, note = system.units(system.options.from_json(run.about["options"]))
    heads.append(Head("au", unit_names, (), how, 1.0, note))
    data = run.about["data"]
    basic, words = len(lists.basic.labels), len(lists.words.labels)
    return Manifest(
        name=system.name,
        version="1",
        heads=tuple(heads),
        crop=Crop(crop_px, "grey", "eyes-and-nose"),
        clip_duration_s=CLIP_S,
        clip_frames=CLIP_FRAMES,
        motion=Motion(MOTION_PX, FIELDS, 0.1),
        networks={
            "spatial": contract.spatial(
                features, crop_px=crop_px, basic=basic, words=words, units=len(unit_names)
            ),
            "temporal": contract.temporal(FIELDS, basic=basic),
            "fusion": contract.fusion(features, basic=basic, words=words),
        },
        fusion={"spatial_weight": 1.0},
        colours=lists.colours,
        measured={},
        training_data=f"{data['train']} faces of {data['name']}, fingerprint "
        f"{data['fingerprint']}; paper {system.paper}",
        licence="weights: as the training data's; code: Apache-2.0",
        commit=run.about["commit"],
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def taught_heads(lists: LabelLists, data: str) -> dict[str, tuple[Supervision, str]]:
    """Which head of a bundle the labels of a data set teach, and how the others come about."""
    labels = lists.labels
    if lists.own == labels:
        all_own = f"trained on {len(labels)} labels of {data}, which are the bundle's own"
        return {BASIC: ("trained", all_own), WORDS: ("trained", all_own)}
    if lists.own:
        some = f"trained on {', '.join(lists.own)} of {data}"
        return {
            BASIC: ("trained", f"{some}; the other labels shared out among the basic expressions"),
            WORDS: (
                "weakly supervised",
                f"{some}; the other labels shared out among the words that fit them, by the "
                "project's own judgement",
            ),
        }
    own = {name: set(labels) <= set(load_taxonomy(name).labels) for name in HEADS}
    trained = next((name for name, all_known in own.items() if all_known), "")
    count = f"{len(labels)} labels of {data}"
    told = {
        "basic8": f"derived: {count} shared out among the basic expressions",
        "emo135": f"derived: {count} shared out among the words that fit them, by the project's "
        "own judgement; nothing was trained on these words",
        "fg33": "derived: the 135 words' probabilities added up",
    }
    if trained:
        told[trained] = f"trained on {count}"
    if trained == "fg33":
        told["emo135"] = f"derived: {count} shared out evenly among the words below each"
    kinds: dict[str, Supervision] = {
        name: "trained" if name == trained else "derived" for name in told
    }
    return {name: (kinds[name], told[name]) for name in told}


def labelled(faces: LearningFaces, lists: LabelLists, crop_px: int) -> LabelledFaces:
    """Faces as calibration takes them, with the same ones spoiled."""
    crops = faces.crops(crop_px)
    votes = faces.target @ lists.basic_KB
    words = faces.target @ lists.words_KW
    weight = words.sum(axis=1)
    return LabelledFaces(
        crops=crops,
        votes=votes,
        label=np.asarray(votes.argmax(axis=1), np.int64),
        words=words / np.maximum(weight, 1e-9)[:, None],
        word_weight=weight,
        harder={how: worsened(crops, how) for how in HARDSHIPS},
    )


def _measured(
    bundle: Bundle, faces: LearningFaces, lists: LabelLists, crop_px: int
) -> dict[str, Any]:
    """Figures of the deployed engines' basic expressions on faces."""
    logits = photograph_logits(bundle, faces.crops(crop_px))[0]
    head = bundle.manifest.head("basic8")
    target = faces.target @ lists.basic_KB
    log_probability = np.log(head.probabilities(logits) + 1e-9)
    found: dict[str, Any] = json.loads(
        json.dumps(classifier_figures(log_probability, target, head.labels))
    )
    return found


def _with_int8(
    bundle: Bundle, data: Splits, lists: LabelLists, crop_px: int
) -> tuple[Bundle, dict[str, Any]]:
    """The bundle with the spatial network's INT8 form, if that passes the gate on validation;
    and what the gate says. Speed is not judged: the machine may be busy."""
    chosen = np.random.default_rng(0).permutation(len(data.train))[:INT8_SAMPLES]
    samples = data.train.take(np.sort(chosen)).crops(crop_px)
    crops, label = data.validation.crops(crop_px), _basic(data.validation, lists)
    given = material({"crop": samples}, photograph_examples(bundle, crops, label))
    options = LowerOptions(rounds=0)
    tried = [int8_tried(bundle, "spatial", given, options)]
    written = taken(bundle, bundle.path, "int8", tried, {"spatial": given}, options)
    return written or bundle, tried[0].verdict.to_json()


def _basic(faces: LearningFaces, lists: LabelLists) -> npt.NDArray[np.int64]:
    """The basic expression of each face, (N,)."""
    return np.asarray((faces.target @ lists.basic_KB).argmax(axis=1), np.int64)


def _rewritten(bundle: Bundle, manifest: Manifest) -> Bundle:
    files: dict[str, bytes | Path] = {
        name: (bundle.path / name).read_bytes() for name in bundle.manifest.files
    }
    write_bundle(bundle.path, manifest, files)
    return load_bundle(bundle.path)
