"""What a live stream's decoder may show: nothing invented, nothing late, whatever arrives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ferstream.stream.errors import SourceTimeout
from ferstream.stream.sources.live import H264Numbers, LiveReader
from tests import media

GOP, COUNT = 10, 40
CODECS = {
    "libx264": {"g": str(GOP), "tune": "zerolatency", "crf": "10"},
    "libx265": {"x265-params": f"keyint={GOP}:bframes=0:log-level=none", "tune": "zerolatency"},
    "mjpeg": {},
}


def recorded(
    folder: Path,
    codec: str,
    keep: Sequence[int] = range(COUNT),
    options: dict[str, str] | None = None,
    spoil: int | None = None,
) -> Path:
    """A stream of `media.picture`s, of which only some packets were kept."""
    whole, path = folder / "whole.nut", folder / "stream.nut"
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = options or CODECS[codec]
    media.video(whole, COUNT, (128, 96), codec=codec, pixel_format=pixel_format, options=options)
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        assert len(packets) == COUNT
        for index in keep:
            packet = packets[index]
            if index == spoil:
                data = bytearray(bytes(packet))
                data[len(data) // 2 :] = b"\x55" * (len(data) - len(data) // 2)
                hurt = av.Packet(bytes(data))
                hurt.pts, hurt.dts, hurt.time_base = packet.pts, packet.dts, packet.time_base
                packet = hurt
            packet.stream = stream
            target.mux(packet)
    return path


def shown(path: Path, clock: Iterator[float] | None = None) -> tuple[list[int], dict[str, int]]:
    """The numbers of the pictures that a reader shows of it, modulo 20, and what it left out."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        ticks = clock or (k / 1000 for k in range(10**6))
        reader = LiveReader(container, stream, "cam", 3.0, lambda: next(ticks))
        pictures = [one.picture.to_ndarray(format="rgb24") for one in reader.pictures()]
        return [media.level(np.asarray(pixels)) for pixels in pictures], dict(reader.drops)


def levels(*ranges: range) -> list[int]:
    return [index % 20 for one in ranges for index in one]


@pytest.mark.parametrize("codec", CODECS)
def test_a_whole_stream_is_shown_whole(tmp_path: Path, codec: str) -> None:
    assert shown(recorded(tmp_path, codec)) == (levels(range(COUNT)), {})


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_who_joins_in_between_waits_for_a_key_frame(tmp_path: Path, codec: str) -> None:
    seen, drops = shown(recorded(tmp_path, codec, keep=range(4, COUNT)))
    assert seen == levels(range(GOP, COUNT))
    assert drops == {"no key frame": GOP - 4}


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_after_missing_pictures_none_is_shown_until_a_key_frame(tmp_path: Path, codec: str) -> None:
    keep = [index for index in range(COUNT) if index not in (13, 14)]
    seen, drops = shown(recorded(tmp_path, codec, keep=keep))
    assert seen == levels(range(13), range(20, COUNT))
    if codec == "libx264":  # the other decoder leaves them out by itself
        assert drops == {"damaged": 1, "no key frame": 5}


def test_a_damaged_picture_and_what_is_built_on_it_is_not_shown(tmp_path: Path) -> None:
    seen, drops = shown(recorded(tmp_path, "libx264", spoil=15))
    assert seen == levels(range(15), range(20, COUNT))
    assert drops["damaged"] == 1


def test_pictures_that_nothing_refers_to_may_be_missing(tmp_path: Path) -> None:
    """A camera that drops such pictures does no harm, and the numbers say so."""
    options = {"bf": "1", "g": "40", "x264-params": "b-adapt=0:b-pyramid=0:scenecut=0"}
    path = recorded(tmp_path, "libx264", options=options)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        numbers = H264Numbers(stream.codec_context.extradata)
    disposable = [index for index, data in enumerate(packets) if not _is_referred_to(data)]
    assert len(disposable) > 10
    rest = [data for index, data in enumerate(packets) if index not in disposable]
    assert not any(numbers.is_gap_before(data) for data in rest)
    numbers.forget()
    del rest[5]
    assert [numbers.is_gap_before(data) for data in rest].count(True) == 1


