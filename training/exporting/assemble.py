"""Trained stages to the networks of a bundle: operating point, temperatures, the fusion's weights.

Everything is chosen on validation splits. K classes, N samples, D features.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor, nn

from ferstream.calibration.probability import fit_temperature, softmax
from ferstream.calibration.reliability import expected_calibration_error, negative_log_likelihood

from ..datasets.augment import CROP_PX
from ..datasets.fer import FerPlus, load_fer_plus
from ..datasets.judged import judged_columns
from ..datasets.learning_faces import wild_faces
from ..datasets.motion import FIELDS, FaceShape, MotionMaker, face_shape, motion_target, movable
from ..learning.draws import sampling_weights
from ..learning.run_folder import RunFolder
from ..measuring.judged_figures import concordance
from ..networks.compact_msau import CompactMSAU, features_of
from ..networks.fusion import Fusion, MotionNet, MotionScores
from ..systems.default import (
    DefaultOptions,
    trained_attention,
    trained_spatial,
    trained_temporal,
)

Array = npt.NDArray[np.float32]

PRIOR_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
NEUTRAL_SHIFTS = (0.5, 0.25, 0.0, -0.25, -0.5, -0.75, -1.0)
"""Added to neutral's logit."""
RARE_GAIN = 0.25
"""What a point of macro recall is worth in points of top-1 when the operating point is chosen."""
MOST_LOST = 0.005
"""How much of the voters' agreement the operating point may cost, in parts of 1."""
WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
RECENCIES_S = (0.0, 0.8, 0.5, 0.3, 0.2)
"""How fast older frames of a clip count for less; 0: not at all."""
MOMENT_S = 0.1
"""About how far apart the moments of a photograph set in motion are."""


@dataclass(frozen=True)
class TrainedNetworks:
    """The three networks, their heads calibrated, and how fast a clip's frames count for less."""

    spatial: CompactMSAU
    temporal: MotionNet
    fusion: Fusion
    recency_s: float


def assemble(
    run: RunFolder, options: DefaultOptions, folder: str | None
) -> tuple[TrainedNetworks, dict[str, Any]]:
    """The networks of a run and how they were put together; ``folder`` holds the data.

    Raises:
        RunUnfinished: a stage was not trained to its end.
    """
    spatial, temporal = trained_spatial(options, run), trained_temporal(run)
    chosen = choose_operating_point(spatial, folder, options.balance)
    report: dict[str, Any] = {"heads": chosen}
    data = movable("validation", folder)
    clips = stream_clips(face_shape(folder), "validation", folder, seed=1)
    said = temporal_scores(temporal, clips.motion)
    warmth = fit_temperature(said.basic8.numpy(), clips.target)
    fold(temporal.basic8, warmth)
    said = said._replace(basic8=said.basic8 / warmth)
    fusion = Fusion(spatial.features).eval()
    fusion.attend = trained_attention(run, spatial.features)
    fusion.basic8.load_state_dict(spatial.head.state_dict())
    assert spatial.judged is not None
    fusion.judged.load_state_dict(spatial.judged.state_dict())
    features = clip_features(spatial, clips)
    judged = judged_columns(data, folder, "validation")
    recency = sweep_recency(fusion, features, clips)
    recency_s = min(RECENCIES_S, key=lambda value: recency[value])
    sweep = sweep_weights(fusion, features, said, clips, recency_s)
    fusion.weight = min(WEIGHTS, key=lambda weight: sweep[weight]["nll"])
    fusion.mixture_temperature = sweep[fusion.weight]["temperature"]
    known = judged.judge.sum(axis=1) > 0
    words = sweep_words(
        fusion,
        features[known],
        MotionScores(*(part[known] for part in said)),
        (judged.words * (judged.words > 0) * clips.level[:, None])[known],
        (judged.affect * clips.level[:, None])[known],
        recency_s,
    )
    fusion.word_weight = min(WEIGHTS, key=lambda weight: words[weight]["words_nll"])
    fusion.affect_weight = max(WEIGHTS, key=lambda weight: words[weight]["affect_ccc"])
    report |= {
        "temporal_temperature": warmth,
        "recency": recency,
        "recency_s": recency_s,
        "fusion": sweep,
        "weight": fusion.weight,
        "words": words,
        "word_weight": fusion.word_weight,
        "affect_weight": fusion.affect_weight,
    }
    return TrainedNetworks(spatial, temporal, fusion, recency_s), report


