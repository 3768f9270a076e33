"""How well opening of the eyes, blinks and gaze are read, and the line that gaze is read by.

Opening and gaze are known of the rendered 3D face; of FER+ photographs a teacher tells the opening.
Blinks are known of rendered faces in motion and, frame by frame, of the real clips.
`ferstream data eyes` gives all figures; with `--learn OUT.npy` it learns the line anew first.

N faces, two eyes: the person's right and left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.engine import Engine, open_engine
from ferstream.stream.clip import MOTION_CROP_PX
from ferstream.stream.eyes import LINE, Blinks, gaze_features, opening
from ferstream.stream.faces.align import crop as aligned_crop
from ferstream.stream.faces.front import Landmarker, open_front_end
from ferstream.stream.faces.mesh import Region
from ferstream.stream.faces.quality import pose_deg
from ferstream.stream.recognize import Recognizer

from ..datasets.point_faces import PointFaces, photographed
from ..datasets.synthetic import (
    SyntheticFaces,
    SyntheticHead,
    SyntheticOptions,
    labels_of,
    load_synthetic_head,
)
from ..datasets.synthetic.camera import Pose

Floats = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

FRONTS = ("own", "mediapipe")
"""Whose landmarks are tried; dlib's are the own ones."""
REAL_BLINKS: Mapping[str, tuple[float, ...]] = {
    "single_face.mp4": (0.9,),
    "face_noface.mov": (0.9,),
    "noface_face.mov": (4.85,),
    "book.mkv": (),
    "eat.mkv": (),
    "smiling_man.mp4": (),
    "two_faces.mp4": (0.67, 1.62, 2.35, 3.08, 3.54, 4.12),
    "three_faces.mp4": (1.83,),
}
"""Middles of the blinks of anybody in a clip, seconds, as looked up frame by frame. The first three
clips show the same moment; smiling_man ends within a blink, in eat somebody looks down."""
_PEOPLE = {"train": (0, 400), "validation": (400, 60), "test": (460, 80)}
_SIDES_PX = (192, 128, 96)
"""Rendered pictures are reduced to these in turn: faces of some 105, 70 and 50 pixels."""
_MOST_TURN_DEG, _MOST_GAZE_DEG = (40.0, 20.0), (30.0, 22.0)
_LOOKS_DEG = (35.0, 30.0)
"""Where the lids have followed the eyes altogether, to a side, and up or down."""
_CLOSED, _OPEN = 0.5, 0.8
"""True openings from which an eye counts as closed and as open."""
_LIDS = ((33, 133, (160, 159, 158), (144, 145, 153)), (263, 362, (387, 386, 385), (373, 374, 380)))
"""Landmarks of both eyes: corners, upper and lower lid."""
_NEAR_S = 0.1
_RIDGE = 1e-3


@dataclass(frozen=True)
class Rendered:
    """A rendered face: picture (H, W, 3) RGB, where its points lie in it, the true opening of both
    eyes 0..1, and how far they are turned in the head to the picture's right and down, degrees."""

    picture: Picture
    points_xy: npt.NDArray[np.float32]
    opening: float
    gaze_deg: tuple[float, float]


@dataclass(frozen=True)
class Read:
    """What is read of N faces: opening (N, 2), the lids' aspect ratio (N, 2), the features of gaze
    (N, 7)."""

    opening: Floats
    aspect: Floats
    gaze: Floats


class Reader:
    """The landmarks of a front end and the bundle's spatial network, as run time uses them."""

    def __init__(self, front: str, bundle: Bundle) -> None:
        self._mesh: Landmarker = open_front_end(front, bundle, threads=1)[1]
        self._spatial: Engine = open_engine(bundle, "spatial", threads=1)
        self._names = bundle.manifest.head("au").labels
        self._crop_px = bundle.manifest.crop.px

    def read(self, faces: Iterator[tuple[Picture, Region]]) -> Read:
        """Each face looked for at its place, and once more where it was found."""
        told: list[tuple[Any, ...]] = []
        for rgb, place in faces:
            (rough,) = self._mesh.run(rgb, [place])
            (mesh,) = self._mesh.run(rgb, [Region.around(rough.xy)])
            crop = aligned_crop(rgb, mesh.xy, self._crop_px)
            shapes = self._spatial.run({"crop": crop[None, None]})["au"][0].tolist()
            open_ = opening(dict(zip(self._names, shapes, strict=True)))
            small = aligned_crop(rgb, mesh.xy, MOTION_CROP_PX)
            gaze = gaze_features(small, mesh.xy, *pose_deg(mesh.landmarks))
            told.append((open_, aspect_ratios(mesh.landmarks), gaze))
        return Read(*(np.array(values, np.float64) for values in zip(*told, strict=True)))

    def close(self) -> None:
        """Free both."""
        self._mesh.close()
        self._spatial.close()


