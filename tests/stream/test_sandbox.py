"""Strangers' files: decoded as any other, and powerless."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from ferstream.stream.errors import (
    SourceError,
    SourceMissing,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceUnreadable,
)
from ferstream.stream.sandbox.process import ProtocolBroken, Receiver
from ferstream.stream.sandbox.seccomp import can_confine
from ferstream.stream.sandbox.untrusted import Limits, PictureDecoder, open_untrusted, printable
from ferstream.stream.sources import open_source
from ferstream.stream.sources.base import Source
from tests import media

from . import hostile


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that no pipe takes in whole: its decoder has to wait for its reader."""
    return media.video(tmp_path_factory.mktemp("long") / "long.mp4", 40, (640, 480))


_OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    """Processes that ran before are not this test's."""
    _OTHERS.clear()
    _OTHERS.update(one.pid for one in psutil.Process().children())


def children() -> list[psutil.Process]:
    """Decoders that this test has started and that run."""
    return [one for one in psutil.Process().children() if one.pid not in _OTHERS]


def media_png(level: int) -> bytes:
    """A small picture that tells its level."""
    with tempfile.TemporaryDirectory() as folder:
        return media.image(Path(folder) / "p.png", media.picture(level)).read_bytes()


def read(path: Path, limits: Limits | None = None) -> int:
    """How many frames a stranger's file gives."""
    with open_untrusted(path, limits) as source:
        return len(list(source.frames()))


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi", "a.ts", "a.png", "a.jpg", "a.bmp"]
)
def test_decodes_what_a_file_of_ones_own_decodes(tmp_path: Path, name: str) -> None:
    still = name.endswith(("png", "jpg", "bmp"))
    codec = "libvpx" if name.endswith("webm") else "libx264"
    path = tmp_path / name
    media.image(path) if still else media.video(path, codec=codec)
    own: Source = open_source(path)
    with open_untrusted(path) as source:
        assert (source.rate_hz, source.duration_s) == (own.rate_hz, own.duration_s)
        pairs = list(zip(source.frames(), own.frames(), strict=True))
        assert source.notes == own.notes
        assert source.size == own.size == (64, 48)
    assert len(pairs) == (1 if still else 12)
    for frame, same in pairs:
        assert (frame.index, frame.time_s, frame.source) == (same.index, same.time_s, name)
        np.testing.assert_array_equal(frame.pixels, same.pixels)


@pytest.mark.parametrize("orientation", [3, 5, 6])
def test_turns_phone_pictures_upright(tmp_path: Path, orientation: int) -> None:
    path = media.oriented_jpeg(tmp_path / "p.jpg", orientation)
    own = next(iter(open_source(path).frames())).pixels
    with open_untrusted(path) as source:
        (frame,) = source.frames()
    np.testing.assert_array_equal(frame.pixels, own)
    assert source.size == (own.shape[1], own.shape[0])
    with PictureDecoder() as decoder:
        pixels = decoder.decode(path.read_bytes(), 10_000)
    assert media.quarters(pixels) == media.quarters(own)


def test_lists_of_other_files_are_refused_and_none_is_read(tmp_path: Path) -> None:
    secret = media.video(tmp_path / "secret.mp4")
    for path in hostile.playlists(tmp_path, secret):
        with pytest.raises(SourceUnreadable, match=path.name):
            read(path)
    elsewhere = hostile.mov_that_points_elsewhere(tmp_path / "alias.mov", secret)
    secret.unlink()
    assert read(elsewhere) == 3, "its own samples, wherever it says that they are"


def test_bombs_are_refused_within_bounds(tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    huge.write_bytes(hostile.png_header(60_000, 60_000))
    with pytest.raises(SourceError):
        read(huge)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(hostile.png_bomb(5000))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(SourceTooLarge, match="5000 x 5000"):
        read(bomb)
    with pytest.raises((SourceTooLarge, SourceUnreadable)):
        read(bomb, Limits(max_pixels=30_000_000, memory_bytes=64 * 2**20))
    gif = hostile.endless_gif(tmp_path / "endless.gif", 300)
    with pytest.raises(SourceTooLarge, match="more than 200 frames"):
        read(gif, Limits(max_frames=200))
    assert read(gif) == 300
    with pytest.raises(SourceTooLarge, match="longer than 2 s"):
        read(gif, Limits(max_duration_s=2))


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    clip = media.video(tmp_path / "clip.mp4", 40)
    data = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(20_000))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "link.mp4").symlink_to(clip)
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, kind, words in (
        ("cut.mp4", SourceUnreadable, "cut.mp4"),
        ("noise.mp4", SourceUnreadable, "noise.mp4"),
        ("empty.mp4", SourceUnreadable, "is empty"),
        ("link.mp4", SourceRefused, "cannot be opened"),
        ("pipe.mp4", SourceUnreadable, "is no file"),
        (".", SourceUnreadable, "is no file"),
        ("nothing.mp4", SourceMissing, "no file nothing.mp4"),
    ):
        with pytest.raises(kind, match=words):
            read(tmp_path / name)
    with pytest.raises(SourceTooLarge, match="MB at most"):
        read(clip, Limits(max_bytes=1000))
    with pytest.raises(SourceTooLarge, match="64 x 48"):
        read(clip, Limits(max_pixels=1000))


