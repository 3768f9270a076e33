"""Outputs of a bundle's deployed engines for photographs, motion and clips.

N samples, T frames of a clip, D features, F motion fields.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle
from ferstream.engines.contract import motion_input
from ferstream.engines.engine import Engine, open_engine
from ferstream.engines.views import Reading, Views
from ferstream.training.datasets.motion import motion_weights

Array = npt.NDArray[np.float32]
Logits = dict[str, Array]
"""A network's outputs by name, (N, ...) each."""
BATCH = 128


def alone(bundle: Bundle, feature: Array) -> dict[str, Array]:
    """Inputs of the fusion network for features (N, D) that are clips of one frame each, without
    motion."""
    rows = len(feature)
    inputs = {
        tensor.name: np.zeros((rows, int(tensor.shape[-1])), np.float32)
        for tensor in bundle.manifest.networks["fusion"].inputs
        if tensor.name not in ("feature", "mask")
    }
    return {"feature": feature[:, None], "mask": np.ones((rows, 1), np.float32), **inputs}


def photograph_outputs(
    bundle: Bundle,
    crops: npt.NDArray[np.uint8],
    *,
    backend: str = "auto",
    precision: str = "auto",
    batch: int = BATCH,
) -> tuple[dict[str, Array], str, str]:
    """All that the fusion network gives of single photographs, by name (N, ...), the backend and
    the precision of the spatial network.

    A photograph is a clip of one frame without motion, read in several views (`engines.views`).
    """
    spatial = open_engine(bundle, "spatial", backend=backend, precision=precision)
    fusion = open_engine(bundle, "fusion", backend=backend)
    views, parts = Views(bundle.manifest), []
    for start in range(0, len(crops), batch):
        single = crops[start : start + batch]
        readings = [Reading.ALONE] * len(single)
        seen = views.joined(spatial.run({"crop": views.crops(single, readings)}), readings)
        parts.append(fusion.run(alone(bundle, seen["feature"])))
    used = spatial.backend, spatial.precision
    spatial.close()
    fusion.close()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, *used


def photograph_logits(
    bundle: Bundle,
    crops: npt.NDArray[np.uint8],
    *,
    backend: str = "auto",
    precision: str = "auto",
    batch: int = BATCH,
) -> tuple[Array, Array, str, str]:
    """Clip logits (N, 8) and (N, 135) of single photographs, the backend and the precision."""
    out, backend, used = photograph_outputs(
        bundle, crops, backend=backend, precision=precision, batch=batch
    )
    return out["basic8"], out["emo135"], backend, used


class ClipScorer:
    """The bundle's engines on whole clips: (N, T) crops and, where given, motion stacks."""

    def __init__(self, bundle: Bundle, backend: str = "auto", precision: str = "auto") -> None:
        self.head = bundle.manifest.head("basic8")
        self.words = bundle.manifest.head("emo135")
        self._motion, self._recency_s = bundle.manifest.motion, bundle.manifest.clip_recency_s
        self._views = Views(bundle.manifest)
        self._rest = {
            tensor.name: int(tensor.shape[-1])
            for tensor in bundle.manifest.networks["fusion"].inputs
            if tensor.name not in ("feature", "mask")
        }
        self._engines: dict[str, Engine] = {
            network: open_engine(bundle, network, backend=backend, precision=choice)
            for network, choice in (
                ("spatial", precision),
                ("temporal", precision),
                ("fusion", "auto"),
            )
        }

    def features(self, crops: npt.NDArray[np.uint8]) -> Array:
        """Crops (N, T, 48, 48) to features (N, T, D); moments take turns as they are and mirrored,
        as at run time."""
        flat = crops.reshape(-1, 1, *crops.shape[2:])
        turns = [(Reading.AS_IS, Reading.MIRRORED)[moment % 2] for moment in range(crops.shape[1])]
        readings = turns * len(crops)
        parts = []
        for at in range(0, len(flat), BATCH):
            shown = self._views.crops(flat[at : at + BATCH], readings[at : at + BATCH])
            parts.append(self._engines["spatial"].run({"crop": shown})["feature"])
        return np.concatenate(parts).reshape(*crops.shape[:2], -1)

    def motion(self, stacks: Array) -> Logits:
        """Logits of the temporal network for stacks (N, 2F, 32, 32): basic8 (N, 8), and those of
        the other heads that it has."""
        parts = [
            self._engines["temporal"].run({"motion": stacks[at : at + BATCH]})
            for at in range(0, len(stacks), BATCH)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def motion_inputs(self, motion: Logits) -> dict[str, Array]:
        """The temporal network's logits under the names of the fusion network's inputs."""
        return {motion_input(head): logits for head, logits in motion.items()}

    def motion_weights(self, stacks: Array) -> Array:
        """Weights (N, 1), 0..1, of the motion in each of the stacks (N, 2F, 32, 32), as at run
        time."""
        return motion_weights(stacks, self._motion.still, self._motion.moving)

    def fused(
        self,
        feature: Array,
        motion: Logits | None = None,
        weight: Array | None = None,
        age_s: Array | None = None,
    ) -> Logits:
        """All outputs of the fusion network for features (N, T, D), the temporal network's logits,
        their weights (N, 1) and the ages of the frames (N, T); without ages all frames count
        alike."""
        count, frames = feature.shape[:2]
        mask = np.ones((count, frames), np.float32)
        if age_s is not None and self._recency_s:
            mask = np.exp(-age_s / self._recency_s).astype(np.float32)
        inputs = {name: np.zeros((count, width), np.float32) for name, width in self._rest.items()}
        inputs |= {"feature": feature, "mask": mask}
        if motion is not None and weight is not None:
            inputs |= {"has_motion": weight, **self.motion_inputs(motion)}
        return dict(self._engines["fusion"].run(inputs))

    def clips(
        self, feature: Array, motion: Logits | None = None, weight: Array | None = None
    ) -> tuple[Array, Array]:
        """The same, as probabilities (N, 8) and attention (N, T)."""
        out = self.fused(feature, motion, weight)
        return self.head.probabilities(out["basic8"]), out["attention"]

    def single(self, feature: Array) -> Array:
        """Features (N, D), each taken as a clip of one frame, to probabilities (N, 8)."""
        return self.clips(feature[:, None])[0]
