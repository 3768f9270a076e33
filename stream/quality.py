"""How good a view of a face is: size, sharpness, pose, presence, brightness."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Quality:
    """One view's quality; every part is measured, `score` sums it up."""

    size_px: float
    """Width of the face in the frame, pixels."""
    sharpness: float
    """0 (smeared) .. 1 (crisp): edges of the aligned crop against its contrast."""
    yaw_deg: float
    """Head turn, degrees; positive to the image's right."""
    pitch_deg: float
    """Head nod, degrees; positive downwards."""
    presence: float
    """The landmark network's own belief that a face is there, 0..1."""
    brightness: float
    """Mean grey of the aligned crop, 0..1."""
    score: float
    """0 (worthless) .. 1 (a large, sharp, lit, frontal face)."""

    def to_json(self) -> dict[str, float]:
        """Plain numbers, rounded."""
        return {name: round(value, 3) for name, value in asdict(self).items()}
