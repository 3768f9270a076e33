"""What ARCHITECTURE calls one file and one line is that: each is added here, and works at once."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ferstream.engines import engine as engines
from ferstream.engines.bundle import load_bundle
from ferstream.engines.ort import OrtEngine
from ferstream.stream import formats, sources
from ferstream.stream.faces import front
from ferstream.stream.faces.detect import Detection, FaceDetector
from ferstream.stream.frame import Frame
from ferstream.stream.outputs import Outputs
from ferstream.stream.result import Result
from ferstream.stream.run import run
from ferstream.stream.sinks.base import BaseSink, SinkOptions
from ferstream.stream.sources.base import GivenFrames

from .stream.fakes import FakeRecognizer, FakeSource


def new_file(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    """A module of the package that is not on disk."""
    module = ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


def test_an_output_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(BaseSink):
        def __init__(self, path: Path) -> None:
            self._path, self._faces = path, 0

        def write(self, frame: Frame, result: Result) -> None:
            self._faces += len(result.faces)

        def close(self) -> None:
            self._path.write_text(f"{self._faces}\n")

    def make(options: SinkOptions) -> Counting:
        return Counting(options.path)

    new_file(monkeypatch, "ferstream.stream.sinks.counted", make=make)
    line = formats.Format("counted", suffixes=(".counted",))
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, line))
    outputs = Outputs(to=(str(tmp_path / "{source}.counted"),))
    (places,) = outputs.for_sources(["film.mp4"])
    source = FakeSource([k / 10 for k in range(7)], name="film.mp4")
    sinks = outputs.sinks([place.unfinished for place in places], print, live=False)
    run(source, FakeRecognizer(), sinks)
    outputs.finish(places)
    for place in places:
        place.finish()
    assert (tmp_path / "film.counted").read_text() == "7\n"


def test_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(text: str, how: sources.Opening) -> sources.Source:
        picture = np.zeros((48, 64, 3), np.uint8)
        return GivenFrames(text, [Frame(picture, k / 10, k, text) for k in range(3)])

    line = sources.Capture("noise", lambda text, how: text.startswith("noise:"), noise)
    monkeypatch.setattr(sources, "TABLE", (line, *sources.TABLE))
    with sources.open_source("noise:3") as source:
        assert [frame.index for frame in source.frames()] == [0, 1, 2]


class Nobody:
    """A network that sees no faces."""

    def look(self, picture: object) -> list[Detection]:
        return []

    def close(self) -> None:
        pass


def test_a_face_front_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Points(front.BaseLandmarker):
        def close(self) -> None:
            pass

    detector, points = FaceDetector(near=Nobody(), far=Nobody()), Points()
    new_file(monkeypatch, "ferstream.stream.faces.others", both=lambda opening: (detector, points))
    line = front.FrontEnd("others", "others:both")
    monkeypatch.setattr(front, "FRONT_ENDS", (line, *front.FRONT_ENDS))
    assert front.open_front_end("others") == (detector, points)
    assert "others" in front.front_end_names()


def test_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loud(OrtEngine):
        pass

    new_file(monkeypatch, "ferstream.engines.loud", Loud=Loud)
    new_file(monkeypatch, "loud", __spec__=object())  # its library
    monkeypatch.setitem(engines.CPU_BACKENDS, "loud", "loud:Loud")
    opened = engines.open_engine(load_bundle("default"), "temporal", backend="loud")
    assert isinstance(opened, Loud)
    opened.close()
