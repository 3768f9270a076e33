"""Synthetic faces on demand: picture or clip number so-and-so of a set without an end; and a
sheet of them to look at.

A number, the options and the head decide everything about a picture, so a set needs no storing,
several workers may share it, and a run can be repeated.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .camera import POSES, Camera, CameraFaults, Pose
from .expressions import ACTION_UNITS, SyntheticExpression, labels_of, shown
from .head import SyntheticHead
from .paint import SyntheticPerson, person_of
from .shading import PARSING_CLASSES, Light
from .stage import (
    MOMENTS,
    SyntheticClip,
    SyntheticImage,
    SyntheticScene,
    SyntheticStudio,
    distraction,
    drawn_backdrop,
    level_curve,
    unit_levels,
)

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_PERSON, _EXPRESSION, _POSE, _SCENE, _TIME, _NOISE = range(6)
"""Streams of random numbers: another pose leaves person, expression and light as they are."""


@dataclass(frozen=True)
class SyntheticOptions:
    """What a set of synthetic faces shows."""

    taxonomy: str = "basic8"
    """basic8, fg33 or f2ed54."""
    size_px: int = 96
    """Side of the picture."""
    colour: str = "rgb"
    """rgb or grey."""
    framing: str = "head"
    """head (with hair and neck) or crop (what `stream.align` makes of it at run time)."""
    poses: tuple[str, ...] = ("front",)
    """Of half_left, front, half_right, bird."""
    people: tuple[int, int] = (0, 119)
    """First person's number and how many there are; sets with other numbers share nobody."""
    strength: tuple[float, float] = (0.55, 1.0)
    """From the faintest to the strongest expression."""
    faults: float = 1.0
    """The camera's noise, blur and tint; 0 is a clean picture."""
    distraction: float = 0.7
    """Talking, blinking and swaying in clips; 0 is none."""
    trembling_px: float = 0.0
    """How far landmarks err where framing is crop, in pixels of the crop."""
    frames: int = 16
    """Of a clip."""
    rate_hz: float = 12.5
    """Frames per second of a clip."""
    moments: tuple[str, ...] = ("whole",)
    """Of whole, onset, apex, offset: what a clip may show."""
    supersample: int = 2
    """Samples along a pixel's side."""
    seed: int = 0
    """Another seed makes other pictures of the same people."""

    def __post_init__(self) -> None:
        labels_of(self.taxonomy)
        _check(self.colour in ("rgb", "grey"), "colour is rgb or grey", self.colour)
        _check(self.framing in ("head", "crop"), "framing is head or crop", self.framing)
        _check(self.size_px >= 16, "size_px is at least 16", self.size_px)
        _check(self.frames >= 2, "a clip has at least 2 frames", self.frames)
        _check(self.rate_hz > 0, "rate_hz is positive", self.rate_hz)
        _check(self.people[1] >= 1, "there is at least one person", self.people)
        _check(1 <= self.supersample <= 4, "supersample is 1 to 4", self.supersample)
        _check(self.seed >= 0, "seed is not negative", self.seed)
        low, high = self.strength
        _check(0 <= low <= high <= 1, "strength lies in 0..1, low first", self.strength)
        for name, known in ((self.poses, tuple(POSES)), (self.moments, MOMENTS)):
            _check(bool(name) and set(name) <= set(known), f"choose of {', '.join(known)}", name)