def aspect_ratios(landmarks: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Of landmarks (468, 3): the lids' mean distance over the distance of the eye's corners, of the
    right and the left eye (Soukupova and Cech 2016, in three dimensions)."""

    def one(first: int, last: int, upper: Sequence[int], lower: Sequence[int]) -> float:
        apart = np.linalg.norm(landmarks[list(upper)] - landmarks[list(lower)], axis=1).mean()
        return float(apart / max(np.linalg.norm(landmarks[last] - landmarks[first]), 1e-6))

    right, left = (one(*of) for of in _LIDS)
    return right, left


def rendered_eyes(
    head: SyntheticHead, split: str, count: int, *, closing: bool, seed: int = 0
) -> Iterator[Rendered]:
    """Faces of a split's people turned by 40 degrees at most; with `closing` a third has open eyes,
    a third shut ones, the others are anything between and look ahead; else all are open and look
    about."""
    options = SyntheticOptions(
        size_px=_SIDES_PX[0], taxonomy="fg33", people=_PEOPLE[split], strength=(0.0, 0.8), seed=seed
    )
    faces, words = SyntheticFaces(head, options), labels_of("fg33")
    rng = np.random.default_rng([seed, count, closing, *_PEOPLE[split]])
    for number in range(count):
        yaw, pitch = (float(rng.uniform(-most, most)) for most in _MOST_TURN_DEG)
        shut = float(rng.choice([0.0, 1.0, rng.random()])) if closing else 0.0
        most = (0.0, 0.0) if closing else _MOST_GAZE_DEG
        left, up = (float(rng.uniform(-one, one)) for one in most)
        aside, lifted = left / _LOOKS_DEG[0], up / _LOOKS_DEG[1]
        image = faces.image(
            number,
            word=words[int(rng.integers(len(words)))],
            turn=Pose(yaw, pitch, float(rng.normal(0, 6))),
            units={
                **{"AU43": 0.0, "AU45": shut, "AU61": max(aside, 0.0), "AU62": max(-aside, 0.0)},
                **{"AU63": max(lifted, 0.0), "AU64": max(-lifted, 0.0)},
            },
            gaze_deg=(left, up),
        )
        side = _SIDES_PX[number % len(_SIDES_PX)]
        small = cv2.resize(image.pixels, (side, side), interpolation=cv2.INTER_AREA)
        points = image.mesh_xy * (side / options.size_px)
        yield Rendered(np.asarray(small, np.uint8), points, 1 - shut, (left, -up))


def place_of(points_xy: npt.NDArray[np.float32]) -> Region:
    """Where a face with these points is looked for."""
    low, high = points_xy.min(0), points_xy.max(0)
    x, y = ((low + high) / 2).tolist()
    return Region(x, y, 1.5 * float((high - low).max()), 0.0)


def line_in_use() -> Floats:
    """(7, 2): what `stream.eyes` takes `gaze_features` to degrees right and down by."""
    return np.asarray(np.load(LINE), np.float64)


def learned_line(data: str | None, count: int = 500) -> Floats:
    """The same (7, 2) learned anew on training's rendered people, with every front end's landmarks;
    least squares with a ridge."""
    head, bundle = load_synthetic_head(data), load_bundle()
    faces = list(rendered_eyes(head, "train", count, closing=False))
    wanted = np.array([one.gaze_deg for one in faces])
    features = [_read(name, bundle, faces).gaze for name in FRONTS]
    all_NF, all_N2 = np.concatenate(features), np.concatenate([wanted] * len(FRONTS))
    weights = all_NF.T @ all_NF + _RIDGE * len(all_NF) * np.diag([1.0] * 6 + [0.0])
    return np.asarray(np.linalg.solve(weights, all_NF.T @ all_N2))


def eye_figures(
    line: Floats,
    data: str | None,
    clips: Path,
    *,
    split: str = "test",
    count: int = 240,
    bundle: str = "default",
    told: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Figures by front end.

    opening and aspect (on FER+ and rendered): correlation `r` with the truth, `auc` of closed
    against open eyes; of opening also `right`, mean share of both told right at 0.5. gaze
    (rendered): `r` and mean absolute `error_deg` to the right and down, and `still_deg`, what one
    errs by who says "ahead". blinks (in motion by frame rate, and real clips): `shown`, `found`,
    `false`, and for how long was watched.
    """
    head, opened = load_synthetic_head(data), load_bundle(bundle)
    told(f"{count} rendered faces that close their eyes, {count} that look about")
    closing = list(rendered_eyes(head, split, count, closing=True))
    looking = list(rendered_eyes(head, split, count, closing=False))
    photographs = photographed(split, data, 4 * count)
    told("rendered faces that blink")
    blinking = list(rendered_blinks(head, split))
    report: dict[str, Any] = {}
    for name in FRONTS:
        told(f"figures of {name}")
        gaze = _read(name, opened, looking).gaze @ line
        true = np.array([one.gaze_deg for one in looking])
        report[name] = {
            "FER+": _openings(_read_points(name, opened, photographs), photographs.opening),
            "rendered": _openings(
                _read(name, opened, closing), np.array([[one.opening] * 2 for one in closing])
            ),
            "gaze": {
                "r": [float(np.corrcoef(gaze[:, k], true[:, k])[0, 1]) for k in (0, 1)],
                "error_deg": np.abs(gaze - true).mean(0).tolist(),
                "still_deg": np.abs(true).mean(0).tolist(),
            },
            "blinks": _blinks(name, opened, blinking),
        }
    for name in (*FRONTS, "dlib"):
        told(f"real clips with {name}")
        report.setdefault(name, {})["clips"] = _real_blinks(name, clips, opened)
    return report


@dataclass(frozen=True)
class Moving:
    """A rendered face in motion: pictures at 30 frames per second, where it is, and the middles of
    its blinks, seconds."""

    pictures: list[Picture]
    place: Region
    blinks_s: tuple[float, ...]


_RATE_HZ, _CLIPS, _CLIP_S = 30, 24, 2.6
_NOISE = 3.0
_STEPS = {"30": 1, "15": 2, "10": 3}


def rendered_blinks(head: SyntheticHead, split: str) -> Iterator[Moving]:
    """People who talk, turn and show something; two blinks each, but every fourth has none."""
    options = SyntheticOptions(
        size_px=128,
        taxonomy="fg33",
        people=_PEOPLE[split],
        strength=(0.0, 0.8),
        supersample=1,
        seed=5,
    )
    faces, words = SyntheticFaces(head, options), labels_of("fg33")
    rng = np.random.default_rng([5, *_PEOPLE[split]])
    times_s = np.arange(round(_CLIP_S * _RATE_HZ)) / _RATE_HZ
    for number in range(_CLIPS):
        word, yaw = words[int(rng.integers(len(words)))], float(rng.uniform(-25, 25))
        talks = float(rng.choice([0.0, 0.35]))
        at_s = () if number % 4 == 3 else (rng.uniform(0.6, 1.0), rng.uniform(1.5, 2.1))
        long_s = [float(rng.uniform(0.12, 0.25)) for _ in at_s]
        pictures, place = [], None
        for time_s in times_s.tolist():
            shut = sum(
                float(np.exp(-np.log(2) * (2 * (time_s - at) / long) ** 4))
                for at, long in zip(at_s, long_s, strict=True)
            )
            image = faces.image(
                number,
                word=word,
                turn=Pose(yaw + 4 * np.sin(2 * time_s), 3 * np.sin(1.3 * time_s + 1), 0.0),
                units={
                    **{"AU43": 0.0, "AU45": min(shut, 1.0)},
                    "AU26": talks * (1 + np.sin(22 * time_s)) / 2,
                },
            )
            noisy = image.pixels + rng.normal(0, _NOISE, image.pixels.shape)
            pictures.append(np.clip(noisy, 0, 255).astype(np.uint8))
            place = place or place_of(image.mesh_xy)
        assert place is not None
        yield Moving(pictures, place, tuple(float(at) for at in at_s))


def _blinks(name: str, bundle: Bundle, faces: Sequence[Moving]) -> dict[str, Any]:
    """By frames per second; `30, one in ten dropped` is what its name says."""
    reader, report = Reader(name, bundle), {}
    rng = np.random.default_rng(0)
    read = [reader.read((picture, one.place) for picture in one.pictures).opening for one in faces]
    reader.close()
    for rate, step in {**_STEPS, "30, one in ten dropped": 1}.items():
        shown, found, false, watched_s = 0, 0, 0, 0.0
        for one, open_N2 in zip(faces, read, strict=True):
            finder, told = Blinks(), []
            for at in range(0, len(open_N2), step):
                if "dropped" in rate and rng.random() < 0.1:
                    continue
                (eyes,) = finder.add(at / _RATE_HZ, [(1, tuple(open_N2[at].tolist()), True)])
                assert eyes is not None
                watched_s += eyes.watched_s
                told += [] if eyes.blink is None else [eyes.blink]
            hits = _matched([(b.from_s + b.to_s) / 2 for b in told], one.blinks_s)
            shown, found = shown + len(one.blinks_s), found + hits
            false += len(told) - hits
        report[rate] = {"shown": shown, "found": found, "false": false, "watched_s": watched_s}
    return report


def _real_blinks(name: str, clips: Path, bundle: Bundle) -> dict[str, Any]:
    shown, found, false, watched_s = 0, 0, 0, 0.0
    with Recognizer(bundle, faces=name, threads=1) as recognizer:
        for clip, blinks_s in REAL_BLINKS.items():
            told = []
            for result in recognizer(clips / clip, stream=True, pictures=False):
                for eyes in (face.eyes for face in result.faces if face.eyes is not None):
                    watched_s += eyes.watched_s
                    told += [] if eyes.blink is None else [eyes.blink]
            hits = _matched([(b.from_s + b.to_s) / 2 for b in told], blinks_s)
            shown, found, false = shown + len(blinks_s), found + hits, false + len(told) - hits
    return {"shown": shown, "found": found, "false": false, "watched_s": watched_s}


def _matched(told_s: Sequence[float], true_s: Sequence[float]) -> int:
    """How many of the true moments were told, each once."""
    left = list(told_s)
    for at_s in true_s:
        near = min(left, key=lambda one: abs(one - at_s), default=None)
        if near is not None and abs(near - at_s) <= _NEAR_S:
            left.remove(near)
    return len(told_s) - len(left)


def _read(name: str, bundle: Bundle, faces: Sequence[Rendered]) -> Read:
    reader = Reader(name, bundle)
    try:
        return reader.read((one.picture, place_of(one.points_xy)) for one in faces)
    finally:
        reader.close()


def _read_points(name: str, bundle: Bundle, faces: PointFaces) -> Read:
    """Of grey photographs, at twice their size."""
    reader = Reader(name, bundle)
    try:
        pairs = zip(faces.pictures, faces.points_xy, strict=True)
        return reader.read((_doubled(grey), place_of(2 * points)) for grey, points in pairs)
    finally:
        reader.close()


def _doubled(grey: Picture) -> Picture:
    large = cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(large, cv2.COLOR_GRAY2RGB), np.uint8)


def _openings(read: Read, true_N2: npt.NDArray[np.floating[Any]]) -> dict[str, dict[str, float]]:
    true = np.asarray(true_N2, np.float64).ravel()
    closed, open_ = true < _CLOSED, true > _OPEN
    found: dict[str, dict[str, float]] = {"eyes": {"closed": int(closed.sum()), "n": len(true)}}
    for name, told in (("opening", read.opening.ravel()), ("aspect", read.aspect.ravel())):
        below = (told[closed][:, None] < told[open_]).mean()
        even = (told[closed][:, None] == told[open_]).mean()
        found[name] = {
            "r": float(np.corrcoef(told, true)[0, 1]),
            "auc": float(below + even / 2),
        }
    shut = read.opening.ravel() < _CLOSED
    found["opening"]["right"] = float((shut[closed].mean() + (~shut)[open_].mean()) / 2)
    return found
