"""What words on the command line name: files, folders, patterns, cameras, lists of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferstream.stream.errors import SourceError, SourceMissing, SourceUnreadable, StreamError
from ferstream.stream.formats import place_of
from ferstream.stream.sources import clips_from, open_source, sources_from, without_password
from tests import media


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
        source = open_source(spec)
        frames = list(source.frames())
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
