"""Files and images: good ones read right, bad ones refused in one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferstream.stream.errors import (
    SourceError,
    SourceMissing,
    SourceRefused,
    SourceUnreadable,
    StreamError,
)
from ferstream.stream.frame import Frame
from ferstream.stream.place import place_of
from ferstream.stream.sources import clips_from, open_source, sources_from, without_password
from ferstream.stream.sources.base import Source
from ferstream.stream.sources.upright import Orientation
from tests import media


def read(spec: str | Path) -> tuple[list[Frame], Source]:
    source = open_source(spec)
    return list(source.frames()), source


def test_a_video_gives_every_frame_at_its_time(tmp_path: Path) -> None:
    frames, source = read(media.video(tmp_path / "a.mp4", frames=20))
    assert [frame.index for frame in frames] == list(range(20))
    assert [media.level(frame.pixels) for frame in frames] == list(range(20))
    assert [frame.time_s for frame in frames] == pytest.approx([k / 30 for k in range(20)])
    assert (source.live, source.rate_hz, source.size) == (False, 30.0, (64, 48))
    assert source.duration_s == pytest.approx(20 / 30, abs=1e-3)
    assert source.notes == ()
    assert {frame.source for frame in frames} == {str(tmp_path / "a.mp4")}
    assert all(frame.pixels.flags.c_contiguous for frame in frames)


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times_s = [0.0, 0.04, 0.05, 0.5, 0.51, 2.0]
    frames, _ = read(media.video(tmp_path / "vfr.mp4", frames=6, times_s=times_s))
    assert [frame.time_s for frame in frames] == pytest.approx(times_s, abs=1e-4)


def test_times_begin_at_zero_and_always_grow(tmp_path: Path) -> None:
    late_s = [5.0, 5.1, 5.2]
    path = media.video(tmp_path / "late.mkv", frames=3, times_s=late_s)
    assert [frame.time_s for frame in read(path)[0]] == pytest.approx([0, 0.1, 0.2], abs=2e-3)


# What a turn does to the quarters r b / g . is written out by hand.
@pytest.mark.parametrize(
    ("rotation_deg", "flip", "seen", "size"),
    [
        (0, False, "rbg.", (64, 48)),
        (90, False, "b.rg", (48, 64)),
        (180, False, ".gbr", (64, 48)),
        (-90, False, "gr.b", (48, 64)),
        (0, True, "br.g", (64, 48)),
        (90, True, ".bgr", (48, 64)),
    ],
)
def test_a_video_is_turned_as_its_metadata_says(
    tmp_path: Path, rotation_deg: int, flip: bool, seen: str, size: tuple[int, int]
) -> None:
    path = media.video(tmp_path / "r.mp4", 3, rotation_deg=rotation_deg, flip=flip)
    frames, source = read(path)
    assert media.quarters(frames[0].pixels) == seen
    assert (frames[0].width_px, frames[0].height_px) == source.size == size


@pytest.mark.parametrize(
    ("orientation", "seen"),
    list(enumerate(["rbg.", "br.g", ".gbr", "g.rb", "rgb.", "gr.b", ".bgr", "b.rg"], start=1)),
)
def test_a_photograph_is_turned_as_its_exif_says(
    tmp_path: Path, orientation: int, seen: str
) -> None:
    frames, _ = read(media.oriented_jpeg(tmp_path / "photo.jpg", orientation))
    assert media.quarters(frames[0].pixels) == seen


def test_rotations_agree_with_matrices() -> None:
    assert Orientation.from_rotation(0) == Orientation.from_matrix(None) == Orientation()
    assert Orientation.from_rotation(-180) == Orientation.from_rotation(180)
    assert Orientation.from_rotation(90) == Orientation(swap=True, flip_y=True)
    assert Orientation.from_rotation(-90) == Orientation(swap=True, flip_x=True)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("ten.mkv", "libx265", "yuv420p10le"),
        ("ten.mp4", "libx264", "yuv420p10le"),
        ("grey.mkv", "libx264", "gray"),
        ("full.avi", "mjpeg", "yuvj420p"),
        ("rgb.mkv", "ffv1", "bgr0"),
        ("vp9.webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_other_formats_become_rgb(tmp_path: Path, name: str, codec: str, pixel_format: str) -> None:
    options = {"log-level": "none"} if codec == "libx265" else {}
    path = media.video(tmp_path / name, 4, codec=codec, pixel_format=pixel_format, options=options)
    frames, _ = read(path)
    assert len(frames) == 4
    assert frames[0].pixels.dtype == np.uint8
    assert frames[0].pixels.shape == (48, 64, 3)
    if pixel_format == "gray":
        assert np.ptp(frames[0].pixels.astype(int), axis=2).max() <= 2
    else:
        assert media.quarters(frames[0].pixels) == "rbg."


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
def test_an_image_is_a_clip_of_one_frame(tmp_path: Path, suffix: str) -> None:
    (frame,), source = read(media.image(tmp_path / f"i{suffix}"))
    assert media.quarters(frame.pixels) == "rbg."
    assert (frame.time_s, frame.index) == (0.0, 0)
    assert source.rate_hz is None


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 3), (7, 5), (3, 201), (333, 5)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), (200, 100, 50), np.uint8)
    (frame,), source = read(media.image(tmp_path / "odd.png", pixels))
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert source.size == size


def test_an_odd_sized_video(tmp_path: Path) -> None:
    path = media.video(tmp_path / "odd.mkv", 3, (65, 49), codec="ffv1", pixel_format="bgr0")
    assert read(path)[0][2].pixels.shape == (49, 65, 3)


@pytest.mark.slow
def test_eight_k(tmp_path: Path) -> None:
    path = media.video(tmp_path / "8k.avi", 2, (7680, 4320), codec="mjpeg", pixel_format="yuvj420p")
    frames, _ = read(path)
    assert [frame.pixels.shape for frame in frames] == [(4320, 7680, 3)] * 2


def test_a_truncated_video_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    frames, source = read(media.truncated(tmp_path / "cut.mp4", 0.5))
    assert 10 < len(frames) < 200
    assert any(f"{len(frames)} of 200 frames" in note for note in source.notes)


def test_a_video_damaged_in_the_middle_is_read_on(tmp_path: Path) -> None:
    path = media.video(tmp_path / "hurt.mp4", 60, options={"g": "10"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 150] = b"\xff" * 150
    path.write_bytes(data)
    frames, _ = read(path)
    assert frames[-1].time_s > 1.5
    assert 30 < len(frames) <= 60


def bad_files(folder: Path) -> dict[str, Path]:
    files = {name: folder / name for name in ("empty.mp4", "text.txt", "noise.bin", "noise.mp4")}
    files["empty.mp4"].touch()
    files["text.txt"].write_text("no video, only words\n" * 50)
    noise = np.random.default_rng(0).bytes(100_000)
    files["noise.bin"].write_bytes(noise)
    files["noise.mp4"].write_bytes(noise)
    files["sound.m4a"] = media.audio_only(folder / "sound.m4a")
    files["nothing.mkv"] = media.no_frames(folder / "nothing.mkv")
    whole = media.video(folder / "whole.mp4", 30).read_bytes()
    files["headless.mp4"] = folder / "headless.mp4"
    files["headless.mp4"].write_bytes(whole[: len(whole) // 2])
    return files


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.mp4", "is empty"),
        ("text.txt", "not a video or image"),
        ("noise.bin", "not a video or image"),
        ("noise.mp4", "not a video or image"),
        ("sound.m4a", "sound but no picture"),
        ("nothing.mkv", "holds no picture"),
        ("headless.mp4", "not a video or image"),
    ],
)
def test_what_is_no_video_is_refused_by_name(tmp_path: Path, name: str, words: str) -> None:
    path = bad_files(tmp_path)[name]
    with pytest.raises(SourceUnreadable, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(8))
def test_noise_never_escapes_the_tree(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    for suffix in ("mp4", "jpg", "gif", "ts", "h264", "mpg", "png"):
        path = tmp_path / f"noise.{suffix}"
        path.write_bytes(random.bytes(int(10 ** random.uniform(1, 5))))
        with pytest.raises(SourceError):
            read(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"no file .*gone\.mp4") as caught:
        open_source(tmp_path / "gone.mp4")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(SourceUnreadable, match="is a folder"):
        open_source(tmp_path)


def test_passwords_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Escaped for where they stand; in a list too; a variable that is not there is named."""
    monkeypatch.setenv("CAMERA_PW", "a:b/c@d?e#f g")
    written, meant = "rtsp://ann:${CAMERA_PW}@cam/1", "rtsp://ann:a%3Ab%2Fc%40d%3Fe%23f%20g@cam/1"
    assert sources_from([written]) == [meant]
    assert place_of("http://ann:${CAMERA_PW}@host/rows").target.startswith("http://ann:a%3Ab")
    (tmp_path / "all.streams").write_text(f"{written}\n")
    assert sources_from([str(tmp_path / "all.streams")]) == [meant]
    assert without_password(meant) == "rtsp://ann:***@cam/1"
    for use in (lambda text: sources_from([text]), place_of):
        with pytest.raises(StreamError, match=r"variable NOWHERE, which is not set") as caught:
            use("http://ann:${NOWHERE}@cam/1")
        assert "***" in str(caught.value)
    file = media.video(tmp_path / "${CAMERA_PW}.mp4")
    assert sources_from([str(file)]) == [str(file)], "a file's name stays as it is"


