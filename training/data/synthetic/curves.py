"""How a synthetic expression comes and goes, and what a face does besides.

T frames, A action units. Times are seconds from the clip's first frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .action_units import ACTION_UNITS

Floats = npt.NDArray[np.float32]

MOMENTS = ("whole", "onset", "apex", "offset")
"""What of an expression a clip shows; whole is onset, apex and offset."""


def level_curve(
    times_s: Floats, tempo_s: tuple[float, float, float], moment: str, rng: np.random.Generator
) -> Floats:
    """How far the expression is on (T,), 0..1.

    A clip that is too short for the whole holds the apex shorter, then is quicker about the
    rest. ValueError where the moment is none of MOMENTS.
    """
    length_s = max(float(times_s[-1]), 1e-3)
    onset_s, apex_s, offset_s = tempo_s
    if moment == "apex":
        return np.ones_like(times_s)
    if moment == "onset":
        start_s = float(rng.uniform(0, 0.5)) * max(length_s - onset_s, 0.1 * length_s)
        return _rise(times_s, start_s, min(onset_s, 0.9 * length_s))
    if moment == "offset":
        start_s = float(rng.uniform(0, 0.5)) * max(length_s - offset_s, 0.1 * length_s)
        return 1 - _rise(times_s, start_s, min(offset_s, 0.9 * length_s))
    if moment != "whole":
        raise ValueError(f"a clip shows one of {', '.join(MOMENTS)}, not {moment!r}")
    start_s = float(rng.uniform(0.02, 0.12)) * length_s
    room_s = length_s - start_s
    quicker = min(1.0, 0.85 * room_s / (onset_s + offset_s))
    onset_s, offset_s = onset_s * quicker, offset_s * quicker
    end_s = start_s + onset_s + min(apex_s, max(room_s - onset_s - offset_s, 0.0))
    rising, falling = _rise(times_s, start_s, onset_s), _rise(times_s, end_s, offset_s)
    return np.asarray(rising * (1 - falling), dtype=np.float32)


def unit_levels(levels: Floats, rng: np.random.Generator) -> Floats:
    """Each unit's own course (T, A): some come before others."""
    order = np.clip(rng.normal(1, 0.15, len(ACTION_UNITS)), 0.6, 1.5)
    return np.asarray(levels[:, None] ** order, dtype=np.float32)


def distraction(
    times_s: Floats, amount: float, tremor: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """What says nothing, or little, of the expression: talking, blinking, looking about, swaying.

    Args:
        amount: 0 none, 1 as in a conversation.
        tremor: 0..1 of a trembling face.

    Returns:
        units (T, A) to add, and turns of the head (T, 3) yaw, pitch, roll in degrees.
    """
    units = np.zeros((len(times_s), len(ACTION_UNITS)), np.float32)
    column = {name: at for at, name in enumerate(ACTION_UNITS)}
    length_s = float(times_s[-1])
    if rng.random() < 0.3 * amount:
        speed_hz, phase = rng.uniform(2, 5), rng.random()
        talk = (np.sin(2 * np.pi * (speed_hz * times_s + phase)) + 1) / 2
        units[:, column["AU26"]] += rng.uniform(0.1, 0.4) * talk
        units[:, column["AU18"]] += rng.uniform(0, 0.3) * np.roll(talk, 1)
    blinks = rng.poisson((0.3 + 0.5 * tremor) * amount * max(length_s, 0.4))
    for when_s in rng.uniform(0, max(length_s, 1e-3), blinks):
        units[:, column["AU45"]] += np.exp(-(((times_s - when_s) / 0.08) ** 2))
    if rng.random() < 0.4 * amount:
        where = ("AU61", "AU62", "AU63", "AU64")[int(rng.integers(0, 4))]
        since_s = rng.uniform(-0.2, max(length_s, 1e-3))
        units[:, column[where]] += rng.uniform(0.2, 0.6) * (times_s > since_s)
    sway = np.zeros((len(times_s), 3), np.float32)
    for axis, reach_deg in enumerate((4.0, 2.5, 2.0)):
        speed_hz, phase = rng.uniform(0.1, 0.5), rng.random()
        swing = np.sin(2 * np.pi * (speed_hz * times_s + phase))
        sway[:, axis] = amount * rng.uniform(0, reach_deg) * swing
    tremble = tremor * amount * 0.3 * np.sin(2 * np.pi * (rng.uniform(6, 9) * times_s))
    sway[:, 1] += tremble.astype(np.float32)
    units[:, column["AU20"]] += np.clip(tremble, 0, 1) * 0.3
    return np.clip(units, 0, 1).astype(np.float32), sway


def _rise(times_s: Floats, start_s: float, length_s: float) -> Floats:
    """A smooth step from 0 at `start_s` to 1 `length_s` later."""
    phase = np.clip((times_s - start_s) / max(length_s, 1e-3), 0, 1)
    return np.asarray(phase * phase * (3 - 2 * phase), dtype=np.float32)
