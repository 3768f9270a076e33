"""The Recognizer as a library: whatever holds a picture goes in, from any thread, and not after a
fork; what cannot be read is told in one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ferstream import Frame, Recognizer
from ferstream.stream.errors import RecognizerUnusable
from ferstream.stream.result import Result
from ferstream.stream.sources.sample import SampleSource
from tests import media

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return next(SampleSource().frames()).pixels


@pytest.fixture(scope="module")
def expected(recognizer: Recognizer, pixels: Pixels) -> Result:
    return recognizer.process(Frame(pixels, 0.0, 0, "portrait"))


def encoded(pixels: Pixels, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def with_alpha(pixels: Pixels) -> Pixels:
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def lying(pixels: Pixels) -> Image.Image:
    """Turned on its side, and Exif says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(np.rot90(pixels)).save(file, "PNG", exif=exif)
    return Image.open(file)


SAME: dict[str, Callable[[Pixels], Any]] = {
    "array": lambda p: p,
    "read-only": lambda p: np.frombuffer(p.tobytes(), np.uint8).reshape(p.shape),
    "not in one piece": lambda p: np.asfortranarray(p),
    "from BGR": lambda p: np.ascontiguousarray(p[..., ::-1])[..., ::-1],
    "float32": lambda p: (p / 255).astype(np.float32),
    "float64": lambda p: p / 255,
    "a hair beyond 1": lambda p: np.where(p == 255, 1.0002, p / 255),
    "with alpha": with_alpha,
    "PIL": Image.fromarray,
    "PIL turned by Exif": lying,
    "PNG bytes": lambda p: encoded(p, "PNG"),
    "BMP bytes": lambda p: bytearray(encoded(p, "BMP")),
    "WebP bytes": lambda p: memoryview(encoded(p, "WEBP", lossless=True)),
}


def alone(results: list[Result]) -> list[bool]:
    """Whether the first face of each was read from its own frame only."""
    return [result.faces[0].attention == 1 for result in results]


def read(result: Result) -> list[dict[str, Any]]:
    return [face.to_json() for face in result.faces]


@pytest.mark.parametrize("kind", SAME)
def test_whatever_holds_the_picture_it_is_read_alike(
    recognizer: Recognizer, pixels: Pixels, expected: Result, kind: str
) -> None:
    result = recognizer.process(SAME[kind](pixels))
    assert (result.source, result.frame, result.time_s) == ("picture 1", 0, 0.0)
    assert read(result) == read(expected)


@pytest.mark.parametrize("kind", ["float16", "grey", "grey, (H, W, 1)", "PIL L", "JPEG", "GIF"])
def test_what_is_coarser_shows_the_same_face(
    recognizer: Recognizer, pixels: Pixels, expected: Result, kind: str
) -> None:
    grey = pixels.mean(2).astype(np.uint8)
    given: dict[str, Any] = {
        "float16": (pixels / 255).astype(np.float16),
        "grey": grey,
        "grey, (H, W, 1)": grey[..., None],
        "PIL L": Image.fromarray(grey),
        "JPEG": encoded(pixels, "JPEG"),
        "GIF": encoded(pixels, "GIF"),
    }
    (face,) = recognizer.process(given[kind]).faces
    assert face.box == pytest.approx(expected.faces[0].box, abs=4)
    wanted = expected.faces[0].emotions
    # The first words of a smile are near synonyms: which of them leads is a matter of a grey level.
    assert face.emotions.label in [name for name, _ in wanted.top(3)]
    assert max(face.emotions.basic8.items(), key=itemgetter(1))[0] == "happiness"
    assert max(wanted.basic8.items(), key=itemgetter(1))[0] == "happiness"


def test_a_list_keeps_its_order_and_its_pictures_apart(
    recognizer: Recognizer, pixels: Pixels, expected: Result, tmp_path: Path
) -> None:
    path = tmp_path / "a: 1 %d.png"
    path.write_bytes(encoded(pixels, "PNG"))
    nobody = np.zeros((60, 80, 3), np.uint8)
    results = recognizer.process([path, nobody, str(path), *[pixels] * 9])
    assert [result.frame for result in results] == list(range(12))
    names = [str(path), "picture 2", str(path), *(f"picture {n}" for n in range(4, 13))]
    assert [result.source for result in results] == names
    assert [len(result.faces) for result in results] == [1, 0, *[1] * 10]
    for result in results:
        assert [face.id for face in result.faces] in ([1], [])
        assert all(face.attention == 1 for face in result.faces), "no picture remembers another"
    assert read(results[-1])[0]["basic8"] == pytest.approx(read(expected)[0]["basic8"], abs=2e-3)
    assert recognizer.process([]) == []
    kept = {
        *recognizer._finder.trackers,
        *recognizer._scorer.memory._faces,
        *recognizer._scorer.memory._ahead,
    }
    assert kept <= {"portrait"}, "nothing is kept of pictures"


def test_frames_of_a_list_are_a_clip(recognizer: Recognizer, pixels: Pixels) -> None:
    results = recognizer.process([Frame(pixels, n / 10, n, "clip") for n in range(3)])
    assert alone(results) == [True, False, False]
    assert {result.source for result in results} == {"clip"}


