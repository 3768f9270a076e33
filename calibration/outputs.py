"""What a bundle's deployed engines say of samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle
from ferstream.engines.engine import open_engine

Array = npt.NDArray[np.float32]


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
    engine: str = "auto",
    precision: str = "auto",
    batch: int = 128,
) -> tuple[dict[str, Array], str, str]:
    """All that the fusion network gives of single photographs, by name (N, ...), the backend and
    the precision of the spatial network.

    A photograph is a clip of one frame without motion.
    """
    spatial = open_engine(bundle, "spatial", backend=engine, precision=precision)
    fusion = open_engine(bundle, "fusion", backend=engine)
    parts = []
    for start in range(0, len(crops), batch):
        feature = spatial.run({"crop": crops[start : start + batch]})["feature"]
        parts.append(fusion.run(alone(bundle, feature)))
    used = spatial.backend, spatial.precision
    spatial.close()
    fusion.close()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, *used


def photograph_logits(
    bundle: Bundle,
    crops: npt.NDArray[np.uint8],
    *,
    engine: str = "auto",
    precision: str = "auto",
    batch: int = 128,
) -> tuple[Array, Array, str, str]:
    """Clip logits (N, 8) and (N, 135) of single photographs, the backend and the precision."""
    out, backend, used = photograph_outputs(
        bundle, crops, engine=engine, precision=precision, batch=batch
    )
    return out["basic8"], out["emo135"], backend, used


def motion_logits(
    bundle: Bundle, motion: Array, precision: str = "auto", batch: int = 128
) -> Array:
    """Logits (N, 8) of motion stacks (N, 2F, 32, 32) by the deployed engine."""
    engine = open_engine(bundle, "temporal", precision=precision)
    parts = [
        engine.run({"motion": motion[at : at + batch]})["basic8"]
        for at in range(0, len(motion), batch)
    ]
    engine.close()
    return np.concatenate(parts)
