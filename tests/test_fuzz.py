"""Every parser of our own against what Hypothesis thinks of: each ends, with an answer or with an
error of its own kind.

A few examples of each here; `make fuzz` goes on for FERSTREAM_FUZZ_S seconds in all, with other
examples each time, and says what it found.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferstream.engines import manifest
from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.errors import EnginesError
from ferstream.engines.graph import screen
from ferstream.engines.terminal import plain
from ferstream.stream.errors import SinkError, SourceError, StreamError
from ferstream.stream.formats import place_of, places_for, stems
from ferstream.stream.sandbox.process import ProtocolBroken, Receiver, printable, read_message
from ferstream.stream.sinks.prometheus import _host_and_port
from ferstream.stream.sinks.rows import Address
from ferstream.stream.sources.base import without_password
from ferstream.stream.sources.image import decoding_cost, picture_head
from ferstream.stream.sources.live import H264Numbers
from ferstream.stream.sources.specs import (
    camera_device,
    clips_from,
    is_known,
    own_names,
    sources_from,
)
from ferstream.stream.sources.tunnel import _Reply

from .engines import tiny

_FEW, _MANY = 30, 1000
_SHARE_S = float(os.environ.get("FERSTREAM_FUZZ_S", 0)) / 12
"""Of each test here."""

# Files' names may hold anything but NUL and /, bytes that are no UTF-8 among them.
_TEXT = st.text(st.characters(blacklist_categories=()), max_size=60)
_PIECES = (
    "rtsp:// RTSPS:// http:// file:/// gst: mqtt:// ann :pass word@ @ : / // ? # % %2F ! [ ] [::1] "
    "127.0.0.1 :554 :99999 :-1 .. . {source} {} ${HOME} ${} *.mp4 *** [a-z] ** .streams .jsonl "
    ".m3u8 .eaf - sample 0 /dev/video0 \u202e \x1b[31m \x00 \udcff \n &token=x user-pw= \" '"
)
_WORDS = st.lists(st.sampled_from(_PIECES.split(" ")), max_size=8).map("".join)
_NAMES = st.one_of(_TEXT, _WORDS)


def fuzzed(**kinds: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test of these kinds of input: the same few each time, or others for its share of time."""

    def around(check: Callable[..., None]) -> Callable[..., None]:
        def test(tmp_path_factory: pytest.TempPathFactory) -> None:
            place = tmp_path_factory.mktemp("fuzz")
            end_s = time.monotonic() + _SHARE_S
            rounds = 0
            while not rounds or time.monotonic() < end_s:
                rounds += 1

                def one(**drawn: Any) -> None:
                    check(place, **drawn)

                bounded = settings(
                    max_examples=_MANY if _SHARE_S else _FEW,
                    derandomize=not _SHARE_S,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                )
                bounded(given(**kinds)(one))()

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return around


def units(*kinds: int) -> st.SearchStrategy[bytes]:
    """H.264 units behind their start codes."""
    unit = st.tuples(st.sampled_from(kinds), st.binary(max_size=200))
    return st.lists(unit, max_size=6).map(
        lambda found: b"".join(b"\0\0\1" + bytes([kind]) + data for kind, data in found)
    )


@fuzzed(
    parameters=st.one_of(st.binary(max_size=300), units(0x67)),
    packets=st.lists(st.one_of(st.binary(max_size=300), units(0x67, 0x65, 0x41, 0x01)), max_size=8),
)
def test_h264_slices(place: Path, parameters: bytes, packets: list[bytes]) -> None:
    numbers = H264Numbers(parameters)
    for packet in packets:
        assert numbers.is_gap_before(packet) in (True, False)


@fuzzed(
    said=st.one_of(
        st.binary(max_size=400),
        st.tuples(
            st.sampled_from([b"H", b"F", b"E", b"X", b"P", b"?"]),
            st.integers(0, 2**32 - 1) | st.integers(0, 64),
            st.binary(max_size=200) | st.text(max_size=40).map(lambda t: json.dumps(t).encode()),
        ).map(lambda m: m[0] + m[1].to_bytes(4, "big") + m[2]),
    )
)
def test_the_wire_protocol(place: Path, said: bytes) -> None:
    """Both ends; what is said may end anywhere."""
    for end in (lambda fd: Receiver(fd, 60, 1000).receive(), lambda fd: read_message(fd, 1000)):
        read, write = os.pipe()
        try:
            os.write(write, said)
            os.close(write)
            end(read)
        except ProtocolBroken:
            pass
        finally:
            os.close(read)


@fuzzed(spec=_NAMES)
def test_specs_of_sources(place: Path, spec: str) -> None:
    camera_device(spec)
    for read in (sources_from, clips_from):
        try:
            found = read([str(place) + "/" + spec] if not spec.startswith("gst:") else [spec])
        except StreamError as error:
            assert str(error)
        except ValueError as error:  # of a path that no system takes
            assert "null" in str(error)
        else:
            assert all(isinstance(name, str) for name in found)


@fuzzed(
    text=st.one_of(_NAMES, st.lists(_NAMES, max_size=5).map("\n".join)),
    data=st.none() | st.binary(max_size=60),
)
def test_lists_of_sources(place: Path, text: str, data: bytes | None) -> None:
    file = place / "all.streams"
    file.write_bytes(text.encode("utf-8", "surrogatepass") if data is None else data)
    try:
        sources_from([str(file)])
    except StreamError:
        pass
    except ValueError as error:
        assert "null" in str(error)


