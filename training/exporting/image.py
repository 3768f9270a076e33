"""Image systems to bundles, and the attention that such a bundle may have.

The attention over a clip's frames, learned for any image system on spoiled pictures.

There is no labelled video: a clip is one face shown several times, some of them as a poor camera
would, and what is worth attending to is what is fit to be judged. The system's own features and
head stay as they are.  N clips, T frames, D features, K labels.

What a run of an image system brings to its bundle.

The run's network becomes the spatial stream; a clip is the mean of its frames' features, even or
under attention, through the system's own head; nothing hears motion. The system's labels are
shared out among the eight basic expressions and the 135 words, and the manifest says so.
"""

from __future__ import annotations

import copy
import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ferstream.calibration.data import calibration_data_of, photograph_examples
from ferstream.calibration.heads import LabelledFaces
from ferstream.calibration.outputs import photograph_logits
from ferstream.calibration.quantize import CalibrationData, Options
from ferstream.engines import contract
from ferstream.engines.bundle import Bundle
from ferstream.engines.labels import BASIC, WORDS
from ferstream.engines.manifest import Crop, Head, Manifest, Motion, Supervision
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.faces.align import warp

from ..datasets.augment import CORRUPTIONS, Augmentation, corrupted, random_matrix, vary_light
from ..datasets.face_splits import Splits
from ..datasets.label_lists import LabelLists, lists_for
from ..datasets.learning_faces import LearningFaces
from ..learning.default_learners import AttentionLearner, AttentionOptions
from ..learning.draws import KeptRows
from ..learning.options import Options as RunOptions
from ..learning.run_folder import RunFolder
from ..learning.system import (
    DONE,
    LabelledData,
    Stage,
    StageTraining,
    System,
    trained_network,
    with_weights,
)
from ..measuring.metrics import classifier_figures
from ..networks.clip_streams import FrameAggregation, ImageSpatial, LabelRollUp, NoMotion
from ..networks.fusion import CascadedAttention
from .export import Parts

STAGE = "attention"
VIEWS = Augmentation(erase_share=0.0)
DEFAULTS = AttentionOptions(clips=1_500)
VALIDATED = 400
"""Faces at most on which the attention is watched while it learns."""


def learned_attention(
    network: Any,
    data: Splits,
    crop_px: int,
    run: RunFolder,
    options: AttentionOptions = DEFAULTS,
) -> CascadedAttention:
    """The attention of a run, learned as a stage of it where it has not been yet.

    Raises:
        LossNotFinite, DoesNotFit, CheckpointDamaged: see `training.learning.fit`.
    """
    attend = CascadedAttention(int(network.features))

    def learner() -> AttentionLearner:
        torch.manual_seed(options.seed)
        head = copy.deepcopy(network.head)
        return AttentionLearner(attend, head, options, len(data.labels))

    def rows(split: str) -> KeptRows:
        faces, training = getattr(data, split), split == "train"
        clips = options.clips if training else min(VALIDATED, len(faces))
        return KeptRows(clips, lambda: spoiled_clips(network, faces, crop_px, options, training))

    train, validation = (lambda: rows("train")), (lambda: rows("validation"))
    if not (run.stage(STAGE) / DONE).exists():
        stage = Stage(STAGE, learner, train, validation, options.epochs)
        batch = min(options.batch, options.clips)
        chosen = RunOptions(seed=options.seed, batch=batch, average_decay=0.99)
        StageTraining(stage, chosen).fit(run)
    return with_weights(attend, run, STAGE)


@torch.no_grad()
def spoiled_clips(
    network: Any, faces: LearningFaces, crop_px: int, options: AttentionOptions, training: bool
) -> dict[str, npt.NDArray[np.float32]]:
    """Clips of faces: feature (N, T, D), spoiled (N, T) 1 or 0, target (N, K).

    Training draws faces at random, with 1 to T - 1 spoiled frames; validation takes faces once,
    VALIDATED at most, with half of their frames spoiled.
    """
    rng = np.random.default_rng([options.seed, len(faces)])
    few = np.sort(rng.permutation(len(faces))[:VALIDATED])
    rows = rng.integers(0, len(faces), options.clips) if training else few
    features, marks = [], []
    for row in rows.tolist():
        bad = int(rng.integers(1, options.views)) if training else options.views // 2
        crops, mark = _clip(faces, row, crop_px, options.views, bad, rng)
        features.append(network.recognise(torch.from_numpy(crops)).feature.float().numpy())
        marks.append(mark)
    return {
        "feature": np.stack(features),
        "spoiled": np.stack(marks),
        "target": faces.target[rows],
    }


