"""Options and helpers that the commands of this package share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ferstream.engines.terminal import plain

from .errors import PartInvalid, SinkError
from .faces.front import front_end_names
from .faces.options import REMEMBER_S, FaceOptions

if TYPE_CHECKING:
    from .batch.plan import Running
    from .recognize import Recognizer
    from .sources.part import Part

_LONGEST_PURPOSE = 500
_MOST_NAMED = 8


class BackendName(str, Enum):
    """What runs the networks."""

    auto = "auto"
    onnxruntime = "onnxruntime"
    openvino = "openvino"
    tensorrt = "tensorrt"
    onnxruntime_cuda = "onnxruntime-cuda"
    onnxruntime_tensorrt = "onnxruntime-tensorrt"


class RowsName(str, Enum):
    """What a row of JSON tells of."""

    frames = "frames"
    events = "events"
    windows = "windows"


class RotateName(str, Enum):
    """How far pictures are turned clockwise to stand upright."""

    auto = "auto"
    quarter = "90"
    half = "180"
    three_quarters = "270"
    never = "0"


class ColumnsName(str, Enum):
    """What CSV and rows tell beside."""

    blendshapes = "blendshapes"
    units = "units"
    fg33 = "fg33"
    words = "words"
    frame_words = "frame_words"
    landmarks = "landmarks"
    pose = "pose"
    eyes = "eyes"
    quality = "quality"


MOST_WORDS = 1000
"""So many may be asked for, of however many a bundle has."""


def _front_end(name: str) -> str:
    if name not in front_end_names():
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(front_end_names())}")
    return name


BundleOption = Annotated[str, typer.Option(help="A bundle's folder, or `default`.")]
ToOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PLACE",
        help="Write there, as often as wanted: x.jsonl, -, x.csv, x.parquet, x.vtt, x.srt, x.eaf, "
        "x.boris, x.mp4, x.m3u8 (HLS), tcp://, http://, mqtt://HOST/PREFIX, "
        "rtsp://127.0.0.1:8554/NAME. {source} in a name stands for the source.",
    ),
]
JsonlOption = Annotated[
    Path | None, typer.Option(help="Write JSON lines; a folder for several sources.")
]
CsvOption = Annotated[
    Path | None, typer.Option(help="Write CSV; one table or a folder for several sources.")
]
VideoOption = Annotated[
    Path | None, typer.Option(help="Write annotated video; a folder for several sources.")
]
SummaryOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write a table with a row per clip and face: x.csv or x.parquet."
    ),
]
TopOption = Annotated[int, typer.Option(min=1, max=MOST_WORDS, help="Words per face.")]
ColumnsOption = Annotated[
    list[ColumnsName] | None,
    typer.Option(
        help="Tell this too in tables and rows of frames, as often as wanted: movements of the "
        "face by name, action units, the 33 classes, all words, those of the frame alone, "
        "landmarks, pose, eyes and blinks, parts of the quality; docs/columns.md has all."
    ),
]
RowsOption = Annotated[
    RowsName, typer.Option(help="What rows of JSON tell of: frames, events per face, windows.")
]
WindowOption = Annotated[
    float, typer.Option("--window-length", min=0.1, help="Length of a window, seconds.")
]
BlurOption = Annotated[
    bool, typer.Option("--blur", help="Mask faces in every picture written or shown.")
]
AggregateOption = Annotated[
    bool,
    typer.Option(
        "--aggregate-only", help="Nothing about single people: counts and shares per window."
    ),
]
PurposeOption = Annotated[
    str, typer.Option(help="What this is done for; recorded in every output's header.")
]
BackendOption = Annotated[BackendName, typer.Option(help="What runs the networks.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Write anew what exists; else that is refused.")
]
TrackOption = Annotated[
    int | None,
    typer.Option(min=0, help="Number of the video track, from 0; default: the one marked so."),
]
MinFaceOption = Annotated[
    float, typer.Option("--min-face", min=0, metavar="PX", help="Leave narrower faces out, pixels.")
]
MaxFacesOption = Annotated[
    int, typer.Option("--max-faces", min=1, help="Faces followed at once; the largest come first.")
]
FacesOption = Annotated[
    str,
    typer.Option(
        "--faces",
        parser=_front_end,
        metavar=f"[{'|'.join(front_end_names())}]",
        help="What finds faces: the bundle's own networks, MediaPipe or dlib; auto: MediaPipe "
        "where it is installed and the own ones are not as good yet.",
    ),
]
RotateOption = Annotated[
    RotateName,
    typer.Option(
        help="Degrees by which pictures are turned clockwise to look for faces; auto: found out "
        "where none is found upright, once for each source."
    ),
]
CroppedOption = Annotated[
    bool,
    typer.Option(
        "--cropped", help="Each picture is one face, cut out before: nothing is looked for."
    ),
]
RememberOption = Annotated[
    float,
    typer.Option(
        "--remember",
        min=0,
        metavar="S",
        help="For so long who has left keeps the id, known again by looks, seconds.",
    ),
]
StrideOption = Annotated[
    int, typer.Option(metavar="N", help="Recognise every Nth frame; times stay the source's.")
]
StartOption = Annotated[
    float,
    typer.Option(
        "--start", metavar="S", help="Begin there: seconds of a clip, or after a camera's first."
    ),
]
EndOption = Annotated[
    float | None, typer.Option("--end", metavar="S", help="End there, seconds likewise.")
]
RegionOption = Annotated[
    str,
    typer.Option(
        metavar="X,Y,W,H",
        help="Look for faces there alone: pixels, or shares of the picture, 0 to 1.",
    ),
]
ConfidenceOption = Annotated[
    float,
    typer.Option(
        "--min-confidence", min=0, max=1, help="Leave views of faces out that are worth less."
    ),
]
RecursiveOption = Annotated[
    bool, typer.Option("--recursive", help="Look into the folders in a folder too.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document, nothing else.")]


@contextmanager
def recogniser(
    bundle: str,
    backend: BackendName,
    threads: int | None = None,
    faces: FaceOptions | None = None,
) -> Iterator[Recognizer]:
    """A Recognizer that is closed when the block ends."""
    from .recognize import Recognizer

    with Recognizer(bundle, backend.value, threads=threads, faces=faces) as recognizer:
        yield recognizer


def face_options(
    min_face: float,
    max_faces: int,
    rotate: RotateName,
    cropped: bool,
    remember_s: float = REMEMBER_S,
    min_confidence: float = 0.0,
    front_end: str = "auto",
) -> FaceOptions:
    """Which faces are looked for, as the command line says."""
    turn: Any = rotate.value if rotate is RotateName.auto else int(rotate.value)
    return FaceOptions(max_faces, min_face, turn, cropped, remember_s, min_confidence, front_end)


def part_of(
    stride: int, start_s: float, end_s: float | None, region: str, *, blur: bool, confidence: float
) -> Part:
    """Which part of each source is recognised, as the command line says.

    Raises PartInvalid, also where faces would be left out that are to be masked.
    """
    from .sources.part import Part, region_of

    part = Part(stride, start_s, end_s, region_of(region) if region else None)
    if blur and (part.region or confidence > 0):
        what = "--region" if part.region else "--min-confidence"
        raise PartInvalid(
            f"--blur masks the faces that are found, {what} leaves some out: drop one"
        )
    return part


def running_of(jobs: int | None, resume: bool, shard: str, on: str) -> Running:
    """How a batch is run, as the command line says. Raises PartInvalid, SinkError."""
    from .batch.plan import Running
    from .batch.shards import shard_of

    one = shard_of(shard) if shard else None
    name, _, address = on.partition(":")
    if name not in ("", "ray"):
        raise SinkError(f"--on {on}: ray, or ray:ADDRESS")
    return Running(jobs, resume, one, address if on else None)


def facts(
    recognizer: Recognizer,
    purpose: str,
    part: Part | None = None,
    faces: FaceOptions | None = None,
) -> dict[str, Any]:
    """What goes into the headers of outputs. Raises `typer.BadParameter` for a long purpose."""
    from . import report

    purpose = " ".join(purpose.split())
    if len(purpose) > _LONGEST_PURPOSE:
        raise typer.BadParameter(f"a purpose has at most {_LONGEST_PURPOSE} characters")
    usual = asdict(FaceOptions())
    asked = asdict(faces or FaceOptions())
    options = {
        **(part.to_json() if part else {}),
        **{name: value for name, value in asked.items() if value != usual[name]},
    }
    return {
        **report.about(recognizer),
        **({"options": options} if options else {}),
        **({"purpose": purpose} if purpose else {}),
    }


def read_beside(words: Sequence[str], bundle: str) -> tuple[Path, ...]:
    """What a command reads beside its sources: lists of them, and the bundle's folder."""
    from ferstream.engines.bundle import DEFAULT

    from .sources.specs import LIST_SUFFIX

    lists = [Path(word) for word in words if word.lower().endswith(LIST_SUFFIX)]
    return (*lists, DEFAULT if bundle == "default" else Path(bundle))


def complain(error: Exception | str) -> None:
    """One line on standard error."""
    print(plain(f"ferstream: {' '.join(str(error).split())}"), file=sys.stderr, flush=True)


def report_skipped(skipped: Sequence[str]) -> None:
    """One line about what lies in the folders that were named and is not read."""
    if skipped:
        more = f" and {len(skipped) - _MOST_NAMED} more" if len(skipped) > _MOST_NAMED else ""
        folders = any(name.endswith(os.sep) for name in skipped)
        hint = "; --recursive looks into folders" if folders else ""
        names = ", ".join(skipped[:_MOST_NAMED])
        complain(f"skipped {names}{more}: no video or image by name{hint}")


def leave(interrupted: int | None, failed: bool) -> None:
    """Exit with the status that fits; `interrupted` is a signal's, as `Stop` tells it."""
    if interrupted:
        raise typer.Exit(interrupted)
    if failed:
        raise typer.Exit(1)