WRONG: dict[str, tuple[Callable[[Pixels], Any], type[Exception], str]] = {
    "floats to 255": (lambda p: p.astype(float), ValueError, "divide by 255"),
    "NaN": (lambda p: np.full((9, 9, 3), np.nan), ValueError, "NaN"),
    "infinity": (lambda p: np.full((9, 9, 3), -np.inf), ValueError, "infinity"),
    "int64": (lambda p: p.astype(int), TypeError, "int64: pixels are uint8"),
    "uint16": (lambda p: p.astype(np.uint16), TypeError, "uint16"),
    "bool": (lambda p: p > 9, TypeError, "bool"),
    "text": (lambda p: np.full((9, 9, 3), "x"), TypeError, "<U1"),
    "channels first": (lambda p: np.moveaxis(p, -1, 0), ValueError, "moveaxis"),
    "a batch": (lambda p: p[None], ValueError, r"pass list\(array\)"),
    "a row": (lambda p: p[0, 0], ValueError, r"shape \(3,\)"),
    "two channels": (lambda p: p[..., :2], ValueError, "480, 640, 2"),
    "nothing": (lambda p: p[:0], ValueError, "no pixel"),
    "None": (lambda p: None, TypeError, "NoneType is no picture"),
    "a number": (lambda p: 3, TypeError, "int is no picture"),
    "no bytes": (lambda p: b"", ValueError, "0 bytes"),
    "cut off": (lambda p: encoded(p, "JPEG")[:3000], ValueError, "3000 bytes are no picture"),
    "a playlist": (lambda p: b"#EXTM3U\n/etc/hostname\n", ValueError, "no picture"),
    "nowhere": (lambda p: "nowhere.png", FileNotFoundError, "no file nowhere.png"),
    "a folder": (lambda p: Path("tests"), ValueError, "is a folder"),
    "an address": (lambda p: "http://127.0.0.1:9/x.png", FileNotFoundError, "no file"),
    "the third": (lambda p: [p, p, p / 2.0], ValueError, "picture 3 of 3: an array of floats"),
    "a list in a list": (lambda p: [p, [p]], TypeError, "picture 2 of 2: list is no picture"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_picture_is_refused_in_one_line(
    recognizer: Recognizer, pixels: Pixels, what: str
) -> None:
    make, kind, says = WRONG[what]
    with pytest.raises(kind, match=says) as refused:
        recognizer.process(make(pixels))
    assert "\n" not in str(refused.value)


def test_a_clip_is_no_picture(recognizer: Recognizer, tmp_path: Path) -> None:
    video = media.video(tmp_path / "clip.mp4", 3)
    frames = [Image.new("RGB", (32, 32), (n * 90, 0, 0)) for n in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    for clip in (video, file.getvalue()):
        with pytest.raises(ValueError, match=r"is a clip, no picture: for frame in open_source"):
            recognizer.process(clip)


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        ({"pixels": np.zeros((4, 4, 3))}, TypeError, "float64"),
        ({"pixels": [[0, 0, 0]]}, TypeError, "list"),
        ({"pixels": np.zeros((4, 4), np.uint8)}, ValueError, r"\(4, 4\)"),
        ({"pixels": np.zeros((4, 8, 3), np.uint8)[:, ::2]}, ValueError, "ascontiguousarray"),
        ({"time_s": float("nan")}, ValueError, "nan s"),
    ],
)
def test_a_frame_is_checked(wrong: dict[str, Any], kind: type[Exception], says: str) -> None:
    fields = {"pixels": np.zeros((4, 4, 3), np.uint8), "time_s": 0.0, "index": 0, "source": "x"}
    Frame(**fields)  # type: ignore[arg-type]
    with pytest.raises(kind, match=says):
        Frame(**{**fields, **wrong})


def test_threads_take_turns(recognizer: Recognizer, pixels: Pixels, expected: Result) -> None:
    """Four threads with a clip and pictures each, at once: as if each were alone."""
    got: dict[int, list[Result]] = {}

    def work(number: int) -> None:
        source = f"thread {number}"
        clip = [recognizer.process(Frame(pixels, n / 10, n, source)) for n in range(3)]
        got[number] = [*clip, recognizer.process(pixels)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [0, 1, 2, 3], "a thread failed"
    for results in got.values():
        assert alone(results) == [True, False, False, True]
        assert [result.faces[0].id for result in results] == [1] * 4
        assert read(results[0]) == read(got[0][0])


def test_it_stays_in_its_process_and_ends_once(pixels: Pixels, recognizer: Recognizer) -> None:
    with pytest.raises(TypeError, match="make one in each worker"):
        pickle.dumps(recognizer)
    closed = Recognizer()
    closed.close()
    closed.close()
    with pytest.raises(RecognizerUnusable, match="was closed: make another"):
        closed.process(pixels)


_FORK = """
import json, os, signal, sys
from ferstream import Recognizer, open_source
pixels = next(open_source("sample").frames()).pixels
parent = Recognizer(threads=2)
parent.process(pixels)
child = os.fork()
if child == 0:
    signal.alarm(60)  # what hangs is killed
    said = []
    for attempt in (lambda: parent.process(pixels), parent.reset, Recognizer):
        try:
            attempt()
        except Exception as error:
            said.append([type(error).__name__, str(error)])
    parent.close()
    print(json.dumps(said), flush=True)
    sys.exit(0)  # an ordinary end, which lets go of everything
status = os.waitpid(child, 0)[1]
print(json.dumps([status, len(parent.process(pixels).faces)]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_says_what_to_do_and_ends(repository: Path) -> None:
    """Left alone the child hangs in MediaPipe, or is aborted, and hangs once more at its end."""
    ran = subprocess.run(
        [sys.executable, "-c", _FORK], cwd=repository, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    said, (status, faces) = map(json.loads, ran.stdout.splitlines())
    assert [kind for kind, _ in said] == ["RecognizerUnusable"] * 3
    assert all("get_context('spawn')" in text and "\n" not in text for _, text in said)
    assert status == 0, "the child ended by itself"
    assert faces == 1, "the parent is as it was"