def test_names_are_shown_harmlessly(tmp_path: Path) -> None:
    path = media.video(tmp_path / "clip.mp4", 2)
    with open_untrusted(path, name="../../etc/\x1b[31m\npasswd" + "x" * 500) as source:
        (frame, _) = source.frames()
    assert frame.source.isprintable()
    assert len(frame.source) <= 80
    assert printable("a\nb\x00c\u202ed", 10) == "a b c d"


def test_a_decoder_has_no_rights(tmp_path: Path) -> None:
    """The jail, from inside: what a taken over decoder would try."""
    target = tmp_path / "target"
    script = f"""
import os, signal, socket, sys, threading
sys.path.insert(0, {os.getcwd()!r})
from ferstream.stream.sandbox.seccomp import confine
inherited = os.open({str(tmp_path)!r}, os.O_RDONLY)
tries = {{
    "read": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "write": lambda: os.open({str(target)!r}, os.O_CREAT | os.O_WRONLY),
    "list": lambda: os.listdir("/"),
    "list open": lambda: os.listdir(inherited),
    "connect": lambda: socket.socket(),
    "fork": lambda: os.fork(),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {{}}),
    "run": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(os.getppid(), signal.SIGTERM),
    "remove": lambda: os.unlink({str(target)!r}),
    "look": lambda: os.stat("/etc/passwd"),
    "follow": lambda: os.readlink("/proc/self/exe"),
    "raise limits": lambda: __import__("resource").setrlimit(7, (64, 64)),
}}
import resource
print("filtered", confine(2**28, 20))
for name, attempt in tries.items():
    try:
        attempt()
    except OSError as error:
        print(name, "fails")
    except ValueError:
        print(name, "fails")
    else:
        print(name, "WORKS")
thread = threading.Thread(target=print, args=("threads", "work"))
thread.start(); thread.join()
try:
    bytearray(2**29); print("memory WORKS")
except MemoryError:
    print("memory fails")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if lines[0] == "filtered False":
        pytest.skip("this machine has no filter of system calls")
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0] == "filtered True"
    assert lines[-1] == "memory fails"
    assert "threads work" in lines
    assert [line for line in lines if "WORKS" in line] == []
    assert sum(line.endswith("fails") for line in lines) == 14


def test_a_decoder_inherits_nothing(
    long_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERSTREAM_TOKEN", "a secret of the service")
    with (
        (tmp_path / "other").open("w"),
        open_untrusted(long_clip, name="a secret film.mp4") as source,
    ):
        process = psutil.Process(source.pid)
        assert not any("secret" in word for word in process.cmdline()), "its visitor's file name"
        assert process.cwd() == "/"
        assert "FERSTREAM_TOKEN" not in process.environ()
        opened = {Path(one.path).name for one in process.open_files()}
        assert opened == {long_clip.name}
        assert source.confined == can_confine()
        if sys.platform == "linux":
            # Where memory runs out, it goes before the service.
            assert Path(f"/proc/{source.pid}/oom_score_adj").read_text() == "1000\n"


def test_pictures_are_decoded_in_turn_by_few_processes() -> None:
    with PictureDecoder(workers=2) as decoder:
        pictures = {level: media_png(level) for level in range(12)}
        got: dict[int, int] = {}

        def decode(level: int) -> None:
            got[level] = media.level(decoder.decode(pictures[level], 10_000))

        threads = [threading.Thread(target=decode, args=(level,)) for level in pictures]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == {level: level for level in range(12)}
        assert 1 <= len(children()) <= 2
    assert children() == []
    with pytest.raises(SourceRefused, match="closing"):
        decoder.decode(pictures[0], 10_000)


def test_a_picture_that_fails_costs_its_process_at_most() -> None:
    good = media_png(3)
    with PictureDecoder(workers=1, timeout_s=1.0, memory_bytes=64 * 2**20) as decoder:
        assert decoder.decode(good, 10_000).shape == (48, 64, 3)
        (process,) = children()
        for data, kind, words in (
            (b"GIF89a" + b"x" * 100, SourceUnreadable, "no JPEG, PNG or WebP"),
            (b"", SourceUnreadable, "no JPEG"),
            (good[:20], SourceUnreadable, "cut off"),
            (good[:60], SourceUnreadable, "damaged"),
            (hostile.png_header(0, 5), SourceTooLarge, "0 x 5"),
            (hostile.png_bomb(300), SourceTooLarge, "300 x 300"),
            (hostile.jpeg_of_many_scans(5000), SourceUnreadable, "scans"),
            (hostile.jpeg_of_many_scans(98), SourceTooLarge, "too many scans for its size"),
        ):
            with pytest.raises(kind, match=words):
                decoder.decode(data, 10_000)
        assert children() == [process], "bad pictures are no reason for a new process"
        with pytest.raises((SourceTooLarge, SourceUnreadable)):
            decoder.decode(hostile.png_bomb(6000), 40_000_000)
        assert decoder.decode(good, 10_000).shape == (48, 64, 3)
        (process,) = children()
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(SourceTimeout):
            decoder.decode(good, 10_000)
        assert decoder.decode(good, 10_000).shape == (48, 64, 3)
        (process,) = children()
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(SourceUnreadable):
            decoder.decode(good, 10_000)
        assert decoder.decode(good, 10_000).shape == (48, 64, 3)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"H",
        b"Q\x00\x00\x00\x02{}",
        b"H\xff\xff\xff\xff",
        b"H\x00\x00\x00\x02[]",
        b"H\x00\x00\x00\x02{",
        b"F\x00\x00\x00\x01x",
        b"F\x00\x00\x00\x10" + struct.pack(">IId", 2**31, 2**31, 0.0),
        b"F\x00\x00\x00\x10" + struct.pack(">IId", 0, 5, 0.0),
        b"F\x00\x00\x00\x10" + struct.pack(">IId", 2, 2, float("nan")),
        b"F\x00\x00\x00\x10" + struct.pack(">IId", 2, 2, 0.0) + b"short",
    ],
)
def test_a_decoder_is_not_believed(said: bytes) -> None:
    receiving, sending = os.pipe()
    try:
        os.write(sending, said)
        os.close(sending)
        with pytest.raises(ProtocolBroken):
            Receiver(receiving, 1.0, 10_000).receive()
    finally:
        os.close(receiving)


def test_a_silent_decoder_is_ended(long_clip: Path) -> None:
    with open_untrusted(long_clip, Limits(silence_s=0.5)) as source:
        frames = source.frames()
        next(frames)
        os.kill(source.pid, signal.SIGSTOP)
        with pytest.raises(SourceTimeout, match="too long"):
            list(frames)
    assert children() == []


def test_a_killed_decoder_is_an_error_and_not_an_end(long_clip: Path) -> None:
    with open_untrusted(long_clip) as source:
        frames = source.frames()
        next(frames)
        os.kill(source.pid, signal.SIGKILL)
        with pytest.raises(SourceUnreadable, match="decoder failed"):
            list(frames)


def test_closing_ends_frames_and_process_from_another_thread(
    long_clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    shutil.copy(long_clip, path)
    source = open_untrusted(path)
    path.unlink()  # it may go as soon as it is open
    frames = source.frames()
    next(frames)
    threading.Timer(0.1, source.close).start()
    for _ in frames:
        time.sleep(0.01)
    assert not psutil.pid_exists(source.pid)


def test_nothing_leaks(tmp_path: Path) -> None:
    path = media.video(tmp_path / "clip.mp4", 2)
    bad = hostile.playlists(tmp_path, path)[0]
    process = psutil.Process()
    read(path)
    files, threads = process.num_fds(), {one.id for one in process.threads()}
    for _ in range(3):
        read(path)
        open_untrusted(path).close()
        with pytest.raises(SourceUnreadable):
            open_untrusted(bad)
    # What an earlier test left may end meanwhile: fewer is no leak.
    assert process.num_fds() <= files
    assert {one.id for one in process.threads()} <= threads
    assert children() == []


def test_a_decoder_ends_when_its_parent_does(long_clip: Path) -> None:
    script = (
        "import os, sys; from ferstream.stream.sandbox.untrusted import *; "
        "source = open_untrusted(sys.argv[1]); decoder = PictureDecoder(); "
        "import contextlib\n"
        "with contextlib.suppress(Exception): decoder.decode(b'x', 9)\n"
        "import psutil; print(*[c.pid for c in psutil.Process().children()], flush=True); "
        "os._exit(1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(long_clip)], capture_output=True, text=True
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    end_s = time.monotonic() + 5
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < end_s, "a decoder outlives its parent"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