def test_closing_ends_the_frames(tmp_path: Path) -> None:
    source = open_source(media.video(tmp_path / "a.mp4", 60))
    frames = source.frames()
    next(frames)
    source.close()
    assert len(list(frames)) == 0
    source.close()


def test_folders_and_patterns_become_clips(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "c.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "inner.mp4").mkdir()
    names = [str(tmp_path / name) for name in ("a.MKV", "b.mp4", "c.png")]
    assert clips_from([str(tmp_path)]) == names
    assert clips_from([str(tmp_path / "*.mp4"), names[1]]) == [names[1]]
    assert clips_from(["sample", names[2]]) == ["sample", names[2]]
    assert clips_from([str(tmp_path / "notes.txt")]) == [str(tmp_path / "notes.txt")]


def test_numbers_in_names_are_numbers(tmp_path: Path) -> None:
    names = ["2.mp4", "p1.mp4", "p2.mp4", "P9.mp4", "p10.mp4", "p10a.mp4"]
    for name in names:
        (tmp_path / name).touch()
    right = [str(tmp_path / name) for name in names]
    assert clips_from([str(tmp_path)]) == right
    assert clips_from([str(tmp_path / "*.mp4")]) == right


def test_folders_in_folders_and_what_is_skipped(tmp_path: Path) -> None:
    for name in (
        "b.mp4",
        "in/a.heic",
        "in/deep/c.webp",
        "in/deep/._c.webp",
        "notes.txt",
        "in/x.csv",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in" / "up").symlink_to(tmp_path, target_is_directory=True)
    skipped: list[str] = []
    assert clips_from([str(tmp_path)], skipped=skipped) == [str(tmp_path / "b.mp4")]
    assert skipped == [str(tmp_path / "notes.txt"), f"{tmp_path / 'in'}/"]
    skipped = []
    found = clips_from([str(tmp_path)], recursive=True, skipped=skipped)
    assert found == [str(tmp_path / name) for name in ("b.mp4", "in/a.heic", "in/deep/c.webp")]
    assert skipped[:2] == [str(tmp_path / "notes.txt"), str(tmp_path / "in" / "x.csv")]
    (tmp_path / "b.mp4").unlink()
    with pytest.raises(SourceMissing, match="or --recursive for its folders"):
        clips_from([str(tmp_path)])


def test_a_file_of_two_names_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    assert clips_from(["a.mp4", "./a.mp4", str(tmp_path / "a.mp4")]) == ["a.mp4"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "take[1].mp4"
    path.touch()
    assert clips_from([str(path)]) == [str(path)]


NAMES = [
    "cam1-12:30:15.mp4",
    "http:x.mp4",
    "100 %03d %d.mp4",
    "-x.mp4",
    "zwei Wörter 笑顔 😀.mp4",
    "a*b?[c].mp4",
    "concat:a|b.mp4",
]


@pytest.mark.parametrize("name", [*NAMES, "shot%03d.png", "50%d.jpg", "a:b.bmp"])
def test_a_name_is_a_name_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Relative, as typed in the folder itself, and absolute."""
    monkeypatch.chdir(tmp_path)
    plain = tmp_path / f"plain{Path(name).suffix}"
    (media.video(plain, 3) if name.endswith(".mp4") else media.image(plain)).rename(name)
    for spec in (name, str(tmp_path / name)):
        assert clips_from([spec]) == [spec]
        frames, source = read(spec)
        assert len(frames) == (3 if name.endswith(".mp4") else 1)
        assert source.name == frames[0].source == spec


def test_nothing_to_score_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="no video or image in the folder"):
        clips_from([str(tmp_path)])
    with pytest.raises(SourceMissing, match="nothing matches"):
        clips_from([str(tmp_path / "*.mp4")])
    with pytest.raises(SourceMissing, match="no file or folder"):
        clips_from([str(tmp_path / "x")])
    with pytest.raises(SourceUnreadable, match="use `ferstream live 0`"):
        clips_from(["0"])


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://ann:s3cret@cam/1", "rtsp://ann:***@cam/1"),
        ("rtsp://ann:p@ss:w0rd@cam:554/1", "rtsp://ann:***@cam:554/1"),
        ("rtsp://:secret@cam/1", "rtsp://:***@cam/1"),
        ("http://cam/v?user=ann&Password=x%20y&n=1", "http://cam/v?user=ann&Password=***&n=1"),
        ("https://cam/v?access_token=abc#t", "https://cam/v?access_token=***#t"),
        ("rtsp://cam:554/live", "rtsp://cam:554/live"),
        ("clip:with@signs.mp4", "clip:with@signs.mp4"),
        ("rtsp://ann:s3/cr?e#t@cam/1", "rtsp://ann:***@cam/1"),
        ("rtsp://cam:554/live@2", "rtsp://cam:554/live@2"),
        ("a pass=1.mp4", "a pass=1.mp4"),
        ("gst:rtspsrc location=rtsp://a:b@c/1 ! d", "gst:rtspsrc location=rtsp://a:***@c/1 ! d"),
        (
            'gst:x location="rtsp://a:b@c/1" ! d',
            'gst:x location="rtsp://a:***@c/1" ! d',
        ),
        ("gst:rtspsrc user-id=ann user-pw=s3cret ! d", "gst:rtspsrc user-id=ann user-pw=*** ! d"),
        ('gst:rtspsrc user-pw = "s3 cr\\"et" ! d', "gst:rtspsrc user-pw = *** ! d"),
        ("gst:srtsrc passphrase='s3 cret' uri=x", "gst:srtsrc passphrase=*** uri=x"),
        ("gst:a proxy-pw=(string)s3cret! d", "gst:a proxy-pw=***! d"),
        ("gst:a user-pw=s3\\ cret b=1", "gst:a user-pw=*** b=1"),
        ('gst:a user-pw="s3 cret', "gst:a user-pw=***"),
        ("no element in a user-pw=x ! b", "no element in a user-pw=*** ! b"),
    ],
)
def test_passwords_are_never_shown(address: str, shown: str) -> None:
    assert without_password(address) == shown


CAMERAS = ["0", "/dev/video1", "rtsp://ann:s3cret@cam/1", "gst:videotestsrc ! identity"]


def test_cameras_are_sources_and_no_clips(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    words = [*CAMERAS, "http://cam/live.m3u8", "sample", str(tmp_path), str(tmp_path / "*.mp4")]
    assert sources_from([*words, "0"]) == [*words[:-2], str(tmp_path / "a.mp4")]
    for camera in CAMERAS:
        with pytest.raises(SourceUnreadable, match="is a camera: use `ferstream live") as caught:
            clips_from([camera])
        assert "s3cret" not in str(caught.value)
    assert clips_from(["http://cam/live.m3u8"]) == ["http://cam/live.m3u8"]


def test_a_number_that_is_a_file_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").touch()
    assert clips_from(["7"]) == ["7"]
    with pytest.raises(SourceUnreadable, match="is a camera"):
        clips_from(["8"])


def test_a_list_holds_one_source_per_line(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name in ("clips/b.mp4", "clips/a.mp4", "my clip.mkv"):
        (tmp_path / name).touch()
    path = tmp_path / "wall.streams"
    lines = [
        "\ufeff# the wall",
        "",
        *CAMERAS,
        "  sample  ",
        "my clip.mkv",
        "clips",
        "clips/a*",
        "0",
    ]
    path.write_text("\r\n".join(lines), "utf-8")
    clips = [str(tmp_path / name) for name in ("my clip.mkv", "clips/a.mp4", "clips/b.mp4")]
    assert sources_from([str(path)]) == [*CAMERAS, "sample", *clips]
    with pytest.raises(SourceUnreadable, match=r"wall\.streams line 3: 0 is a camera"):
        clips_from([str(path)])
    path.write_text("sample\nclips\n")
    assert clips_from([str(path)]) == ["sample", *clips[1:]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"sample\n\ngone.mp4\n", r"wall\.streams line 3: no file or folder .*gone\.mp4"),
        (b"*.mkv", r"line 1: nothing matches .*\*\.mkv"),
        (b"empty", r"line 1: no video or image in the folder"),
        (b"# a\nother.streams", r"line 2: .*other\.streams is a list itself"),
        (b"# nothing\n\n", "no source in .*: write one on each line"),
        (b"\xff\xfe\x00", "cannot be read as a text"),
    ],
)
def test_an_error_in_a_list_names_its_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "empty").mkdir()
    path = tmp_path / "wall.streams"
    path.write_bytes(content)
    for expanded in (sources_from, clips_from):
        with pytest.raises(SourceError, match=words):
            expanded([str(path)])


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"no list of sources .*gone\.streams"):
        sources_from([str(tmp_path / "gone.streams")])


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = media.video(tmp_path / "v.mp4", 3)
    monkeypatch.setattr("av.open", denied)
    with pytest.raises(SourceRefused, match="check its permissions"):
        open_source(path)