def choose_operating_point(
    network: CompactMSAU, folder: str | None, balance: float
) -> dict[str, float]:
    """Fold class prior and temperature into the expressions' head; returns what was chosen.

    The balanced sampler showed rare emotions more often than they are, and voters and judge draw
    the line of neutral elsewhere. Of the points that cost the voters' agreement (FER+ validation)
    at most MOST_LOST of its best, the one is taken that agrees best with the judge on wild
    validation faces; agreement is top-1 and a part of the macro recall.
    """
    data, features = validation_features(network, folder)
    wild = wild_faces("validation", data.landmark_index, folder)
    wild_features = features_of(network, wild.crops(CROP_PX)[:, 0], exact=True)
    shift = sampled_prior(folder, balance)
    with torch.no_grad():
        said = [network.head(part).numpy() for part in (features, wild_features)]
    labels = (data.majority, wild.label)

    def logits(which: int, point: tuple[float, float]) -> Array:
        prior, neutral = point
        moved = said[which] - prior * shift
        moved[:, 0] += neutral
        return np.asarray(moved, np.float32)

    def worth(which: int, point: tuple[float, float]) -> float:
        guess, label = logits(which, point).argmax(axis=1), labels[which]
        recall = [(guess[label == k] == k).mean() for k in np.unique(label)]
        return float((guess == label).mean() + RARE_GAIN * np.mean(recall))

    points = list(itertools.product(PRIOR_STEPS, NEUTRAL_SHIFTS))
    voters = {point: worth(0, point) for point in points}
    best = max(voters.values())
    point = max(
        (point for point in points if voters[point] >= best - MOST_LOST),
        key=lambda point: worth(1, point),
    )
    temperature = fit_temperature(logits(0, point), one_hot(labels[0]))
    offset = torch.from_numpy(-point[0] * shift).float()
    offset[0] += point[1]
    fold(network.head, temperature, offset)
    return {
        "prior": point[0],
        "neutral_shift": point[1],
        "basic8_temperature": temperature,
        "voters": voters[point],
        "voters_best": best,
        "wild": worth(1, point),
    }


def validation_features(network: CompactMSAU, folder: str | None) -> tuple[FerPlus, Tensor]:
    """The rated validation photographs and their features (N, D)."""
    data = load_fer_plus("validation", folder)
    data = data.subset(data.rated)
    return data, features_of(network, data.crops(CROP_PX)[:, 0], exact=True)


def one_hot(label: npt.NDArray[np.int64]) -> Array:
    """Labels (N,) to rows (N, 8): temperatures are fitted on the raters' majority, so that of
    the faces given 0.7 seven in ten are what most raters say."""
    return np.eye(8, dtype=np.float32)[label]


def sampled_prior(folder: str | None, balance: float) -> Array:
    """Log of how much more often than in the data the sampler showed each emotion, (8,)."""
    data = load_fer_plus("train", folder)
    data = data.subset(data.rated)
    weight = sampling_weights(data.votes, balance).numpy()[:, None]
    shown = (data.votes * weight).sum(axis=0) / weight.sum()
    return np.asarray(np.log(shown / data.votes.mean(axis=0)), np.float32)


@torch.no_grad()
def fold(head: nn.Linear, temperature: float, prior: Tensor | None = None) -> None:
    """Put a temperature and a shift of the class prior (in logits) into a head's weights."""
    if prior is not None:
        head.bias.add_(prior)
    head.weight.div_(temperature)
    head.bias.div_(temperature)


@torch.no_grad()
def temporal_scores(network: MotionNet, motion: Array) -> MotionScores:
    """Stacks (N, 2F, 32, 32) to their scores."""
    parts = [network(part) for part in torch.split(torch.from_numpy(motion), 256)]
    return MotionScores(*(torch.cat(column) for column in zip(*parts, strict=True)))


@dataclass(frozen=True)
class StreamClips:
    """Photographs set in motion as both streams see them.

    crops (N, T, 48, 48) uint8, motion (N, 2F, 32, 32), target (N, 8), level (N,) 0..1.
    """

    crops: npt.NDArray[np.uint8]
    motion: Array
    target: Array
    level: Array


