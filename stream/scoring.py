"""What faces express: the scoring half of a Recognizer."""

# B faces of all sources, K labels

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferstream.engines.engine import Engine, run_together
from ferstream.engines.labels import Labels
from ferstream.engines.manifest import Manifest
from ferstream.engines.views import Reading, Views

from .clip import motion_weight
from .emotions import EmotionReader, Emotions, steady
from .eyes import Eyes, gaze_deg, opening, seen_well
from .faces.quality import TRUSTED
from .memory import DetectedFaces, FaceState, Memory, Seen, Waiting
from .result import FaceResult, Result, Stages

Scored = tuple[Emotions, Emotions, NDArray[np.float32], float, NDArray[np.float32], int]


class FaceScorer:
    """Runs the networks over detected faces of all sources, and reads what they say over time.

    Args:
        engines: spatial, temporal and fusion, opened; not owned.
    """

    def __init__(self, manifest: Manifest, engines: Mapping[str, Engine]) -> None:
        self.memory = Memory(manifest)
        self._engines = engines
        self._motion = manifest.motion
        self._views = Views(manifest)
        self._reader = EmotionReader(manifest)
        self._blendshapes = manifest.head("au").labels

    @property
    def labels(self) -> Labels:
        """What the readings are of."""
        return self._reader.labels

    def score(self, detected: Sequence[DetectedFaces]) -> list[Result]:
        """A result for each frame whose faces can be read by now; see `Recognizer.score`."""
        waiting = []
        for faces in detected:
            stages = dict(faces.stages_ms)
            with timed(stages, "flow"):
                states = self.memory.states(faces)
            waiting.append(Waiting(faces, states, [], stages))
        shared: Stages = {}
        if any(one.states for one in waiting):
            self._see(waiting, shared)
        for stage, ms in shared.items():
            for one in waiting:
                one.stages_ms[stage] = ms / len(waiting)
        return self._read([due for one in waiting for due in self.memory.due(one)])

    def finish(self, source: str) -> list[Result]:
        """The results of a recording's last frames."""
        return self._read(self.memory.finish(source))

    def _see(self, waiting: list[Waiting], stages: Stages) -> None:
        """Run the spatial and the temporal network over all faces."""
        faces = [(one, state) for one in waiting for state in one.states]
        moved = [(state, stack) for _, state in faces if (stack := state.fresh_stack()) is not None]
        motion = {"motion": np.stack([stack for _, stack in moved])} if moved else None
        spatial, temporal = self._engines["spatial"], self._engines["temporal"]
        with timed(stages, "spatial"):
            readings = [
                state.clip.reading(one.detected.time_s, one.detected.ahead) for one, state in faces
            ]
            found = np.concatenate([one.detected.crops for one in waiting])
            crops = self._views.crops(found, readings)
            if motion is not None and spatial.overlaps and temporal.overlaps:
                # Both under way at once on a GPU; the time is then told as the spatial one's.
                frames, logits = run_together([(spatial, {"crop": crops}), (temporal, motion)])
            else:
                frames, logits = spatial.run({"crop": crops}), None
            frames = self._views.joined(frames, readings)
        with timed(stages, "temporal"):
            if motion is not None:
                self._keep_motion(moved, logits or temporal.run(motion))
        basic8_BK = self._reader.basic8(frames["basic8"])
        for row, (one, state) in enumerate(faces):
            seen = Seen(
                one.detected.time_s,
                {name: tensor[row] for name, tensor in frames.items()},
                basic8_BK[row],
                state.motion,
                state.motion_weight,
            )
            one.seen.append(seen)
            mirrored = readings[row] is Reading.MIRRORED
            state.clip.add_feature(seen.time_s, seen.outputs["feature"], mirrored=mirrored)
            if one.detected.ahead:
                state.around.add(seen)

    def _read(self, due: list[Waiting]) -> list[Result]:
        """Fuse what was seen over time, and read it."""
        shared: Stages = {}
        scored: Iterator[Scored] = iter(())
        if any(one.seen for one in due):
            with timed(shared, "fusion"):
                scored = iter(self._fuse(due))
        share = {stage: ms / len(due) for stage, ms in shared.items()}
        return [
            Result(
                frame=one.detected.frame,
                time_s=one.detected.time_s,
                source=one.detected.source,
                faces=[
                    FaceResult(face, *next(scored), self._blendshapes, eyes)
                    for face, eyes in zip(one.detected.faces, self._eyes(one), strict=True)
                ],
                stages_ms={**one.stages_ms, **share},
                left_out=one.detected.left_out,
            )
            for one in due
        ]

    def _eyes(self, one: Waiting) -> list[Eyes | None]:
        """The eyes of a frame's faces; frames of a source come in order."""
        lids = []
        for face, seen in zip(one.detected.faces, one.seen, strict=True):
            named = dict(zip(self._blendshapes, seen.outputs["au"].tolist(), strict=True))
            open_ = None if face.posed else opening(named)
            lids.append((face.id, open_, face.quality.score >= TRUSTED))
        found = self.memory.blinks(one.detected.source).add(one.detected.time_s, lids)
        for at, (face, eyes) in enumerate(zip(one.detected.faces, found, strict=True)):
            if eyes is not None and seen_well((eyes.right, eyes.left), face.quality):
                pose = face.quality.yaw_deg, face.quality.pitch_deg
                looks = gaze_deg(face.crop, face.landmarks_xy, *pose)
                found[at] = replace(eyes, gaze_deg=looks)
        return found

    def _fuse(self, due: list[Waiting]) -> list[Scored]:
        """FaceResult's fields after `face`, for each face."""
        batch, own = self.memory.batch(due)
        seen = [face.outputs for one in due for face in one.seen]
        clips = self._engines["fusion"].run(batch)
        read = self._reader.read(
            {
                head: np.concatenate([clips[head], np.stack([face[head] for face in seen])])
                for head in self._reader.heads
            }
        )
        states = [state for one in due for state in one.states]
        trusted = [f.quality.score >= TRUSTED for one in due for f in one.detected.faces]
        for row, state in enumerate(states):
            read[row] = steady(read[row], state.label)
            state.label = read[row].label
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

    def _keep_motion(
        self, moved: list[tuple[FaceState, NDArray[np.float32]]], logits: Mapping[str, NDArray[Any]]
    ) -> None:
        """Keep the temporal network's predictions of the faces whose stacks were new."""
        for row, (one, stack) in enumerate(moved):
            one.motion = {head: tensor[row] for head, tensor in logits.items()}
            one.motion_weight = motion_weight(stack, self._motion.still, self._motion.moving)


@contextmanager
def timed(stages: Stages, stage: str) -> Iterator[None]:
    """Note how long the block takes, milliseconds."""
    start_s = time.perf_counter()
    yield
    stages[stage] = (time.perf_counter() - start_s) * 1e3