def _is_referred_to(packet: bytes) -> bool:
    start = packet.find(b"\0\0\1")
    while packet[start + 3] & 31 not in (1, 5):
        start = packet.find(b"\0\0\1", start + 3)
    return packet[start + 3] >> 5 & 3 > 0


@pytest.mark.parametrize("profile", ["baseline", "main", "high", "high444"])
def test_numbers_are_found_in_every_profile(tmp_path: Path, profile: str) -> None:
    options = {"profile": profile, "g": "40", "bf": "0", "x264-params": "cqm=jvt"}
    if profile in ("baseline", "main"):
        del options["x264-params"]
    path = recorded(tmp_path, "libx264", options=options)
    with av.open(str(path)) as container:
        parameters = container.streams.video[0].codec_context.extradata or b""
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for gone in (7, 20, 38):
        ahead = gone == 7
        numbers = H264Numbers(parameters if ahead else None)
        kept = [data for index, data in enumerate(packets) if index != gone]
        kept[0] = kept[0] if ahead else parameters + kept[0]
        assert [numbers.is_gap_before(data) for data in kept].index(True) == gone


def test_noise_has_no_numbers() -> None:
    random = np.random.default_rng(0)
    numbers = H264Numbers(b"\x01\x64\x00")
    for _ in range(2000):
        head = bytes([0, 0, 1, int(random.choice([0x67, 0x65, 0x41, 0x01]))])
        numbers.is_gap_before(head + random.bytes(int(random.integers(0, 60))))
    assert not H264Numbers().is_gap_before(b"")


class Jumping:
    """A container whose stamps jump at the 15th packet."""

    def __init__(self, container: Any, jump_s: float) -> None:
        self._container, self._jump_s = container, jump_s

    def demux(self, stream: Any) -> Iterator[Any]:
        for index, packet in enumerate(self._container.demux(stream)):
            if index >= 15 and packet.size:
                packet.pts += round(self._jump_s / packet.time_base)
            yield packet


@pytest.mark.parametrize("jump_s", [-1000.0, -5.0, 5.0, 1000.0])
def test_stamps_that_jump_cost_no_picture(tmp_path: Path, jump_s: float) -> None:
    ticks = (k / 120 for k in range(10**6))
    with av.open(str(recorded(tmp_path, "libx264"))) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        jumping: Any = Jumping(container, jump_s)
        reader = LiveReader(jumping, stream, "cam", 3.0, lambda: next(ticks))
        assert len(list(reader.pictures())) == COUNT
        assert not reader.drops


def test_who_falls_behind_leaves_out_what_waits(tmp_path: Path) -> None:
    """A picture takes 200 ms where 33 may be taken: the rest of a group is left out."""
    now_s = [0.0]

    def slow() -> Iterator[float]:
        while True:
            yield now_s[0]

    path = recorded(tmp_path, "libx264")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        ticks = slow()
        reader = LiveReader(container, stream, "cam", 3.0, lambda: next(ticks))
        seen = []
        for one in reader.pictures():
            seen.append(media.level(np.asarray(one.picture.to_ndarray(format="rgb24"))))
            now_s[0] += 0.2
    assert seen == levels(range(7), range(10, 11), range(20, 21), range(30, 32))
    assert reader.drops["late"] == 4


def test_packets_without_a_picture_are_a_stall_in_the_end(tmp_path: Path) -> None:
    path = recorded(tmp_path, "libx264", keep=range(1, COUNT), options={"g": "300", "bf": "0"})
    with pytest.raises(SourceTimeout, match=r"gave no picture for 15\.\d s"):
        shown(path, (k / 4 for k in range(10**6)))