class SyntheticFaces:
    """An endless, repeatable set of synthetic faces; use one per thread."""

    def __init__(self, head: SyntheticHead, options: SyntheticOptions | None = None) -> None:
        self.options = options or SyntheticOptions()
        self.labels = labels_of(self.options.taxonomy)
        self._studio = SyntheticStudio(head)

    def image(
        self,
        index: int,
        word: str | None = None,
        person: int | None = None,
        pose: str | None = None,
        turn: Pose | None = None,
        units: Mapping[str, float] | None = None,
        gaze_deg: tuple[float, float] = (0.0, 0.0),
    ) -> SyntheticImage:
        """Picture number `index` (0 and up, as many as wanted).

        Words take turns, then poses; who it is, is drawn. Each may be told instead, and changes
        nothing else: the same index in another pose is the same moment from another side. A `turn`
        holds the head so, instead of nearly as the pose says; `units` have these values, 0..1, on
        both sides, whatever else the face shows. The eyes look `gaze_deg` to the face's own left
        and up, which `mesh_xy` does not show.

        Raises:
            ValueError: the word is not of the taxonomy, or the pose is unknown.
        """
        word, pose, scene, expression, strength = self._cast(index, word, person, pose)
        shown_A, other_side = expression.units.copy(), expression.other_side.copy()
        for name, value in (units or {}).items():
            shown_A[ACTION_UNITS.index(name)] = value
            other_side[ACTION_UNITS.index(name)] = 1.0
        shown_A = self._resting(scene.person, shown_A)
        turn = turn or self._turn(index, pose, expression, 1.0)
        rng = self._rng(index, _NOISE)
        weights = self._studio.weights(shown_A, other_side, expression.strong_side)
        view = scene.view(weights, turn, rng)
        return SyntheticImage(
            pixels=self._coloured(view.picture(shown_A, rng, gaze_deg)),
            parsing=view.parsing(),
            landmarks_xy=view.landmarks_xy,
            anchors_xy=view.anchors_xy,
            mesh_xy=view.mesh_xy,
            action_units=shown_A * (1 + other_side) / 2,
            blendshapes=self._studio.blendshapes(weights),
            word=word,
            label=self.labels.index(word),
            taxonomy=self.options.taxonomy,
            person=scene.person.number,
            pose=pose,
            turn_deg=_degrees(turn),
            strength=strength,
        )

    def clip(
        self,
        index: int,
        word: str | None = None,
        person: int | None = None,
        pose: str | None = None,
        moment: str | None = None,
    ) -> SyntheticClip:
        """Clip number `index`; as `image`, and one of the options' moments is drawn or told."""
        options = self.options
        word, pose, scene, expression, strength = self._cast(index, word, person, pose)
        rng = self._rng(index, _TIME)
        chosen = options.moments[int(rng.integers(0, len(options.moments)))]
        times_s = np.arange(options.frames, dtype=np.float32) / np.float32(options.rate_hz)
        levels = level_curve(times_s, expression.tempo_s, moment or chosen, rng)
        extra_TA, sway_T3 = distraction(times_s, options.distraction, expression.tremor, rng)
        units_TA = unit_levels(levels, rng) * expression.units
        units_TA = np.clip(np.maximum(units_TA, extra_TA), 0, 1)
        units_TA = np.stack([self._resting(scene.person, units) for units in units_TA])
        noise = self._rng(index, _NOISE)
        views, pixels, weights_TE, turns = [], [], [], []
        for units, level, sway in zip(units_TA, levels, sway_T3, strict=True):
            turn = self._turn(index, pose, expression, float(level)) + Pose(*map(float, sway))
            weights = self._studio.weights(units, expression.other_side, expression.strong_side)
            views.append(scene.view(weights, turn, noise))
            pixels.append(self._coloured(views[-1].picture(units, noise)))
            weights_TE.append(self._studio.blendshapes(weights))
            turns.append(_degrees(turn))
        flows = [before.flow_to(after) for before, after in itertools.pairwise(views)]
        return SyntheticClip(
            pixels=np.stack(pixels),
            times_s=times_s,
            levels=levels,
            parsing=np.stack([view.parsing() for view in views]),
            landmarks_xy=np.stack([view.landmarks_xy for view in views]),
            anchors_xy=np.stack([view.anchors_xy for view in views]),
            mesh_xy=np.stack([view.mesh_xy for view in views]),
            action_units=units_TA * (1 + expression.other_side) / 2,
            blendshapes=np.stack(weights_TE),
            flow=np.stack([flow for flow, _ in flows]),
            flow_seen=np.stack([seen for _, seen in flows]),
            word=word,
            label=self.labels.index(word),
            taxonomy=options.taxonomy,
            person=scene.person.number,
            pose=pose,
            turn_deg=np.stack(turns),
            strength=strength,
            moment=moment or chosen,
        )

    def _cast(
        self, index: int, word: str | None, person: int | None, pose: str | None
    ) -> tuple[str, str, SyntheticScene, SyntheticExpression, float]:
        """Who shows what, before which camera."""
        options = self.options
        _check(index >= 0, "pictures are numbered from 0", index)
        word = word or self.labels[index % len(self.labels)]
        _check(word in self.labels, f"{options.taxonomy} has {', '.join(self.labels)}", word)
        pose = pose or options.poses[(index // len(self.labels)) % len(options.poses)]
        _check(pose in POSES, f"poses are {', '.join(POSES)}", pose)
        first, count = options.people
        drawn = first + int(self._rng(index, _PERSON).integers(0, count))
        who = person_of(drawn if person is None else person, self._studio.head.people)
        rng = self._rng(index, _EXPRESSION)
        strength = float(rng.uniform(*options.strength))
        return (
            word,
            pose,
            self._scene(index, who),
            shown(word, strength, who.vividness, rng),
            strength,
        )

    def _scene(self, index: int, who: SyntheticPerson) -> SyntheticScene:
        options, rng, head = self.options, self._rng(index, _SCENE), self._studio.head
        hair = head.hair_of(who.hairline_cm, who.long_cm)
        camera = Camera(
            distance_cm=float(rng.uniform(50, 140)),
            side_cm=float(rng.uniform(25, 31)),
            centre_cm=(float(rng.normal(0, 0.6)), float(rng.normal(1.0, 0.6))),
        )
        return SyntheticScene(
            studio=self._studio,
            person=who,
            hair_cm=hair,
            resting=head.person(who.shape, hair, who.hair_cm, who.long_cm),
            camera=camera,
            light=Light.drawn(rng),
            faults=CameraFaults.drawn(rng, options.faults),
            backdrop=drawn_backdrop(options.size_px, rng),
            size_px=options.size_px,
            framing=options.framing,
            supersample=options.supersample,
            trembling_px=options.trembling_px,
        )

    def _turn(self, index: int, pose: str, expression: SyntheticExpression, level: float) -> Pose:
        """The camera's side, how the head is held, and what the expression adds."""
        yaw, pitch = POSES[pose]
        held = self._rng(index, _POSE).normal(0, (4.0, 3.0, 3.0))
        word = expression.turn
        # The camera's turn is the same whatever the head does.
        return Pose(
            yaw + float(held[0]) + level * word.yaw_deg,
            pitch + float(held[1]) + level * word.pitch_deg,
            float(held[2]) + level * word.roll_deg,
        )

    def _resting(self, person: SyntheticPerson, units: Floats) -> Floats:
        """Units (A,) with what this face shows at rest; shut eyes widen no further."""
        result = np.maximum(units, person.habits)
        shut = max(float(result[ACTION_UNITS.index(name)]) for name in ("AU43", "AU45"))
        result[ACTION_UNITS.index("AU5")] *= 1 - shut
        return np.asarray(result, dtype=np.float32)

    def _coloured(self, image: Image) -> Image:
        if self.options.colour == "rgb":
            return image
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.options.seed, index, stream])


