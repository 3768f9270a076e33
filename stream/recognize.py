"""Faces to emotions: the Recognizer."""

# B faces of all sources, T frames a clip keeps, D features

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.engine import Engine, open_engine, run_together
from ferstream.engines.errors import ContractMismatch
from ferstream.engines.labels import Labels
from ferstream.engines.manifest import NETWORKS

from .align import TEMPLATES
from .arenas import require_address_space
from .around import Seen
from .cropped import CroppedFace
from .detect import FaceDetector
from .emotions import EmotionReader, Emotions, steady
from .errors import RecognizerUnusable
from .face_options import FaceOptions
from .flow import motion_share
from .forked import check_owner, hold
from .frame import Frame
from .intake import Picture, Taken, take
from .memory import FORGET_S, Memory, Sighting, Waiting, Watched
from .mesh import FaceMesh
from .quality import TRUSTED
from .result import FaceResult, Result, Stages
from .track import FaceTracker

__all__ = ["FORGET_S", "FaceResult", "Recognizer", "Result", "Sighting", "network_threads"]

Tensors = dict[str, NDArray[Any]]
_AT_ONCE = 8
"""Pictures of a list that are scored in one batch."""

Scored = tuple[Emotions, Emotions, NDArray[np.float32], float, NDArray[np.float32], int]


