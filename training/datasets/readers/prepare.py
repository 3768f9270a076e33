"""Faces found, aligned as run time does, and cached: what training reads.

The crop is cut by `stream.faces.align.crop` under the landmarks of the mesh that run time uses;
nothing else touches the pixels. Shards are written one after the other, each of a fixed stretch of
the set's items, so that a run that was killed goes on where it was and ends with the same bytes.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ferstream.stream.clip import MOTION_CROP_PX
from ferstream.stream.faces.align import ANCHOR_LANDMARKS, ANCHOR_TEMPLATE

from .check import digest, leaking, twins
from .errors import PictureError, PreparedError
from .faceset import FaceSet, Item
from .finder import Crop, FaceFinder
from .prepared import (
    DROPPED,
    FORMAT,
    SET,
    Arrays,
    Prepared,
    is_whole,
    read_facts,
    shard_arrays,
    shard_path,
    write_shard,
    write_text,
)

IMAGES_A_SHARD, CLIPS_A_SHARD = 1024, 64
NO_FACE = "no face found"
_LOCK = ".lock"

Progress = Callable[[int], None]


@dataclass(frozen=True)
class PrepareOptions:
    """How faces are prepared."""

    crop_px: int = MOTION_CROP_PX
    """Side of the crops; networks that see less reduce them."""
    clip_frames: int = 32
    """At most so many frames of a clip, spread evenly over it."""
    drop_twins: bool = True
    """Leave out what has an exact twin in another split: test keeps its own, then validation."""

    def __post_init__(self) -> None:
        if not 16 <= self.crop_px <= 512:
            raise PreparedError(f"crops of {self.crop_px} pixels: 16 to 512")
        if self.clip_frames < 1:
            raise PreparedError(f"{self.clip_frames} frames of a clip: one at least")


def prepare(
    faces: FaceSet,
    out: str | Path,
    options: PrepareOptions | None = None,
    *,
    progress: Progress = lambda done: None,
) -> Prepared:
    """Prepare a set (read with strict=False) into a folder, or go on with it.

    Returns what is in the folder then; `facts["dropped"]` counts what was left out and why.

    Raises:
        PreparedError: the folder holds something else, another preparation is at work on it, or
            not a single face was found.
    """
    options = options or PrepareOptions()
    folder = Path(out).expanduser().resolve()
    with _alone(folder):
        facts = _begin(faces, folder, options)
        if facts["complete"]:
            progress(len(faces))
            return Prepared(folder, facts)
        size = facts["items_a_shard"]
        left_out = _twins_to_drop(faces) if options.drop_twins else {}
        finder: FaceFinder | None = None
        for number in range(facts["shards"]):
            start = number * size
            if not is_whole(shard_path(folder, number)):
                finder = finder or FaceFinder()
                part = replace(faces, items=faces.items[start : start + size])
                twin = {at - start: left_out[at] for at in left_out if 0 <= at - start < size}
                arrays = _shard(part, twin, options, finder, _from(start, progress))
                write_shard(shard_path(folder, number), arrays)
            progress(min(start + size, len(faces)))
        return _finish(faces, folder, facts)


def _from(start: int, progress: Progress) -> Progress:
    """Progress of a part as progress of the whole."""
    return lambda done: progress(start + done)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder, so that two runs do not write into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("w")
    except OSError as error:
        raise PreparedError(f"{folder} cannot be written: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PreparedError(f"another ferstream data prepare is at work on {folder}") from None
        yield


def _begin(faces: FaceSet, folder: Path, options: PrepareOptions) -> dict[str, Any]:
    """set.json of this preparation: the one that is there, or a new one."""
    source = source_fingerprint(faces, options)
    if (folder / SET).is_file():
        facts = read_facts(folder)
        if facts["source"] != source:
            raise PreparedError(
                f"{folder} was prepared from other data, labels or options: name a new folder"
            )
        return facts
    others = sorted(path.name for path in folder.iterdir() if path.name != _LOCK)
    if others:
        raise PreparedError(f"{folder} holds {others[0]}: name an empty or a new folder")
    if not faces.items:
        raise PreparedError(f"{faces.root} ({faces.layout}) has not one labelled face to prepare")
    size = IMAGES_A_SHARD if faces.kind == "images" else CLIPS_A_SHARD
    facts = {
        "format": FORMAT,
        "complete": False,
        "about": f"{faces.root.name} ({faces.layout})",
        "layout": faces.layout,
        "kind": faces.kind,
        "labels": list(faces.labels),
        "units": list(faces.units),
        "options": asdict(options),
        "source": source,
        "items": len(faces),
        "items_a_shard": size,
        "shards": -(-len(faces) // size),
    }
    write_text(folder / SET, json.dumps(facts, indent=1))
    return facts


def source_fingerprint(faces: FaceSet, options: PrepareOptions) -> str:
    """Of everything that decides what comes out: labels, files' names and sizes, options, the
    alignment's template."""
    seen = hashlib.sha256()
    template = (ANCHOR_LANDMARKS, ANCHOR_TEMPLATE.tolist())
    head = (FORMAT, faces.layout, faces.kind, faces.labels, faces.units, asdict(options), template)
    seen.update(json.dumps(head).encode())
    sizes: dict[Path, int] = {}
    for item in faces.items:
        if item.path not in sizes:
            sizes[item.path] = _size(item.path)
        row = (item.name, item.split, item.label, item.votes, item.units, item.subject, item.pose)
        seen.update(json.dumps((*row, item.frames, item.box, sizes[item.path])).encode())
    return seen.hexdigest()