def _degrees(turn: Pose) -> Floats:
    return np.array([turn.yaw_deg, turn.pitch_deg, turn.roll_deg], np.float32)


def _check(right: bool, rule: str, value: object) -> None:
    if not right:
        raise ValueError(f"synthetic faces: {rule}; got {value!r}")


Tile = tuple[Image, str]

COLUMNS = 8
PARSING_COLOURS = np.array(
    [
        [24, 24, 28],
        [226, 182, 150],
        [250, 250, 250],
        [176, 96, 200],
        [240, 200, 70],
        [214, 48, 68],
        [112, 164, 98],
        [94, 66, 46],
    ],
    np.uint8,
)
"""A colour for each of PARSING_CLASSES."""
_CAPTION_PX, _GAP_PX = 14, 2
_PAPER, _INK = 250, (40, 40, 46)


def synthetic_sheet(head: SyntheticHead, size_px: int = 88, seed: int = 0) -> Image:
    """Expressions of basic8 and fine words, the four poses with parsing and landmarks, the true
    motion of a clip, and people: an RGB picture with captions."""

    def faces(**changes: object) -> SyntheticFaces:
        plain = {"size_px": size_px, "seed": seed, "faults": 0.0, "supersample": 3}
        return SyntheticFaces(head, SyntheticOptions(**{**plain, **changes}))  # type: ignore[arg-type]

    strong = {"strength": (0.95, 1.0)}
    basic = faces(**strong)
    rows = [[(basic.image(3, word, 11).pixels, word) for word in basic.labels]]
    fine = faces(taxonomy="fg33", framing="crop", **strong)
    chosen = ("pride", "thrill", "lust", "astonishment", "wrath", "loathing", "panic", "guilt")
    rows.append([(fine.image(7, word, 5).pixels, word) for word in chosen])
    finer = faces(taxonomy="f2ed54", framing="crop", **strong)
    chosen = ("ecstasy", "rage", "grief", "boredom", "suspicion", "doubt", "awe", "shame")
    rows.append([(finer.image(9, word, 21).pixels, word) for word in chosen])
    rows.append(_poses(basic))
    rows += _motion(faces(frames=8, rate_hz=3.0, distraction=0.0, **strong))
    people = faces(faults=1.0)
    rows.append(
        [(people.image(40 + n, "neutral", n).pixels, f"person {n}") for n in range(COLUMNS)]
    )
    return _laid_out(rows, size_px)


