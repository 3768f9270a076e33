"""Faces to emotions: the Recognizer."""

# B faces of all sources, T frames a clip keeps, D features

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn, overload

import cv2

from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.engine import Engine, open_engine
from ferstream.engines.errors import ContractMismatch
from ferstream.engines.labels import Labels
from ferstream.engines.manifest import NETWORKS

from .call import AT_ONCE, Call
from .errors import RecognizerUnusable
from .faces.align import TEMPLATES
from .faces.front import Opening, front_end
from .faces.options import FaceOptions
from .finding import FaceFinder
from .frame import Frame, Picture, PictureFrame, picture_frames
from .memory import FORGET_S, DetectedFaces
from .process import check_owner, hold, require_address_space
from .result import FaceResult, Result, Results
from .scoring import FaceScorer
from .sources.part import Part, Region

__all__ = ["FORGET_S", "DetectedFaces", "FaceResult", "Recognizer", "Result", "network_threads"]


class Recognizer:
    """Scores pictures, and frames of one or many sources; each source has its own faces and ids.

    `process` does all of it. A pipeline may split it over two threads, `find` in one and `score`
    in the other: they share nothing. Frames of one source come in the order of their times.

    Any number of threads may call it: they take turns. It does not survive a fork: there every
    call raises RecognizerUnusable, and `close` does nothing.

    Args:
        bundle: an opened bundle, a path to one, or "default".
        backend: what runs the networks: auto, onnxruntime, openvino, tensorrt, ...
        precision: auto, fp32, int8, ...: a form of the networks that the bundle has.
        faces: which faces of each source are looked for, and how; a front end's name alone (own,
            mediapipe, dlib); None: as `FaceOptions` stand.
        threads: threads of each network on a CPU; None: as `network_threads` says.
        engines: opened engines by network name, to use instead of opening the bundle's.

    Raises what `load_bundle`, `front_end` and `open_engine` raise, ContractMismatch for a bundle
    whose crops are not grey, StreamError where the process may map too little memory, and
    RecognizerUnusable in the fork of a process that has had a Recognizer with MediaPipe.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str] = "default",
        backend: str = "auto",
        precision: str = "auto",
        *,
        faces: FaceOptions | str | None = None,
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
        options = FaceOptions(front_end=faces) if isinstance(faces, str) else faces
        self._faces = options or FaceOptions()
        finding = front_end(self._faces.front_end, self.bundle)
        self.front_end = finding.name
        """The name of what finds faces and their points."""
        self.engines = dict(engines or {})
        threads = threads or network_threads()
        for network in NETWORKS:
            if network not in self.engines:
                self.engines[network] = open_engine(
                    self.bundle, network, backend=backend, precision=precision, threads=threads
                )
        hold(self, *self.engines.values())
        # The pictures here are small: to wake OpenCV's threads for them costs more than it saves.
        cv2.setNumThreads(1)
        self._scorer = FaceScorer(manifest, self.engines)
        opening = Opening(self.bundle, backend, precision, threads)
        self._finder = FaceFinder(manifest, *finding.open(opening))

    @property
    def labels(self) -> Labels:
        """What the readings are of: the bundle's labels, families and colours."""
        return self._scorer.labels

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
        return self._at_once(list(picture_frames(frames)))

    @overload
    def __call__(
        self,
        source: Any,
        *,
        stream: Literal[False] = ...,
        stride: int = ...,
        start_s: float = ...,
        end_s: float | None = ...,
        region: Region | None = ...,
        max_faces: int | None = ...,
        min_confidence: float | None = ...,
        pictures: bool | None = ...,
    ) -> Results: ...

    @overload
    def __call__(
        self,
        source: Any,
        *,
        stream: Literal[True],
        stride: int = ...,
        start_s: float = ...,
        end_s: float | None = ...,
        region: Region | None = ...,
        max_faces: int | None = ...,
        min_confidence: float | None = ...,
        pictures: bool | None = ...,
    ) -> Iterator[Result]: ...

    def __call__(
        self,
        source: Any,
        *,
        stream: bool = False,
        stride: int = 1,
        start_s: float = 0.0,
        end_s: float | None = None,
        region: Region | None = None,
        max_faces: int | None = None,
        min_confidence: float | None = None,
        pictures: bool | None = None,
    ) -> Results | Iterator[Result]:
        """Recognise a source, a picture, or a list of them.

        Args:
            source: whatever `open_source` opens (a path, an address, a webcam's number, "sample"),
                an opened source, which is closed; a picture as for `process`, but for a path; a
                list, tuple or iterator of these.
            stream: False: a list of all results, also of one picture; True: an iterator, which
                reads as it is asked and stops reading when it is dropped.
            stride: every so many-th frame of each source, or picture of the list.
            start_s: from when on, seconds on a clip's clock, or since a camera's first frame.
            end_s: until when, on the same clock; None: to the end.
            region: x, y, width, height where faces are looked for: shares of the picture where none
                is above 1, else pixels. Boxes stay those of the whole picture.
            max_faces: as for `FaceOptions`; None: the Recognizer's.
            min_confidence: as for `FaceOptions`; None: the Recognizer's.
            pictures: whether results keep their pictures, for `Result.plot`; None: with `stream`,
                and of single pictures. A long clip's take much memory.

        Frames and times are the source's own. A list's faces have the ids that all of their clip
        shows; an iterator's those that were known by then (`Result.joined`). A camera's frames that
        come while others are recognised are dropped. Raises at once PartInvalid (a ValueError),
        ValueError and RecognizerUnusable; when that source's turn comes a SourceError, TypeError
        or ValueError that says what is wrong.
        """
        self._check()
        part = Part(stride, start_s, end_s, region)
        chosen = {"max_faces": max_faces, "min_confidence": min_confidence}
        given = {name: value for name, value in chosen.items() if value is not None}
        faces = replace(self._faces, **given)  # type: ignore[arg-type]
        results = Call(self, source, part, faces, stream, pictures).results()
        return results if stream else Results(results, self.labels)

    def find(self, frame: Frame, faces: FaceOptions | None = None) -> DetectedFaces:
        """The first half of the work: faces, ids and crops of one frame.

        `faces` says which for the frame's source, from its first frame on; None: the Recognizer's.
        The front end is always the Recognizer's.
        """
        (found,) = self.find_many([frame], faces)
        if isinstance(found, Exception):
            raise found
        return found

    def find_many(
        self, frames: Sequence[Frame], faces: FaceOptions | None = None
    ) -> list[DetectedFaces | Exception]:
        """The same for a frame of each of several sources: all faces that are followed go through
        the landmark network in one batch. For a frame that cannot be searched, why."""
        self._check()
        with self._finding:
            return self._finder.find(frames, faces or self._faces)

    def _in_turn(self, pictures: Iterable[Picture]) -> list[Result]:
        """Score in batches, so that of many pictures few are in memory at a time."""
        results: list[Result] = []
        batch: list[PictureFrame] = []
        for one in picture_frames(pictures):
            if len(batch) == AT_ONCE or any(o.frame.source == one.frame.source for o in batch):
                results += self._at_once(batch)
                batch = []
            batch.append(one)
        return results + self._at_once(batch)

    def score_pictures(self, batch: Sequence[PictureFrame], faces: FaceOptions) -> list[Result]:
        """Score pictures, frames of one source in turn; for `stream.call`."""
        sources = [one.frame.source for one in batch]
        if len(set(sources)) == len(sources):
            return self._at_once(batch, faces)
        return [result for one in batch for result in self._at_once([one], faces)]

    def _at_once(
        self, batch: Sequence[PictureFrame], faces: FaceOptions | None = None
    ) -> list[Result]:
        """Score a batch as one, so that no other thread's frames come between."""
        self._check()
        with self._finding, self._scoring:
            try:
                found = []
                for faces_found in self.find_many([one.frame for one in batch], faces):
                    if isinstance(faces_found, Exception):
                        raise faces_found
                    found.append(replace(faces_found, ahead=False))
                results = self.score(found)
            finally:
                for one in batch:
                    if one.name is not None:
                        self.forget(one.frame.source)
        return [
            result if one.name is None else replace(result, source=one.name)
            for one, result in zip(batch, results, strict=True)
        ]

    def score(self, detected: Sequence[DetectedFaces]) -> list[Result]:
        """The second half: what the faces express, all of them in one batch.

        A result for each frame, in order; of a recording (`Frame.ahead`) those that have waited
        long enough for what follows them, none or several, in the order of its frames. What still
        waits at its end comes by `finish`.

        Raises ValueError for two frames of one source.
        """
        self._check()
        if len({one.source for one in detected}) < len(detected):
            raise ValueError("two frames of one source cannot be scored at once; one by one")
        with self._scoring:
            return self._scorer.score(detected)

    def finish(self, source: str) -> list[Result]:
        """The results of a recording's last frames, which no frame follows.

        The last one maps ids that turned out to belong to one person (`Result.joined`).
        """
        self._check()
        with self._finding, self._scoring:
            results = self._scorer.finish(source)
            if results and source in self._finder.trackers:
                results[-1] = replace(results[-1], joined=self._finder.trackers[source].settled())
            return results

    def reset(self, source: str | None = None) -> None:
        """Forget faces and clips of one source, or of all; ids go on counting.

        For a gap in a source, and for its end, so that nothing is kept of it.
        """
        check_owner(self._process)
        with self._finding, self._scoring:
            for name, tracker in self._finder.trackers.items():
                if source in (None, name):
                    tracker.reset()
            self._scorer.memory.forget(source)

    def forget(self, source: str) -> None:
        """Drop all that is kept of a source that will not come back, its counter of ids too."""
        check_owner(self._process)
        with self._finding, self._scoring:
            self._finder.trackers.pop(source, None)
            self._scorer.memory.forget(source)

    def close(self) -> None:
        """Close the networks once no call uses them; in a forked process do nothing."""
        if os.getpid() != self._process:
            return
        with self._finding, self._scoring:
            if self._closed:
                return
            self._closed = True
            for engine in self.engines.values():
                engine.close()
            self._finder.close()

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


def network_threads() -> int:
    """Threads a network is best given here: half of the cores, at least one.

    Reading and finding run at the same time and need the others; a batch of a few small crops
    gains little from more.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // 2)