def _size(path: Path) -> int:
    """Bytes of a file, or of a folder's files; -1 where there is nothing."""
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                return sum(entry.stat().st_size for entry in entries if entry.is_file())
        return path.stat().st_size
    except OSError:
        return -1


def _twins_to_drop(faces: FaceSet) -> dict[int, str]:
    if len(faces.splits) < 2:
        return {}
    groups = twins([digest(faces, item) for item in faces.items])
    return {
        at: f"twin of {faces.items[stays].name} ({faces.items[stays].split})"
        for at, stays in leaking(faces, groups).items()
    }


def _shard(
    part: FaceSet,
    twin: dict[int, str],
    options: PrepareOptions,
    finder: FaceFinder,
    progress: Progress,
) -> Arrays:
    """The arrays of one stretch of items."""
    kept: list[tuple[Item, list[Crop]]] = []
    dropped = [(part.items[at].name, why) for at, why in twin.items()]
    wanted = replace(part, items=tuple(i for at, i in enumerate(part.items) if at not in twin))
    found = (
        _clips(wanted, options, finder)
        if part.kind == "clips"
        else _images(wanted, options, finder)
    )
    for done, (item, crops) in enumerate(found, start=1):
        if isinstance(crops, str):
            dropped.append((item.name, crops))
        else:
            kept.append((item, crops))
        progress(done)
    return shard_arrays(part, kept, dropped, options.crop_px)


Result = Iterator[tuple[Item, list[Crop] | str]]


def _images(part: FaceSet, options: PrepareOptions, finder: FaceFinder) -> Result:
    for item, picture in part.pictures():
        if isinstance(picture, Exception):
            yield item, str(picture)
            continue
        crop = finder.crop(picture, options.crop_px, box=item.box)
        yield item, [crop] if crop is not None else NO_FACE


def _clips(part: FaceSet, options: PrepareOptions, finder: FaceFinder) -> Result:
    for index, item in enumerate(part.items):
        try:
            frames = part.clip(index, options.clip_frames)
        except PictureError as error:
            yield item, str(error)
            continue
        crops = finder.clip(frames, options.crop_px)
        yield item, crops or NO_FACE


def _finish(faces: FaceSet, folder: Path, facts: dict[str, Any]) -> Prepared:
    """Add up the shards, write dropped.csv and the finished set.json."""
    seen = hashlib.sha256()
    rows = [(problem.where, f"{problem.kind}: {problem.what}") for problem in faces.problems]
    faces_found = 0
    for number in range(facts["shards"]):
        with np.load(shard_path(folder, number)) as shard:
            for name in sorted(shard.files):
                seen.update(name.encode() + shard[name].tobytes())
            faces_found += len(shard["name"])
            rows += [(str(name), str(why)) for name, why in shard["dropped"]]
    if not faces_found:
        why = f" ({rows[0][0]}: {rows[0][1]})" if rows else ""
        raise PreparedError(f"not one of {len(faces)} items of {faces.root} shows a face{why}")
    text = io.StringIO()
    csv.writer(text).writerows([("name", "why"), *rows])
    write_text(folder / DROPPED, text.getvalue())
    done = facts | {
        "complete": True,
        "faces": faces_found,
        "dropped": dict(Counter(_reason(why) for _, why in rows).most_common()),
        "fingerprint": seen.hexdigest(),
    }
    write_text(folder / SET, json.dumps(done, indent=1))
    return Prepared(folder, done)


def _reason(why: str) -> str:
    """The sort of a reason, without names."""
    if why.startswith("twin of"):
        return "exact twin in another split"
    if why == NO_FACE:
        return why
    kind = why.partition(":")[0]
    return kind if kind in ("label", "length", "empty", "missing") else "unreadable"
