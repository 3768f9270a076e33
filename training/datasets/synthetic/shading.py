"""The colour and the meaning of what each pixel sees.

C covered pixels, N vertices. Colours are linear light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .camera import Cover
from .head import CLOTHES_Y, Part, SyntheticHead
from .paint import FURROWS, FacePaint, Layer, SyntheticPerson

Floats = npt.NDArray[np.float32]

PARSING_CLASSES = ("background", "skin", "eye", "ear", "nose", "mouth", "neck", "hair")
"""The eight classes of paper 002, section "Implementation details". It does not say where brows
go: here they are skin. Clothes are background, as its nineteen-class parser has them apart."""
BACKGROUND, SKIN, EYE, EAR, NOSE, MOUTH, NECK, HAIR = range(8)

_IRIS_CM, _PUPIL_CM = 0.62, 0.26
_WHITE_OF_EYE = np.array([0.50, 0.46, 0.44], np.float32)
_INNER_MOUTH = np.array([0.045, 0.012, 0.010], np.float32)
_GUMS = np.array([0.26, 0.075, 0.07], np.float32)
_TEETH = np.array([0.62, 0.58, 0.48], np.float32)
_HAIR_BEGINS_CM = 0.0


@dataclass(frozen=True)
class Light:
    """One lamp and the sky: direction (3,) towards the lamp, colours (3,) of lamp, sky, ground."""

    direction: Floats
    lamp: Floats
    sky: Floats
    ground: Floats

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Light:
        """A lamp somewhere in front and above, warm or cold."""
        towards = np.array([rng.normal(0, 0.6), rng.uniform(-0.1, 1.0), 1.0])
        warm = rng.normal(0, 0.08)
        colour = np.array([1 + warm, 1.0, 1 - warm])
        soft = rng.uniform(0.25, 0.7)
        level = rng.uniform(1.0, 1.7)
        return cls(
            direction=(towards / np.linalg.norm(towards)).astype(np.float32),
            lamp=(level * (1 - soft) * 1.3 * colour).astype(np.float32),
            sky=(level * soft * rng.uniform(0.9, 1.1, 3)).astype(np.float32),
            ground=(level * soft * 0.45 * colour).astype(np.float32),
        )


@dataclass(frozen=True)
class Surface:
    """What the pixels of a cover see.

    rest (C, 3) the point's place on the resting head, cm; normal (C, 3) towards the viewer's
    half space; part (C,) `Part`; parsing (C,) uint8 numbers into PARSING_CLASSES; layers (C, K)
    the paint there; hair (C,) 0..1.
    """

    rest: Floats
    normal: Floats
    part: npt.NDArray[np.uint8]
    parsing: npt.NDArray[np.uint8]
    layers: Floats
    hair: Floats
    neck: Floats


def surface(
    head: SyntheticHead,
    person: SyntheticPerson,
    paint: FacePaint,
    normals: Floats,
    cover: Cover,
    hair_cm: Floats,
) -> Surface:
    """Everything that shading and parsing ask of the pixels.

    `normals` (N, 3) are turned, `hair_cm` (N,) is what `SyntheticHead.hair_of` says.
    """
    columns = [head.rest, normals, hair_cm[:, None], head.ear[:, None], head.neck[:, None]]
    seen = cover.blend(np.concatenate(columns, axis=1), head.triangles)
    part = head.part[cover.triangle]
    skin = part == Part.SKIN
    rest = seen[:, :3]
    hair = np.where(skin, seen[:, 6] / 0.5 + 0.5, 0)
    ear = skin & (seen[:, 7] > 0.5)
    hair = np.clip(np.where(ear, 0, hair), 0, 1).astype(np.float32)
    layers = paint.look_up(paint.layers(person.brow_cm), rest[:, :2])
    layers[(rest[:, 2] < 3.5) | ~skin, : Layer.MOTTLE] = 0
    parsing = np.full(len(part), MOUTH, np.uint8)
    parsing[skin] = SKIN
    parsing[skin & (layers[:, Layer.NOSE] > 0.5)] = NOSE
    parsing[skin & (layers[:, Layer.LIPS] > 0.5)] = MOUTH
    parsing[skin & (seen[:, 8] > 0)] = NECK
    parsing[ear] = EAR
    parsing[hair > 0.5] = HAIR
    parsing[skin & (rest[:, 1] < CLOTHES_Y)] = BACKGROUND
    parsing[part == Part.EYE] = EYE
    normal = seen[:, 3:6]
    length = np.sqrt((normal * normal).sum(1, keepdims=True))
    return Surface(rest, normal / np.maximum(length, 1e-6), part, parsing, layers, hair, seen[:, 8])


def lit(
    head: SyntheticHead,
    person: SyntheticPerson,
    light: Light,
    seen: Surface,
    units: dict[str, float],
    gaze_deg: tuple[float, float] = (0.0, 0.0),
) -> Floats:
    """Linear light (C, 3) of the pixels; `units` by name, for the furrows they make.

    The eyes look so far to the face's own left and up, seen from the head.
    """
    albedo = _skin(person, seen, units)
    _eyes(head, person, seen, albedo, gaze_deg)
    inner = np.clip((seen.rest[:, 2] - 6.5) / 4, 0.12, 1)[:, None]
    for part, colour in ((Part.MOUTH, _INNER_MOUTH), (Part.GUMS, _GUMS), (Part.TEETH, _TEETH)):
        at = seen.part == part
        albedo[at] = colour * inner[at]
    up = (seen.normal[:, 1:2] + 1) / 2
    facing = seen.normal @ light.direction
    lamp = np.clip((facing + 0.15) / 1.15, 0, 1)[:, None]
    # Below the chin and beside the neck little sky is seen.
    open_sky = 1 - 0.45 * np.clip(seen.neck, 0, 1)[:, None]
    result = (
        albedo * (light.ground + (light.sky - light.ground) * up + light.lamp * lamp) * open_sky
    )
    return np.asarray(result + _gloss(light, seen), dtype=np.float32)


def _skin(person: SyntheticPerson, seen: Surface, units: dict[str, float]) -> Floats:
    layers = seen.layers
    mottle = 1 + 0.10 * layers[:, Layer.MOTTLE : Layer.MOTTLE + 1]
    albedo = np.asarray(person.skin * mottle, dtype=np.float32)
    _mix(
        albedo, person.skin * np.array([1.05, 0.75, 0.75], np.float32), layers[:, Layer.BLUSH], 0.5
    )
    _mix(albedo, person.hair * 0.6 + person.skin * 0.4, layers[:, Layer.BEARD], person.stubble)
    _mix(albedo, person.lips, layers[:, Layer.LIPS], 0.85)
    crease = np.zeros(len(layers), np.float32)
    for layer, made_by in FURROWS:
        depth = sum(weight * units.get(unit, 0.0) for unit, weight in made_by)
        if depth > 0.02:
            crease += np.float32(min(depth, 1.0)) * layers[:, layer]
    albedo *= (1 - 0.55 * person.furrows * np.clip(crease, 0, 1))[:, None]
    _mix(albedo, person.skin * 0.08, layers[:, Layer.NOSTRIL], 0.85)
    _mix(albedo, person.brow, layers[:, Layer.BROW], 0.88)
    _mix(albedo, person.brow * 0.5, layers[:, Layer.LIDS], 0.8)
    x, y, z = seen.rest.T
    strands = 1 + 0.12 * np.sin(5.3 * x + 1.1 * z + 2 * np.sin(0.9 * y + 0.7 * z))
    strands += 0.12 * np.sin(13.7 * x + 3 * np.sin(1.3 * y) + 2.1 * z)
    _mix(albedo, person.hair * strands[:, None], seen.hair, 1.0)
    clothes = (seen.part == Part.SKIN) & (seen.rest[:, 1] < CLOTHES_Y)
    albedo[clothes] = person.clothes
    return albedo


def _eyes(
    head: SyntheticHead,
    person: SyntheticPerson,
    seen: Surface,
    albedo: Floats,
    gaze_deg: tuple[float, float],
) -> None:
    at = np.flatnonzero(seen.part == Part.EYE)
    if not at.size:
        return
    rest = seen.rest[at]
    centre = head.eye_centre[(rest[:, 0] > 0).astype(np.int64)]
    left, up = np.radians(gaze_deg)
    axis = np.array([np.sin(left) * np.cos(up), np.sin(up), np.cos(left) * np.cos(up)], np.float32)
    across = (rest - centre) - ((rest - centre) @ axis)[:, None] * axis
    out = np.linalg.norm(across, axis=1)
    shade = 1 - 0.5 * np.clip((rest[:, 1] - centre[:, 1] + 0.2) / 0.7, 0, 1)  # of the upper lid
    colour = _WHITE_OF_EYE * shade[:, None]
    _mix(colour, person.iris, np.clip((_IRIS_CM - out) / 0.08 + 0.5, 0, 1), 1.0)
    _mix(colour, person.iris * 0.1, np.clip((_PUPIL_CM - out) / 0.06 + 0.5, 0, 1), 1.0)
    albedo[at] = colour


def _gloss(light: Light, seen: Surface) -> Floats:
    """Highlights: broad and faint on skin, small and strong on wet eyes, none on hair."""
    half = light.direction + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    along = np.clip(seen.normal @ half, 0, 1)
    strength = np.where(seen.part == Part.SKIN, 0.05 * (1 - seen.hair), 0.0) * along**12
    strength = np.where(seen.part == Part.EYE, 0.7 * along**90, strength)
    return np.asarray(strength[:, None] * light.lamp, dtype=np.float32)


def _mix(albedo: Floats, colour: Floats, share: Floats, most: float) -> None:
    """Blend `colour` into `albedo` in place, by at most `most`."""
    albedo += (share * np.float32(most))[:, None] * (colour - albedo)
