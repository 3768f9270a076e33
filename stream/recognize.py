"""Faces to emotions: the Recognizer."""

# B faces of all sources, T frames a clip keeps, D features

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.bundle import NETWORKS, Bundle, load_bundle
from engines.engine import Engine, open_engine, run_together
from engines.errors import ContractMismatch

from .align import crop as aligned_crop
from .cropped import CroppedFace
from .detect import FaceDetector
from .emotions import EmotionReader, Emotions
from .face_options import FaceOptions
from .flow import motion_share
from .frame import Frame
from .memory import FORGET_S, Memory, Sighting, Watched
from .mesh import FaceMesh
from .result import FaceResult, Result, Stages
from .track import FaceTracker

__all__ = ["FORGET_S", "FaceResult", "Recognizer", "Result", "Sighting", "network_threads"]

Tensors = dict[str, NDArray[Any]]


class Recognizer:
    """Scores the frames of one or many sources; each source has its own faces and ids.

    `process` does all of it. A pipeline may split it over two threads, `find` in one and `score`
    in the other: they share nothing. Frames of one source come in the order of their times.

    Args:
        bundle: an opened bundle, a path to one, or "default".
        engine, precision: as for `engines.engine.open_engine`.
        faces: which faces of each source are looked for, and how; None: as `FaceOptions` stand.
        threads: threads of each network on a CPU; None: as `network_threads` says.
        engines: opened engines by network name, to use instead of opening the bundle's.

    Raises what `load_bundle` and `open_engine` raise, and ContractMismatch for a bundle whose
    crops are not grey.
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
        self.bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        manifest = self.bundle.manifest
        if manifest.crop.colour != "grey":
            raise ContractMismatch(
                f"bundle {manifest.name} wants {manifest.crop.colour} crops, this version makes "
                "grey ones: use a bundle of this version"
            )
        self.engines = dict(engines or {})
        threads = threads or network_threads()
        for network in NETWORKS:
            if network not in self.engines:
                self.engines[network] = open_engine(
                    self.bundle, network, backend=engine, precision=precision, threads=threads
                )
        # The pictures here are small: to wake OpenCV's threads for them costs more than it saves.
        cv2.setNumThreads(1)
        self._overlapping = all(
            hasattr(self.engines[network], "start") for network in ("spatial", "temporal")
        )
        self._manifest = manifest
        self._reader = EmotionReader(manifest)
        self._faces = faces or FaceOptions()
        self._detector, self._mesh = FaceDetector(), FaceMesh()
        self._trackers: dict[str, FaceTracker | CroppedFace] = {}
        self._memory = Memory(manifest)

    def process(self, frame: Frame) -> Result:
        """Score one frame."""
        return self.score([self.find(frame)])[0]

    def process_many(self, frames: Sequence[Frame]) -> list[Result]:
        """Score one frame of each of several sources, batched over all their faces.

        Raises ValueError for two frames of one source: the second needs the first one's result.
        """
        return self.score([self.find(frame) for frame in frames])

    def find(self, frame: Frame) -> Sighting:
        """The first half of the work: faces, ids and crops of one frame."""
        stages: Stages = {}
        with _timed(stages, "detect"):
            tracker = self._trackers.get(frame.source)
            if tracker is None:
                follower = CroppedFace if self._faces.cropped else FaceTracker
                tracker = follower(self._faces, self._detector, self._mesh)
                self._trackers[frame.source] = tracker
            if frame.restart:
                tracker.reset()
            faces = tracker.update(frame)
        with _timed(stages, "align"):
            side = self._manifest.crop.px
            crops = np.empty((len(faces), 1, side, side), np.uint8)
            for row, face in enumerate(faces):
                crops[row, 0] = aligned_crop(frame.pixels, face.landmarks_xy, side)
        return Sighting(
            frame.index,
            frame.time_s,
            frame.source,
            faces,
            crops,
            stages,
            frame.restart,
            tracker.left_out,
        )

    def score(self, sightings: Sequence[Sighting]) -> list[Result]:
        """The second half: what the faces express, all of them in one batch.

        Raises ValueError for two sightings of one source.
        """
        if len({sighting.source for sighting in sightings}) < len(sightings):
            raise ValueError("two frames of one source cannot be scored at once; one by one")
        shared: Stages = {}
        clips: list[Watched] = []
        flow_ms: list[Stages] = []
        for sighting in sightings:
            flow_ms.append({})
            with _timed(flow_ms[-1], "flow"):
                clips += self._memory.watch(sighting)
        scored = iter(self._score_batch(sightings, clips, shared) if clips else ())
        share = {stage: ms / len(sightings) for stage, ms in shared.items()}
        return [
            Result(
                frame=sighting.frame,
                time_s=sighting.time_s,
                source=sighting.source,
                faces=[FaceResult(face, *next(scored)) for face in sighting.faces],
                stages_ms={**sighting.stages_ms, **flow, **share},
                left_out=sighting.left_out,
            )
            for sighting, flow in zip(sightings, flow_ms, strict=True)
        ]

    def reset(self, source: str | None = None) -> None:
        """Forget faces and clips of one source, or of all; ids go on counting.

        For a gap in a source, and for its end, so that nothing is kept of it. Not while `find`
        or `score` runs in another thread.
        """
        for name, tracker in self._trackers.items():
            if source in (None, name):
                tracker.reset()
        self._memory.forget(source)

    def forget(self, source: str) -> None:
        """Drop all that is kept of a source that will not come back, its counter of ids too.

        Not while `find` or `score` runs in another thread.
        """
        self._trackers.pop(source, None)
        self._memory.forget(source)

    def close(self) -> None:
        """Close the networks."""
        for engine in self.engines.values():
            engine.close()
        self._mesh.close()
        self._detector.close()

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _score_batch(
        self, sightings: Sequence[Sighting], watched: list[Watched], stages: Stages
    ) -> list[tuple[Emotions, Emotions, NDArray[np.float32], float, NDArray[np.float32]]]:
        """Run the networks over all faces; FaceResult's fields after `face`, for each."""
        times_s = [sighting.time_s for sighting in sightings for _ in sighting.faces]
        moved = [(one, stack) for one in watched if (stack := one.fresh_stack()) is not None]
        motion = {"motion": np.stack([stack for _, stack in moved])} if moved else None
        spatial, temporal = self.engines["spatial"], self.engines["temporal"]
        with _timed(stages, "spatial"):
            crops = np.concatenate([sighting.crops for sighting in sightings])
            if motion is not None and self._overlapping:
                # Both under way at once on a GPU; the time is then told as the spatial one's.
                frames, logits = run_together([(spatial, {"crop": crops}), (temporal, motion)])
            else:
                frames, logits = spatial.run({"crop": crops}), None
            for one, time_s, feature_D in zip(watched, times_s, frames["feature"], strict=True):
                one.clip.add_feature(time_s, feature_D)
        with _timed(stages, "temporal"):
            if motion is not None:
                self._hear(moved, logits or temporal.run(motion))
        with _timed(stages, "fusion"):
            clips = self.engines["fusion"].run(self._memory.batch(watched))
            read = self._reader.read(
                {head: np.concatenate([clips[head], frames[head]]) for head in self._reader.heads}
            )
        lately, now = read[: len(watched)], read[len(watched) :]
        rows = range(len(watched))
        attention = [float(clips["attention"][row, watched[row].clip.newest]) for row in rows]
        return list(zip(lately, now, frames["au"], attention, frames["zoom"], strict=True))

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