@fuzzed(
    texts=st.lists(_NAMES, min_size=1, max_size=3), sources=st.lists(_NAMES, min_size=1, max_size=4)
)
def test_places(place: Path, texts: list[str], sources: list[str]) -> None:
    names = stems(sources)
    assert len({name.casefold() for name in names}) == len(sources)
    assert all("/" not in name and name not in ("", ".", "..") for name in names)
    for text in texts:
        try:
            found = place_of(text)
            assert found.name.count("***") <= 60
            if not found.is_file:
                Address.of(text, "something else", {"http": 80, "mqtt": 1883, "tcp": None})
        except StreamError:
            continue
    addresses = [text for text in texts if "://" in text and "{source}" not in text]
    with suppress(StreamError):
        places_for(addresses, sources)


@fuzzed(
    user=st.text("abc%2", min_size=1, max_size=5),
    password=st.text(min_size=8, max_size=20),
    rest=_WORDS,
)
def test_passwords_are_never_shown(place: Path, user: str, password: str, rest: str) -> None:
    kept = quote(password, safe="")
    for scheme in ("rtsp", "http", "mqtts"):
        shown = without_password(f"{scheme}://{user}:{kept}@camera/{rest}")
        assert kept not in shown.partition("@camera")[0]


@fuzzed(address=_NAMES)
def test_addresses_and_hosts(place: Path, address: str) -> None:
    assert is_known(address, own_names()) in (True, False)
    try:
        host, port = _host_and_port(address)
    except SinkError:
        return
    assert host and 0 <= port <= 65535


@fuzzed(
    before=st.binary(max_size=60),
    status=st.sampled_from([b"RTSP/1.0 302 Moved", b"RTSP/2\t301", b"RTS\rP/1.0 307 x", b""]),
    fields=st.one_of(st.binary(max_size=80), _NAMES.map(lambda t: t.encode("utf-8", "replace"))),
    cuts=st.lists(st.integers(1, 30), max_size=20),
)
def test_answers_of_cameras(
    place: Path, before: bytes, status: bytes, fields: bytes, cuts: list[int]
) -> None:
    """A redirect is seen wherever its words are cut."""
    told, said, seen = _Reply(), b"$" + before + b"\n" + status + b"\r\nLocation:" + fields, False
    for size in [*cuts, len(said)]:
        piece, said = said[:size], said[size:]
        if not seen:
            seen = told.is_redirect(piece)
        else:
            told.add(piece)
    assert seen or not status
    assert told.location is not None and told.whole in (True, False)


@fuzzed(
    data=st.binary(max_size=200),
    magic=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"]),
)
def test_heads_of_pictures(place: Path, data: bytes, magic: bytes) -> None:
    assert decoding_cost(magic + data) >= 0
    with suppress(SourceError):
        picture_head(magic + data)


@fuzzed(text=_TEXT)
def test_what_a_terminal_is_shown(place: Path, text: str) -> None:
    assert printable(text).isprintable()
    shown = plain(text)
    shown.encode()
    assert all(c.isprintable() or c in "\n\t" for c in shown)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_TEXT, below, max_size=3),
    max_leaves=6,
)
_made: list[Bundle] = []


@fuzzed(
    way=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    value=_JSON,
    at=st.integers(0, 5000),
    data=st.binary(max_size=30),
    network=st.booleans(),
)
def test_manifests_and_networks(
    place: Path, way: list[int], value: Any, at: int, data: bytes, network: bool
) -> None:
    """A value anywhere in a manifest, or bytes anywhere in a network, is another."""
    if not _made or not _made[0].path.exists():
        _made[:] = [tiny.bundle(place / "tiny")]
    made = _made[0]
    if network:
        content = bytearray((made.path / "fusion.onnx").read_bytes())
        at %= len(content)
        content[at : at + len(data)] = data
        file = place / "other.onnx"
        file.write_bytes(content)
        try:
            screen(file)
        except EnginesError as error:
            assert str(error).isprintable()
        return
    file = made.path / "manifest.json"
    before = file.read_text("utf-8")
    document = json.loads(before)
    here: Any = document
    for number in way[:-1]:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        below = here[keys[number % len(keys)]] if keys else None
        if not isinstance(below, dict | list) or not below:
            break
        here = below
    keys = list(here) if isinstance(here, dict) else list(range(len(here)))
    here[keys[way[-1] % len(keys)]] = value
    try:
        file.write_bytes(json.dumps(document).encode())
        load_bundle(made.path)
    except EnginesError as error:
        assert plain(str(error)).count("\n") <= 1
    finally:
        file.write_text(before, "utf-8")


@fuzzed(
    at=st.integers(0, 100_000),
    data=st.binary(min_size=1, max_size=40),
    value=st.integers(-300, 300),
)
def test_files_of_words(place: Path, at: int, data: bytes, value: int) -> None:
    from ferstream.training.datasets.judged import LabelsWrong, _judgements, _table

    from .training.judged_layout import WORDS, judgements

    file = place / "words.npz"
    columns = judgements(6)
    name = list(columns)[at % len(columns)]
    columns[name].flat[at % columns[name].size] = np.array(value).astype(columns[name].dtype)
    np.savez(file, word_names=np.array(WORDS), **columns)
    content = bytearray(file.read_bytes())
    if value % 2:
        at %= len(content)
        content[at : at + len(data)] = data
        file.write_bytes(content)
    try:
        found = _judgements(_table(file), file)
    except LabelsWrong:
        return
    assert len(found) == len(found.words)


def test_what_is_bounded() -> None:
    """The share of time above counts the tests here."""
    tests = [
        name for name in globals() if name.startswith("test_") and name != "test_what_is_bounded"
    ]
    assert len(tests) == 12
    assert manifest._MOST_DEPTH < 100