def stream_clips(
    shape: FaceShape, split: str, folder: str | None, *, seed: int, kind: str | None = None
) -> StreamClips:
    """Every photograph of a split set in motion once; of one kind, or the usual mixture."""
    data = movable(split, folder)
    maker = MotionMaker(data, shape, seed)
    crops, motion, target, level = [], [], [], []
    for row in track(range(len(data)), f"Setting {split} photographs in motion"):
        clip = maker.clip(row, kind or maker.any_kind(), CROP_PX)
        crops.append(np.stack(clip.crops))
        motion.append(maker.motion(clip))
        target.append(motion_target(data.votes[row], clip.level))
        level.append(clip.level)
    assert crops[0].shape[0] == FIELDS + 1
    return StreamClips(
        np.stack(crops), np.stack(motion), np.stack(target), np.array(level, np.float32)
    )


def clip_features(network: CompactMSAU, clips: StreamClips) -> Tensor:
    """Features (N, T, D) of every moment of every clip."""
    count, frames = clips.crops.shape[:2]
    features = features_of(network, clips.crops.reshape(-1, *clips.crops.shape[2:]))
    return features.reshape(count, frames, -1)


def recency_mask(shape: tuple[int, ...], recency_s: float) -> Tensor:
    """How far the moments (N, T) of clips count that end with the newest."""
    age_s = MOMENT_S * torch.arange(shape[1] - 1, -1, -1, dtype=torch.float32)
    weight_T = torch.exp(-age_s / recency_s) if recency_s else torch.ones(shape[1])
    return weight_T.expand(shape[0], -1).contiguous()


@torch.no_grad()
def sweep_recency(fusion: Fusion, features: Tensor, clips: StreamClips) -> dict[float, float]:
    """Negative log-likelihood of the frames' score, at its best temperature, of where the
    expression is at the clip's end, for each way in which older frames count for less."""
    label = one_hot(clips.target.argmax(axis=1))
    found = {}
    for recency_s in RECENCIES_S:
        logits = fused(fusion, features, None, recency_s).basic8.numpy()
        probability = softmax(logits, fit_temperature(logits, label))
        found[recency_s] = negative_log_likelihood(probability, label)
    return found


@torch.no_grad()
def sweep_weights(
    fusion: Fusion, features: Tensor, said: MotionScores, clips: StreamClips, recency_s: float
) -> dict[float, dict[str, float]]:
    """Figures of the fused score for each weight of the spatial stream, 0 to 1.

    The label is the likelier of the votes as far as the expression is on at the clip's end; each
    weight is judged at its own best temperature.
    """
    label = clips.target.argmax(axis=1)
    found = {}
    for weight in WEIGHTS:
        fusion.weight = weight
        logits = fused(fusion, features, said, recency_s).basic8.numpy()
        temperature = fit_temperature(logits, one_hot(label))
        probability = softmax(logits, temperature)
        found[weight] = {
            "top1": float((probability.argmax(axis=1) == label).mean()),
            "nll": negative_log_likelihood(probability, one_hot(label)),
            "ece": expected_calibration_error(probability, label),
            "temperature": temperature,
        }
    return found


@torch.no_grad()
def sweep_words(
    fusion: Fusion,
    features: Tensor,
    said: MotionScores,
    words: Array,
    affect: Array,
    recency_s: float,
) -> dict[float, dict[str, float]]:
    """Of fused words (N, 135) and affect (N, 3) for each weight of the spatial stream: cross
    entropy to the graded words, summed over words, and mean concordance of valence and arousal."""
    target = torch.from_numpy(words)
    found = {}
    for weight in WEIGHTS:
        fusion.word_weight = fusion.affect_weight = weight
        out = fused(fusion, features, said, recency_s)
        loss = nn.functional.binary_cross_entropy_with_logits(out.emo135, target, reduction="none")
        agreed = [concordance(out.affect[:, at].numpy(), affect[:, at]) for at in (0, 1)]
        found[weight] = {
            "words_nll": float(loss.sum(1).mean()),
            "affect_ccc": float(np.mean(agreed)),
        }
    return found


def fused(fusion: Fusion, features: Tensor, said: MotionScores | None, recency_s: float) -> Any:
    """What the fusion gives of clips (N, T, D), with what their motion said or without."""
    rows = len(features)
    mask = recency_mask(tuple(features.shape), recency_s)
    if said is None:
        said = MotionScores(torch.zeros(rows, 8), torch.zeros(rows, 135), torch.zeros(rows, 3))
        moving = torch.zeros(rows, 1)
    else:
        moving = torch.ones(rows, 1)
    return fusion(features, mask, said.basic8, moving, said.emo135, said.affect)
