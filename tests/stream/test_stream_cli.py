"""score, live and bench as a user runs them: outputs, exit statuses, one line for each failure."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ferstream.engines import contract
from tests import media
from tests.commands import Done, within
from tests.engines import tiny

ROOT = Path(__file__).resolve().parents[2]
MOTION_PX = 32


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle of random networks with motion fields of the real size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "MOTION_PX", MOTION_PX)
        patch.setitem(tiny.SPECS, "temporal", contract.temporal(tiny.FIELDS, motion_px=MOTION_PX))
        return str(tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny").path)


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    plain = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.Popen(
        [sys.executable, "-m", "ferstream", *map(str, arguments)],
        cwd=ROOT,
        env={**plain, "FERSTREAM_TRACE": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str | Path, **environment: str) -> Done:
    process = start(*arguments, **environment)
    out, error = process.communicate(timeout=120)
    assert "Traceback" not in out + error
    return Done(process.returncode, out, error)


def fails(done: Done, words: str, status: int = 1) -> None:
    """One line on standard error, none on standard output."""
    assert (done.status, done.out) == (status, "")
    (line,) = done.error.splitlines()
    assert line.startswith("ferstream: ")
    assert words in line


def test_the_sample_from_end_to_end(bundle: str, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"o.{kind}" for kind in ("jsonl", "csv", "mp4")}
    done = run(
        *("score", "sample", "--bundle", bundle, "--jsonl", files["jsonl"]),
        *("--csv", files["csv"], "--video", files["mp4"], "--top", "7", "--json"),
    )
    assert (done.status, done.error) == (0, "")
    document = json.loads(done.out)
    (clip,) = document["clips"]
    assert document["schema"] == 2
    assert document["bundle"]["name"] == "tiny"
    assert document["heads"]["emo135"]["supervision"] == "weakly supervised"
    assert (clip["source"], clip["frames"], clip["interrupted"]) == ("sample", 108, False)
    assert clip["duration_s"] == pytest.approx(3.6)
    assert "NASA" in clip["notes"][0]
    (found,) = clip["faces"]
    assert found["frames"] >= 100
    assert len(found["top"]) == 7
    assert sum(found["basic8"].values()) == pytest.approx(1, abs=1e-3)
    header, *rows = (json.loads(line) for line in files["jsonl"].read_text().splitlines())
    assert header["kind"] == "header" and header["engines"]
    assert [row["frame"] for row in rows] == list(range(108))
    assert all(len(row["faces"][0]["top"]) == 7 for row in rows if row["faces"])
    assert len(list(csv.reader(files["csv"].read_text().splitlines()))) == 109
    with av.open(str(files["mp4"])) as video:
        assert sum(1 for _ in video.decode(video=0)) == 108


def test_the_summary_in_words(bundle: str) -> None:
    done = within("score", "sample", "--bundle", bundle, "--top", "3")
    assert (done.status, done.error) == (0, "")
    assert done.out.startswith("sample: 3.6 s, 108 frames, 1 face, ")
    assert "note: made from a public-domain NASA photograph" in done.out
    assert done.out.count(" %  ") == 3


def test_an_encoding_without_blocks(bundle: str, tmp_path: Path) -> None:
    done = run("score", "sample", "--bundle", bundle, "--top", "1", PYTHONIOENCODING="ascii")
    assert done.status == 0
    assert "####" in done.out


def test_several_clips_write_folders_and_one_bad_does_not_stop_the_rest(
    bundle: str, tmp_path: Path
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    media.video(clips / "a.mp4", 5)
    (clips / "b.mp4").write_text("no video")
    media.image(clips / "c.png")
    rows = tmp_path / "rows"
    done = within("score", clips, "--bundle", bundle, "--jsonl", rows, "--json")
    assert done.status == 1
    (line,) = done.error.splitlines()
    assert "b.mp4 is not a video" in line
    parts = json.loads(done.out)["clips"]
    assert [(Path(part["source"]).name, part["frames"]) for part in parts] == [
        ("a.mp4", 5),
        ("b.mp4", 0),
        ("c.png", 1),
    ]
    assert parts[0]["faces"] == [] and parts[0]["error"] is None
    assert sorted(path.name for path in rows.iterdir()) == [
        "a.jsonl",
        "c.jsonl",
        "ferstream.ledger",
    ]


def test_a_batch_of_folders_is_one_table(bundle: str, tmp_path: Path) -> None:
    """What the user of a folder types: two clips of one name, a note, one line about that."""
    clips = tmp_path / "clips"
    for name, frames in (("p10/x.mp4", 3), ("p2/x.mp4", 2), ("p2/12:30 50%.mp4", 1)):
        (clips / name).parent.mkdir(parents=True, exist_ok=True)
        media.video(clips / "plain.mp4", frames).rename(clips / name)
    (clips / "notes.txt").touch()
    table = tmp_path / "one.csv"
    to = ("--to", tmp_path / "out" / "{source}.jsonl")
    done = within("score", clips, "--recursive", "--bundle", bundle, "--csv", table, *to, "--json")
    assert done.status == 0
    (line,) = done.error.splitlines()
    assert "skipped" in line and "notes.txt: no video or image by name" in line
    rows = list(csv.DictReader(table.read_text().splitlines()))
    named = [str(clips / name) for name in ("p2/12:30 50%.mp4", *2 * ["p2/x.mp4"])]
    assert [row["source"] for row in rows] == [*named, *3 * [str(clips / "p10/x.mp4")]]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["12_30_50.jsonl", "ferstream.ledger", "p10_x.jsonl", "p2_x.jsonl"]


def test_a_truncated_clip_is_scored_as_far_as_it_goes(bundle: str, tmp_path: Path) -> None:
    done = within("score", media.truncated(tmp_path / "cut.mp4"), "--bundle", bundle)
    assert done.status == 0
    assert "of 200 frames could be read: the file is damaged" in done.out


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 200)])
def test_tiny_pictures(bundle: str, tmp_path: Path, size: tuple[int, int]) -> None:
    path = media.image(tmp_path / "i.png", media.picture(0, size))
    done = within("score", path, "--bundle", bundle, "--video", tmp_path / "o.mp4", "--json")
    assert (done.status, done.error) == (0, "")
    assert json.loads(done.out)["clips"][0]["frames"] == 1


def test_bad_input_is_one_line(bundle: str, tmp_path: Path) -> None:
    """None of these gets as far as loading the networks."""
    text = tmp_path / "words.txt"
    text.write_text("only words")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    sound = media.audio_only(tmp_path / "sound.m4a")
    clip = media.video(tmp_path / "a.mp4", 3)
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        (("score", tmp_path / "gone.mp4"), "no file or folder"),
        (("score", text), "not a video or image"),
        (("score", empty), "is empty"),
        (("score", folder), "no video or image in the folder"),
        (("score", sound), "sound but no picture"),
        (("score", "/dev/video97"), "use `ferstream live /dev/video97`"),
        (("score", clip, "--jsonl", tmp_path / "no" / "o.jsonl"), "make it first"),
        (("score", clip, "--video", clip), "would replace the source"),
        (("score", clip, "--csv", folder), "is a folder"),
        (("live", "97", "--no-show"), "no camera at /dev/video97"),
        (("live", "rtsp://ann:s3cret@127.0.0.1:9/1", "--retries", "0"), "ann:***@127.0.0.1"),
        (("live", "sample", "--show"), "no display"),
        (("bench", tmp_path / "gone.mp4"), "no file or folder"),
        (("score", clip, "--bundle", folder), "manifest"),
    ]
    for arguments, words in cases:
        options = () if "--bundle" in arguments else ("--bundle", bundle)
        fails(within(*arguments, *options), words)


def test_a_broken_bundle_is_one_line(bundle: str, tmp_path: Path) -> None:
    def broken(name: str, change: Callable[[Path], object]) -> Path:
        copy = shutil.copytree(bundle, tmp_path / name)
        change(copy)
        return copy

    def newer(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))

    cases = [
        (broken("hash", lambda b: (b / "fusion.onnx").write_bytes(b"changed")), "fusion.onnx"),
        (broken("gone", lambda b: (b / "temporal.onnx").unlink()), "temporal.onnx"),
        (broken("newer", newer), "99"),
    ]
    for path, words in cases:
        fails(within("score", "sample", "--bundle", path), words)


@pytest.mark.parametrize(
    "arguments",
    [
        ("score",),
        ("score", "sample", "--top", "0"),
        ("score", "sample", "--backend", "steam"),
        ("score", "sample", "--nonsense"),
        ("live", "sample", "--seconds", "soon"),
        ("bench", "a", "b"),
    ],
)
def test_misuse_is_status_2(arguments: tuple[str, ...]) -> None:
    done = within(*arguments)
    assert (done.status, done.out) == (2, "")
    assert "Usage: ferstream" in done.error


def test_live_for_some_seconds(bundle: str, tmp_path: Path) -> None:
    done = run("live", "sample", "--no-show", "--seconds", "1.5", "--bundle", bundle)
    assert (done.status, done.error) == (0, "")
    assert "watching sample" in done.out
    assert "from capture to result" in done.out


def test_live_with_two_sources_in_json(bundle: str, tmp_path: Path) -> None:
    clip = media.video(tmp_path / "a.mp4", 30)
    rows = tmp_path / "rows"
    done = run("live", "sample", clip, "--no-show", "--bundle", bundle, "--jsonl", rows, "--json")
    assert (done.status, done.error) == (0, "")
    first, second = json.loads(done.out)["sources"]
    assert first["source"] == "sample"
    assert first["frames"] + sum(first["drops"].values()) == 108
    assert second["frames"] + sum(second["drops"].values()) == 30
    assert first["latency"]["p95_ms"] > 0
    assert len((rows / "a.jsonl").read_text().splitlines()) == second["frames"] + 1


def interrupted(process: subprocess.Popen[str], rows: Path, number: int) -> Done:
    """End a run by a signal once it has written ten rows."""
    deadline_s = time.monotonic() + 60
    while not rows.exists() or rows.read_bytes().count(b"\n") < 10:
        assert process.poll() is None and time.monotonic() < deadline_s
        time.sleep(0.02)
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    return Done(process.returncode, out, error)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_was_written_before_an_interrupt_is_complete(
    bundle: str, tmp_path: Path, number: int
) -> None:
    files = {kind: tmp_path / f"o.{kind}" for kind in ("jsonl", "csv", "mp4")}
    process = start(
        *("live", "sample", "--no-show", "--bundle", bundle, "--jsonl", files["jsonl"]),
        *("--csv", files["csv"], "--video", files["mp4"], "--json"),
    )
    done = interrupted(process, files["jsonl"], number)
    assert (done.status, done.error) == (128 + number, "")
    (part,) = json.loads(done.out)["sources"]
    assert part["interrupted"] and 10 <= part["frames"] + 1 < 108
    rows: list[Any] = [json.loads(line) for line in files["jsonl"].read_text().splitlines()]
    assert len(rows) == part["frames"] + 1
    assert len(files["csv"].read_text().splitlines()) == part["frames"] + 1
    with av.open(str(files["mp4"])) as video:
        times_s = [float(frame.time or 0) for frame in video.decode(video=0)]
    begun_s = rows[1]["time_s"]
    assert times_s == pytest.approx([row["time_s"] - begun_s for row in rows[1:]], abs=1e-3)


def test_an_interrupted_score_sums_up_what_it_saw(bundle: str, tmp_path: Path) -> None:
    clip = media.video(tmp_path / "long.mp4", 4000, (96, 72))
    rows, part = tmp_path / "o.jsonl", tmp_path / "o.jsonl.part"
    done = interrupted(start("score", clip, "--bundle", bundle, "--jsonl", rows), part, 2)
    assert done.status == 130
    (line,) = done.error.splitlines()
    assert line.startswith("ferstream: interrupted") and line.endswith(str(part))
    assert "long.mp4" in done.out
    assert json.loads(part.read_text().splitlines()[-1])["faces"] == []
    assert not rows.exists()


def test_nothing_that_exists_is_overwritten_unless_asked(bundle: str, tmp_path: Path) -> None:
    clip = media.video(tmp_path / "clip.mp4", 5)
    outputs = {kind: tmp_path / "out" / f"clip.{kind}" for kind in ("csv", "mp4", "eaf", "vtt")}
    to = [word for kind in outputs for word in ("--to", tmp_path / "out" / f"{{source}}.{kind}")]
    assert within("score", clip, "--bundle", bundle, *to).status == 0
    assert sorted((tmp_path / "out").iterdir()) == sorted(outputs.values())
    outputs["csv"].write_text("mine")
    fails(within("score", clip, "--bundle", bundle, *to), "clip.csv exists: name another file")
    fails(within("live", clip, "--bundle", bundle, *to), "clip.csv exists: name another file")
    assert outputs["csv"].read_text() == "mine"
    assert within("score", clip, "--bundle", bundle, *to, "--overwrite").status == 0
    assert len(outputs["csv"].read_text().splitlines()) == 6
    assert sorted((tmp_path / "out").iterdir()) == sorted(outputs.values())


def test_a_clip_without_a_picture_leaves_no_output(bundle: str, tmp_path: Path) -> None:
    clip, rows = media.no_frames(tmp_path / "nothing.mkv"), tmp_path / "o.jsonl"
    fails(within("score", clip, "--bundle", bundle, "--jsonl", rows), "holds no picture")
    assert list(tmp_path.iterdir()) == [clip]


def test_bench_has_the_promised_fields(bundle: str) -> None:
    done = run("bench", "sample", "--bundle", bundle, "--json", "--rounds", "1", "--threads", "1")
    assert (done.status, done.error) == (0, "")
    found = json.loads(done.out)
    assert found["frames"] == 108
    assert found["faces_per_frame"] == pytest.approx(1, abs=0.1)
    assert found["fps"] > 5
    assert {"decode", "detect", "align", "flow", "spatial", "temporal", "fusion"} <= set(
        found["stages"]
    )
    for times in found["stages"].values():
        assert set(times) == {"median_ms", "p95_ms", "share"}
    assert found["decoding"]["fps"] > found["fps"]
    assert set(found["busy"]) == {"reading", "finding", "scoring"}
    assert found["threads"] == 1
    assert found["latency_p95_ms"] > 0
    assert 50 < found["peak_rss_mb"] < 2000
    assert 0 < found["startup_s"] < 60


def test_a_real_clip(bundle: str, clips_dir: Path) -> None:
    done = within("score", clips_dir / "face_noface.mov", "--bundle", bundle, "--json")
    (clip,) = json.loads(done.out)["clips"]
    assert clip["frames"] == 169
    assert clip["faces"][0]["to_s"] < clip["duration_s"] - 1, "the face leaves before the end"


def test_faces_are_looked_for_as_asked(bundle: str, tmp_path: Path) -> None:
    from ferstream.stream.sources.sample import SampleSource

    smile = next(SampleSource().frames()).pixels
    pair = np.ascontiguousarray(np.hstack([smile, smile])[::-1, ::-1])
    media.image(tmp_path / "pair.png", pair)
    media.image(tmp_path / "noise.png", np.full((90, 90, 3), 128, np.uint8))

    def faces(*arguments: str | Path) -> dict[str, Any]:
        done = within("score", "--bundle", bundle, "--json", *arguments)
        assert (done.status, done.error) == (0, "")
        clip: dict[str, Any] = json.loads(done.out)["clips"][0]
        return clip

    assert faces(tmp_path / "pair.png", "--rotate", "180")["faces_seen"] == 2
    limited = faces(tmp_path / "pair.png", "--max-faces", "1")
    assert limited["faces_seen"] == 1
    assert limited["notes"] == [
        "more faces than are followed at once: 1 face left out; raise --max-faces"
    ]
    assert faces(tmp_path / "pair.png", "--min-face", "300")["faces_seen"] == 0
    assert faces(tmp_path / "noise.png")["faces_seen"] == 0
    assert faces(tmp_path / "noise.png", "--cropped")["faces_seen"] == 1
    refused = within("score", tmp_path / "pair.png", "--rotate", "45")
    assert refused.status == 2
    assert "--rotate" in refused.error