class Recognizer:
    """Scores pictures, and frames of one or many sources; each source has its own faces and ids.

    `process` does all of it. A pipeline may split it over two threads, `find` in one and `score`
    in the other: they share nothing. Frames of one source come in the order of their times.

    Any number of threads may call it: they take turns. It does not survive a fork: there every
    call raises RecognizerUnusable, and `close` does nothing.

    Args:
        bundle: an opened bundle, a path to one, or "default".
        engine, precision: as for `engines.engine.open_engine`.
        faces: which faces of each source are looked for, and how; None: as `FaceOptions` stand.
        threads: threads of each network on a CPU; None: as `network_threads` says.
        engines: opened engines by network name, to use instead of opening the bundle's.

    Raises what `load_bundle` and `open_engine` raise, ContractMismatch for a bundle whose crops are
    not grey, StreamError where the process may map too little memory, and RecognizerUnusable in the
    fork of a process that has had a Recognizer.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str] = "default",
        engine: str = "auto",
        precision: str = "auto",
        *,
        faces: FaceOptions | None = None,
        threads: int | None = None,
        engines: Mapping[str, Engine] | None = None,
    ) -> None:
        require_address_space()
        self._process, self._closed = os.getpid(), False
        # Always taken in this order.
        self._finding, self._scoring = threading.RLock(), threading.RLock()
        self.bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        manifest = self.bundle.manifest
        if manifest.crop.colour != "grey":
            raise ContractMismatch(
                f"bundle {manifest.name} wants {manifest.crop.colour} crops, this version makes "
                "grey ones: use a bundle of this version"
            )
        if manifest.crop.template not in TEMPLATES:
            raise ContractMismatch(
                f"bundle {manifest.name} wants faces aligned as {manifest.crop.template!r}, this "
                f"version knows {', '.join(TEMPLATES)}: use a bundle of this version"
            )
        self._aligned = TEMPLATES[manifest.crop.template]
        self.engines = dict(engines or {})
        threads = threads or network_threads()
        for network in NETWORKS:
            if network not in self.engines:
                self.engines[network] = open_engine(
                    self.bundle, network, backend=engine, precision=precision, threads=threads
                )
        hold(self, *self.engines.values())
        # The pictures here are small: to wake OpenCV's threads for them costs more than it saves.
        cv2.setNumThreads(1)
        self._overlapping = all(
            hasattr(self.engines[network], "start") for network in ("spatial", "temporal")
        )
        self._manifest = manifest
        self._reader = EmotionReader(manifest)
        self._units = manifest.head("au").labels
        self._faces = faces or FaceOptions()
        self._detector, self._mesh = FaceDetector(), FaceMesh()
        self._trackers: dict[str, FaceTracker | CroppedFace] = {}
        self._memory = Memory(manifest)

    @property
    def labels(self) -> Labels:
        """What the readings are of: the bundle's labels, families and colours."""
        return self._reader.labels

    @overload
    def process(self, picture: Picture) -> Result: ...

    @overload
    def process(self, picture: list[Any] | tuple[Any, ...]) -> list[Result]: ...

    def process(self, picture: Picture | list[Any] | tuple[Any, ...]) -> Result | list[Result]:
        """Score one frame or picture, or a list of them in its order.

        A picture is an array (H, W, 3) RGB, (H, W, 4) or (H, W), uint8 or floats from 0 to 1; a PIL
        image; a file's bytes; a path. Each is read by itself, its result's `source` is its path or
        its place in the list. Frames of one source belong together: see `Frame`.

        Raises TypeError, ValueError or a SourceError that says what is wrong with which picture,
        and RecognizerUnusable.
        """
        if isinstance(picture, list | tuple):
            return self._in_turn(picture)
        return self._in_turn([picture])[0]

    def process_many(self, frames: Sequence[Picture]) -> list[Result]:
        """Score one frame of each of several sources, or pictures, batched over all their faces.

        Raises ValueError for two frames of one source: the second needs the first one's result.
        """
        return self._at_once(list(take(frames)))

    def find(self, frame: Frame) -> Sighting:
        """The first half of the work: faces, ids and crops of one frame."""
        self._check()
        with self._finding:
            return self._find(frame)

    def _in_turn(self, pictures: Iterable[Picture]) -> list[Result]:
        """Score in batches, so that of many pictures few are in memory at a time."""
        results: list[Result] = []
        batch: list[Taken] = []
        for one in take(pictures):
            if len(batch) == _AT_ONCE or any(o.frame.source == one.frame.source for o in batch):
                results += self._at_once(batch)
                batch = []
            batch.append(one)
        return results + self._at_once(batch)

    def _at_once(self, batch: Sequence[Taken]) -> list[Result]:
        """Score a batch as one, so that no other thread's frames come between."""
        self._check()
        with self._finding, self._scoring:
            try:
                found = [replace(self.find(one.frame), ahead=False) for one in batch]
                results = self.score(found)
            finally:
                for one in batch:
                    if one.name is not None:
                        self.forget(one.frame.source)
        return [
            result if one.name is None else replace(result, source=one.name)
            for one, result in zip(batch, results, strict=True)
        ]

    def _find(self, frame: Frame) -> Sighting:
        stages: Stages = {}
        with _timed(stages, "detect"):
            tracker = self._trackers.get(frame.source)
            if tracker is None:
                follower = CroppedFace if self._faces.cropped else FaceTracker
                tracker = follower(self._faces, self._detector, self._mesh)
                self._trackers[frame.source] = tracker
            if frame.restart:
                tracker.restart()
            faces = tracker.update(frame)
        with _timed(stages, "align"):
            side = self._manifest.crop.px
            crops = np.empty((len(faces), 1, side, side), np.uint8)
            for row, face in enumerate(faces):
                crops[row, 0] = self._aligned(frame.pixels, face.landmarks_xy, side)
        return Sighting(
            frame.index,
            frame.time_s,
            frame.source,
            faces,
            crops,
            stages,
            restart=frame.restart,
            left_out=tracker.left_out,
            ahead=frame.ahead,
            picture_bytes=frame.pixels.nbytes,
            joined=tracker.joined,
        )

    def score(self, sightings: Sequence[Sighting]) -> list[Result]:
        """The second half: what the faces express, all of them in one batch.

        A result for each sighting, in order; of a recording (`Frame.ahead`) those that have waited
        long enough for what follows them, none or several, in the order of its frames. What still
        waits at its end comes by `finish`.

        Raises ValueError for two sightings of one source.
        """
        self._check()
        if len({sighting.source for sighting in sightings}) < len(sightings):
            raise ValueError("two frames of one source cannot be scored at once; one by one")
        with self._scoring:
            return self._score(sightings)

    def _score(self, sightings: Sequence[Sighting]) -> list[Result]:
        waiting = []
        for sighting in sightings:
            stages = dict(sighting.stages_ms)
            with _timed(stages, "flow"):
                watched = self._memory.watch(sighting)
            waiting.append(Waiting(sighting, watched, [], stages))
        shared: Stages = {}
        if any(one.watched for one in waiting):
            self._see(waiting, shared)
        for stage, ms in shared.items():
            for one in waiting:
                one.stages_ms[stage] = ms / len(waiting)
        return self._read([due for one in waiting for due in self._memory.due(one)])

    def finish(self, source: str) -> list[Result]:
        """The results of a recording's last frames, which nothing follows any more.

        The last one says who of all its people are one person (`Result.joined`).
        """
        self._check()
        with self._finding, self._scoring:
            results = self._read(self._memory.finish(source))
            if results and source in self._trackers:
                results[-1] = replace(results[-1], joined=self._trackers[source].settled())
            return results

    def reset(self, source: str | None = None) -> None:
        """Forget faces and clips of one source, or of all; ids go on counting.

        For a gap in a source, and for its end, so that nothing is kept of it.
        """
        check_owner(self._process)
        with self._finding, self._scoring:
            for name, tracker in self._trackers.items():
                if source in (None, name):
                    tracker.reset()
            self._memory.forget(source)

    def forget(self, source: str) -> None:
        """Drop all that is kept of a source that will not come back, its counter of ids too."""
        check_owner(self._process)
        with self._finding, self._scoring:
            self._trackers.pop(source, None)
            self._memory.forget(source)

    def close(self) -> None:
        """Close the networks, once nobody uses them; in a fork they stay as they are."""
        if os.getpid() != self._process:
            return
        with self._finding, self._scoring:
            if self._closed:
                return
            self._closed = True
            for engine in self.engines.values():
                engine.close()
            self._mesh.close()
            self._detector.close()

    def _check(self) -> None:
        """Raises RecognizerUnusable."""
        check_owner(self._process)
        if self._closed:
            raise RecognizerUnusable("this Recognizer was closed: make another one")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Recognizer stays in its process: make one in each worker")

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _see(self, waiting: list[Waiting], stages: Stages) -> None:
        """Run the spatial and the temporal network over all faces."""
        faces = [(one, watched) for one in waiting for watched in one.watched]
        moved = [
            (watched, stack) for _, watched in faces if (stack := watched.fresh_stack()) is not None
        ]
        motion = {"motion": np.stack([stack for _, stack in moved])} if moved else None
        spatial, temporal = self.engines["spatial"], self.engines["temporal"]
        with _timed(stages, "spatial"):
            crops = np.concatenate([one.sighting.crops for one in waiting])
            if motion is not None and self._overlapping:
                # Both under way at once on a GPU; the time is then told as the spatial one's.
                frames, logits = run_together([(spatial, {"crop": crops}), (temporal, motion)])
            else:
                frames, logits = spatial.run({"crop": crops}), None
        with _timed(stages, "temporal"):
            if motion is not None:
                self._hear(moved, logits or temporal.run(motion))
        basic8_BK = self._reader.basic8(frames["basic8"])
        for row, (one, watched) in enumerate(faces):
            seen = Seen(
                one.sighting.time_s,
                {name: tensor[row] for name, tensor in frames.items()},
                basic8_BK[row],
                watched.motion,
                watched.share,
            )
            one.seen.append(seen)
            watched.clip.add_feature(seen.time_s, seen.outputs["feature"])
            if one.sighting.ahead:
                watched.around.add(seen)

    def _read(self, due: list[Waiting]) -> list[Result]:
        """Fuse what was seen over time, and read it."""
        shared: Stages = {}
        scored: Iterator[Scored] = iter(())
        if any(one.seen for one in due):
            with _timed(shared, "fusion"):
                scored = iter(self._fuse(due))
        share = {stage: ms / len(due) for stage, ms in shared.items()}
        return [
            Result(
                frame=one.sighting.frame,
                time_s=one.sighting.time_s,
                source=one.sighting.source,
                faces=[FaceResult(face, *next(scored), self._units) for face in one.sighting.faces],
                stages_ms={**one.stages_ms, **share},
                left_out=one.sighting.left_out,
            )
            for one in due
        ]

    def _fuse(self, due: list[Waiting]) -> list[Scored]:
        """FaceResult's fields after `face`, for each face."""
        batch, own = self._memory.batch(due)
        seen = [face.outputs for one in due for face in one.seen]
        clips = self.engines["fusion"].run(batch)
        read = self._reader.read(
            {
                head: np.concatenate([clips[head], np.stack([face[head] for face in seen])])
                for head in self._reader.heads
            }
        )
        faces = [watched for one in due for watched in one.watched]
        trusted = [f.quality.score >= TRUSTED for one in due for f in one.sighting.faces]
        for row, watched in enumerate(faces):
            read[row] = steady(read[row], watched.label)
            watched.label = read[row].label
            if not trusted[row]:
                for at in (row, len(seen) + row):
                    read[at] = replace(read[at], uncertain=True)
        return [
            (
                read[row],
                read[len(seen) + row],
                face["au"],
                float(clips["attention"][row, own[row]]),
                face["zoom"],
                int(batch["mask"][row].sum()),
            )
            for row, face in enumerate(seen)
        ]

    def _hear(
        self, moved: list[tuple[Watched, NDArray[np.float32]]], logits: Mapping[str, NDArray[Any]]
    ) -> None:
        """Keep what the temporal network said of the faces whose stacks were new."""
        heard = self._manifest.motion
        for row, (one, stack) in enumerate(moved):
            one.motion = {head: tensor[row] for head, tensor in logits.items()}
            one.share = motion_share(stack, heard.still, heard.moving)


def network_threads() -> int:
    """Threads a network is best given here: half of the cores, at least one.

    Reading and finding run at the same time and need the others; a batch of a few small crops
    gains little from more.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // 2)


@contextmanager
def _timed(stages: Stages, stage: str) -> Iterator[None]:
    start_s = time.perf_counter()
    yield
    stages[stage] = (time.perf_counter() - start_s) * 1e3