def _clip(
    faces: LearningFaces, row: int, crop_px: int, views: int, bad: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """One face's views (T, 1, S, S), ``bad`` of them spoiled in one way, and which (T,)."""
    how = CORRUPTIONS[int(rng.integers(len(CORRUPTIONS)))]
    mark = np.zeros(views, np.float32)
    mark[rng.permutation(views)[:bad]] = 1
    plain = faces.matrix(row, crop_px)
    crops = []
    for spoiled in mark:
        varied = random_matrix(rng, VIEWS, False, crop_px)[:2] @ np.vstack([plain, [0, 0, 1]])
        crop = vary_light(warp(faces.pixels[row], varied, crop_px), rng, VIEWS)[None]
        crops.append(corrupted(crop[None], how, int(rng.integers(2**31)))[0] if spoiled else crop)
    return np.stack(crops), mark


FIELDS, MOTION_PX = 1, 32
CLIP_FRAMES, CLIP_S = 32, 1.0
HEADS = ("basic8", "fg33", "emo135")
"""What a label set may be, in the order in which that is asked (as in label_maps.word_shares)."""
INT8_SAMPLES = 512
"""Training crops from which ranges are taken."""


def image_parts(
    system: System, run: RunFolder, options: Any, data: LabelledData, frames: str
) -> Parts:
    """The run's network with the mean of a clip's features, or under attention, which is learned
    first where the run has none yet.

    Raises:
        RunUnfinished: the last stage was not trained to its end.
        OptionsWrong: a taxonomy file that lacks a label.
    """
    assert isinstance(data, Splits)
    network: Any = trained_network(system, run, len(data.labels))
    crop_px = system.crop_px(options)
    attend = learned_attention(network, data, crop_px, run) if frames == "attention" else None
    lists = lists_for(data.labels, options.taxonomy)
    fingerprint = run.about["data"]["fingerprint"]
    name = f"{data.train.name}, {len(data.test)} test faces (fingerprint {fingerprint})"
    manifest = manifest_of(system, run, lists, crop_px, int(network.features))
    return on_faces(manifest, image_modules(network, lists, attend), data, lists, name)


def image_modules(
    network: Any, lists: LabelLists, attend: CascadedAttention | None = None
) -> dict[str, nn.Module]:
    """An image network under the contracts of a bundle."""
    roll_up = roll_up_of(lists)
    return {
        "spatial": ImageSpatial(network, roll_up),
        "temporal": NoMotion(len(lists.basic.labels)),
        "fusion": FrameAggregation(network.head, roll_up, attend),
    }


def roll_up_of(lists: LabelLists) -> LabelRollUp:
    """Training's labels shared out among the bundle's."""
    return LabelRollUp(torch.from_numpy(lists.basic_KB), torch.from_numpy(lists.words_KW))


def on_faces(
    manifest: Manifest, modules: dict[str, nn.Module], data: Splits, lists: LabelLists, name: str
) -> Parts:
    """Parts that are quantized, calibrated and measured on the splits of labelled faces; ``name``
    tells of the test faces. Speed is not judged: the machine may be busy."""
    crop_px = manifest.crop.px
    splits = {"validation": data.validation, "test": data.test}
    return Parts(
        manifest,
        modules,
        lambda bundle: quantized_with(bundle, data, lists),
        lambda split: labelled(splits[split], lists, crop_px),
        lambda bundle: {"data": name, "basic8": measured(bundle, data.test, lists)},
        Options(rounds=0),
    )


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
        harder={how: corrupted(crops, how) for how in CORRUPTIONS},
    )


def measured(bundle: Bundle, faces: LearningFaces, lists: LabelLists) -> dict[str, Any]:
    """Figures of the deployed engines' basic expressions on faces."""
    logits = photograph_logits(bundle, faces.crops(bundle.manifest.crop.px))[0]
    head = bundle.manifest.head("basic8")
    target = faces.target @ lists.basic_KB
    return classifier_figures(np.log(head.probabilities(logits) + 1e-9), target, head.labels)


def quantized_with(bundle: Bundle, data: Splits, lists: LabelLists) -> dict[str, CalibrationData]:
    """Some training crops for the ranges of the spatial network, validation's for the gate."""
    chosen = np.random.default_rng(0).permutation(len(data.train))[:INT8_SAMPLES]
    crop_px = bundle.manifest.crop.px
    samples = data.train.take(np.sort(chosen)).crops(crop_px)
    label = (data.validation.target @ lists.basic_KB).argmax(axis=1).astype(np.int64)
    examples = photograph_examples(bundle, data.validation.crops(crop_px), label)
    return {"spatial": calibration_data_of({"crop": samples}, examples)}