def flow_picture(flow: npt.NDArray[np.float32], full_px: float) -> Image:
    """Motion (H, W, 2) as colours (H, W, 3): hue its direction, saturation its size."""
    size, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1], angleInDegrees=True)
    colours = np.empty((*flow.shape[:2], 3), np.uint8)
    colours[..., 0] = angle / 2
    colours[..., 1] = np.clip(255 * size / full_px, 0, 255)
    colours[..., 2] = 245
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_HSV2RGB), dtype=np.uint8)


def _poses(faces: SyntheticFaces) -> list[Tile]:
    tiles: list[Tile] = []
    for pose in POSES:
        image = faces.image(1, "happiness", 2, pose)
        dotted = image.pixels.copy()
        for x, y in np.rint(image.landmarks_xy).astype(int):
            if 0 <= x < dotted.shape[1] and 0 <= y < dotted.shape[0]:
                dotted[y, x] = (80, 255, 120)
        tiles += [(dotted, pose.replace("_", " ")), (PARSING_COLOURS[image.parsing], "parsing")]
    return tiles


def _motion(faces: SyntheticFaces) -> list[list[Tile]]:
    clip = faces.clip(4, "happiness", 3)
    full_px = float(np.percentile(np.abs(clip.flow), 99.5)) or 1.0
    shown = [(pixels, f"{t:.2f} s") for pixels, t in zip(clip.pixels, clip.times_s, strict=True)]
    moved = [(flow_picture(flow, full_px), "true flow") for flow in clip.flow]
    legend = np.full_like(clip.pixels[0], _PAPER)
    step = legend.shape[0] // len(PARSING_CLASSES)
    for row, (name, colour) in enumerate(zip(PARSING_CLASSES, PARSING_COLOURS, strict=True)):
        top = row * step
        legend[top + 1 : top + step - 1, 4 : 4 + step] = colour
        _write(legend, name, (step + 8, top + step - 3))
    return [shown, [*moved, (legend, "parsing classes")]]


def _laid_out(rows: list[list[Tile]], size_px: int) -> Image:
    step, line = size_px + _GAP_PX, size_px + _CAPTION_PX + _GAP_PX
    sheet = np.full((line * len(rows) + 18, step * COLUMNS + _GAP_PX, 3), _PAPER, np.uint8)
    for row, tiles in enumerate(rows):
        for column, (picture, caption) in enumerate(tiles):
            top, left = 18 + row * line, _GAP_PX + column * step
            sheet[top : top + size_px, left : left + size_px] = picture
            _write(sheet, caption, (left + 1, top + size_px + 10))
    _write(sheet, "synthetic faces: rendered from a 3D model, nobody's photograph", (4, 12))
    return sheet


def _write(sheet: Image, text: str, at: tuple[int, int]) -> None:
    cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.33, _INK, 1, cv2.LINE_AA)
