"""Trained stages to the networks of a bundle: priors, temperatures and the fusion's weight.

Everything is chosen on the validation split. K classes, N samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from calibration.probability import fit_temperature, softmax
from calibration.reliability import expected_calibration_error, negative_log_likelihood
from engines.taxonomy import roll_up

from .data.augment import CROP_PX
from .data.fer import FerPlus, load_fer_plus
from .data.words import word_affinity, word_targets
from .draws import sampling_weights
from .evaluate import crops_of
from .networks.compact_msau import CompactMSAU
from .networks.fusion import Fusion
from .networks.motion_net import MotionNet
from .stages import DEFAULT, trained_attention, trained_spatial, trained_temporal
from .systems.attention import StreamClips, features_of, stream_clips
from .systems.temporal import face_shape

Array = npt.NDArray[np.float32]

PRIOR_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
RARE_GAIN = 0.25
"""What a point of macro recall is worth in points of top-1 when the prior is chosen."""
COUPLINGS = (0.0, 0.25, 0.5, 0.75, 1.0)
WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))


@dataclass(frozen=True)
class TrainedNetworks:
    """The three networks, their heads calibrated."""

    spatial: CompactMSAU
    temporal: MotionNet
    fusion: Fusion


def assemble(run: Path, folder: str | None) -> tuple[TrainedNetworks, dict[str, Any]]:
    """The networks of a run and how they were put together.

    Raises:
        StageMissing: a stage has not run.
    """
    spatial, temporal = trained_spatial(run), trained_temporal(run)
    report: dict[str, Any] = {"heads": calibrate_heads(spatial, folder)}
    clips = stream_clips(face_shape(folder), "validation", folder, seed=1)
    attention = trained_attention(run, spatial.features)
    logits = temporal_logits(temporal, clips.motion)
    warmth = fit_temperature(logits, clips.target)
    fold(temporal.basic8, warmth)
    fusion = Fusion(spatial.features, torch.from_numpy(word_affinity())).eval()
    fusion.attend = attention
    fusion.basic8.load_state_dict(spatial.head.state_dict())
    assert spatial.words is not None
    fusion.emo135.load_state_dict(spatial.words.state_dict())
    sweep = sweep_weights(fusion, clip_features(spatial, clips), logits / warmth, clips)
    fusion.weight = min(WEIGHTS, key=lambda weight: sweep[weight]["nll"])
    fusion.mixture_temperature = sweep[fusion.weight]["temperature"]
    report |= {"temporal_temperature": warmth, "fusion": sweep, "weight": fusion.weight}
    report["words"] = couple_words(spatial, fusion, folder)
    return TrainedNetworks(spatial, temporal, fusion), report


def calibrate_heads(network: CompactMSAU, folder: str | None) -> dict[str, float]:
    """Fold class prior and temperature into the expressions' head; returns what was chosen.

    The balanced sampler showed rare emotions more often than they are; how much of that is taken
    back trades top-1 against the recall of rare emotions, and the validation split decides.
    """
    data, features = validation_features(network, folder)
    logits = network.head(features).detach().numpy()
    shift = sampled_prior(folder)
    label = data.majority

    def worth(step: float) -> float:
        guess = (logits - step * shift).argmax(axis=1)
        recall = [(guess[label == k] == k).mean() for k in range(8)]
        return float((guess == label).mean() + RARE_GAIN * np.mean(recall))

    step = max(PRIOR_STEPS, key=worth)
    temperature = fit_temperature(logits - step * shift, one_hot(label))
    fold(network.head, temperature, torch.from_numpy(-step * shift).float())
    return {"prior": step, "basic8_temperature": temperature}


def couple_words(
    network: CompactMSAU, fusion: Fusion, folder: str | None
) -> dict[float, dict[str, float]]:
    """Choose how closely the words follow the emotions; returns the figures of each choice.

    The choice is the one whose families fit the crowd's best (least cross entropy). The words'
    temperature is fitted later, on the deployed engine.
    """
    data, features = validation_features(network, folder)
    targets, weight = word_targets(data)
    families = roll_up("emo135", "family6")
    crowd = targets @ families
    found = {}
    for coupling in COUPLINGS:
        fusion.coupling = coupling
        probability = softmax(single_word_logits(fusion, features))
        agreed = -(crowd * np.log(probability @ families + 1e-9)).sum(axis=1)
        found[coupling] = {"family_nll": float((agreed * weight).sum() / weight.sum())}
    fusion.coupling = min(COUPLINGS, key=lambda coupling: found[coupling]["family_nll"])
    return found


@torch.no_grad()
def single_word_logits(fusion: Fusion, features: Tensor) -> Array:
    """Word logits (N, 135) of features (N, D), each a clip of one frame."""
    one, none = torch.ones(len(features), 1), torch.zeros(len(features), 1)
    out = fusion(features[:, None], one, torch.zeros(len(features), 8), none)
    return np.asarray(out.emo135.numpy(), np.float32)


def validation_features(network: CompactMSAU, folder: str | None) -> tuple[FerPlus, Tensor]:
    """The rated validation photographs and their features (N, D)."""
    data = load_fer_plus("validation", folder)
    data = data.subset(data.rated)
    return data, features_of(network, crops_of(data, CROP_PX)[:, 0], exact=True)


def one_hot(label: npt.NDArray[np.int64]) -> Array:
    """Labels (N,) to rows (N, 8): temperatures are fitted on the raters' majority, so that of
    the faces given 0.7 seven in ten are what most raters say."""
    return np.eye(8, dtype=np.float32)[label]


def sampled_prior(folder: str | None) -> Array:
    """Log of how much more often than in the data the sampler showed each emotion, (8,)."""
    data = load_fer_plus("train", folder)
    data = data.subset(data.rated)
    weight = sampling_weights(data.votes, DEFAULT.balance).numpy()[:, None]
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
def temporal_logits(network: MotionNet, motion: Array) -> Array:
    """Stacks (N, 2F, 32, 32) to logits (N, 8)."""
    parts = torch.split(torch.from_numpy(motion), 256)
    return np.asarray(torch.cat([network(part) for part in parts]).numpy(), np.float32)


def clip_features(network: CompactMSAU, clips: StreamClips) -> Tensor:
    """Features (N, T, D) of every moment of every clip."""
    count, frames = clips.crops.shape[:2]
    features = features_of(network, clips.crops.reshape(-1, *clips.crops.shape[2:]))
    return features.reshape(count, frames, -1)


@torch.no_grad()
def sweep_weights(
    fusion: Fusion, features: Tensor, temporal: Array, clips: StreamClips
) -> dict[float, dict[str, float]]:
    """Figures of the fused score for each weight of the spatial stream, 0 to 1.

    The label is the likelier of the votes as far as the expression is on at the clip's end; each
    weight is judged at its own best temperature.
    """
    rows = len(features)
    mask, moving = torch.ones(features.shape[:2]), torch.ones(rows, 1)
    label = clips.target.argmax(axis=1)
    found = {}
    for weight in WEIGHTS:
        fusion.weight = weight
        logits = fusion(features, mask, torch.from_numpy(temporal), moving).basic8.numpy()
        temperature = fit_temperature(logits, one_hot(label))
        probability = softmax(logits, temperature)
        found[weight] = {
            "top1": float((probability.argmax(axis=1) == label).mean()),
            "nll": negative_log_likelihood(probability, one_hot(label)),
            "ece": expected_calibration_error(probability, label),
            "temperature": temperature,
        }
    return found
