"""A real RTSP camera through the whole pipeline, and everything that can happen to a camera.

Each test watches one camera through PyAV and through GStreamer at once. FERSTREAM_LONG=1 in the
environment makes it twenty outages instead of three.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources import open_live, open_source
from ferstream.stream.sources.base import State
from ferstream.stream.sources.gst import has_gst
from tests.relay import Fault, Relay, garbled, half, is_key, lost, shifted, shortened
from tests.rtsp_camera import Camera, cameras, require_rtsp
from tests.watch import STRANGE, Seen, Watch, held, watch_both

BACK_WITHIN_S = 45.0
"""A stall of 3 s, a reconnection and pictures again; a sixth of it where nothing else runs."""
LONG = os.environ.get("FERSTREAM_LONG", "") not in ("", "0")
OUTAGES = 20 if LONG else 3
CAPTURES = ("pyav", "gstreamer")

pytestmark = pytest.mark.usefixtures("_parts")


@pytest.fixture(scope="module")
def _parts() -> None:
    require_rtsp()
    if not has_gst():
        pytest.skip("GStreamer's bindings do not load in this Python")


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    with Recognizer() as one:
        one.process_many([next(open_source("sample").frames())])  # the first one takes long
        one.reset()
        yield one


def assert_nothing_was_invented(watch: Watch) -> None:
    """Every frame is one that the camera captured, in order; the one person keeps one id."""
    for key, seen in watch.seen.items():
        assert seen, f"{key} saw nothing"
        strange = [(one.index, one.strangeness) for one in seen if one.strangeness > STRANGE]
        assert not strange, f"{key}: frames that nobody captured: {strange[:5]}"
        for before, after in pairwise(seen):
            assert after.time_s > before.time_s, f"{key}: time turns back at {after.index}"
            assert after.index > before.index
        nobody = [one.index for one in seen if one.scene == "empty" and one.ids]
        assert not nobody, f"{key}: faces where nobody is, at {nobody[:5]}"
        ids = {identity for one in seen for identity in one.ids}
        assert len(ids) <= 1, f"{key}: ids {sorted(ids)} of one person"


_NEXT = {
    "connecting": {"live", "lost", "ended"},
    "live": {"stalled", "lost", "ended"},
    "stalled": {"live", "lost", "ended"},
    "lost": {"connecting", "lost", "ended"},
    "ended": set[str](),
}


def assert_events_in_order(watch: Watch) -> None:
    for key, events in watch.events.items():
        states = watch.states(key)
        assert states[0] == "connecting" and states[-1] == "ended", states
        for before, after in pairwise(states):
            assert after in _NEXT[before], f"{key}: {after} after {before}"
        times = [event.time_s for event in events]
        assert times == sorted(times)


def test_killed_and_started_again_at_random_moments(recognizer: Recognizer) -> None:
    seed = random.randrange(1_000_000)
    print(f"random seed {seed}")
    chance = random.Random(seed)
    with Camera(rate_hz=20, gop=20) as camera:
        camera.prepare(scene="empty")
        with watch_both(camera, recognizer) as watch:
            watch.all_see(camera.epoch_s)
            for outage in range(OUTAGES):
                time.sleep(chance.uniform(0.0, 0.6))
                camera.kill()
                # Who comes back to an empty room must not bring the last one's face along.
                camera.show("empty" if outage % 2 == 0 else "face")
                time.sleep(chance.uniform(0.0, 8.0 if LONG else 1.0))
                camera.start()
                took_s = watch.all_see(camera.epoch_s)
                assert max(took_s.values()) < BACK_WITHIN_S, f"outage {outage}: {took_s}"
    assert_nothing_was_invented(watch)
    assert_events_in_order(watch)
    for key, seen in watch.seen.items():
        assert watch.states(key).count("live") == 1 + OUTAGES
        assert sum(one.restart for one in seen) == OUTAGES
        assert {one.scene for one in seen} == {"face", "empty"}
        assert watch.summaries[key].failure is None


def test_frozen(recognizer: Recognizer) -> None:
    with Camera(rate_hz=20, gop=20) as camera, watch_both(camera, recognizer, stall_s=0.8) as watch:
        watch.all_see(camera.epoch_s)
        frozen_s = time.monotonic()
        camera.freeze()
        watch.until(lambda: watch.all_are(State.lost, frozen_s))
        told = [next(e for e in watch.events[key] if e.time_s >= frozen_s) for key in CAPTURES]
        time.sleep(1.0)
        camera.thaw()
        took_s = watch.all_see(time.monotonic())
        assert max(took_s.values()) < BACK_WITHIN_S, took_s
    assert_nothing_was_invented(watch)
    assert_events_in_order(watch)
    for event in told:
        assert event.state is State.stalled and event.code == "TIMEOUT", event
        assert 0.5 < event.time_s - frozen_s < 45


def test_a_hiccup_is_no_outage(recognizer: Recognizer) -> None:
    with Camera(rate_hz=20, gop=20) as camera, watch_both(camera, recognizer, stall_s=3.0) as watch:
        watch.all_see(camera.epoch_s)
        camera.freeze()
        time.sleep(0.7)
        camera.thaw()
        watch.all_see(time.monotonic())
    assert_nothing_was_invented(watch)
    for key in CAPTURES:
        assert watch.states(key) == ["connecting", "live", "ended"]


def test_another_resolution(recognizer: Recognizer) -> None:
    with Camera((640, 480), rate_hz=20, gop=20) as camera:
        for size in ((802, 600), (480, 360)):
            camera.prepare(size)
        with watch_both(camera, recognizer) as watch:
            watch.all_see(camera.epoch_s)
            camera.set_size((802, 600))
            watch.until(lambda: all(seen[-1].size == (802, 600) for seen in watch.seen.values()))
            camera.kill()
            camera.set_size((480, 360))
            camera.start()
            watch.all_see(camera.epoch_s)
    assert_nothing_was_invented(watch)
    for key, seen in watch.seen.items():
        sizes = [(640, 480), (802, 600), (480, 360)]
        assert list(dict.fromkeys(one.size for one in seen)) == sizes
        changes = [b for a, b in pairwise(seen) if a.size != b.size]
        assert all(one.restart for one in changes)
        # Within one connection another size is no outage.
        assert watch.states(key).count("live") == 2
        assert any(one.ids for one in seen if one.size == (802, 600))


@pytest.mark.parametrize("digest", [True, False])
def test_a_wrong_password(recognizer: Recognizer, digest: bool) -> None:
    right, wrong = "r1ght-one", "wr0ng/0ne"
    with Camera(rate_hz=20, gop=20, user="ann", password=right, digest=digest) as camera:
        quoted = wrong.replace("/", "%2F")
        url = camera.url.replace("://", f"://ann:{quoted}@")
        with watch_both(camera, recognizer, url) as watch:
            watch.until(lambda: watch.all_are(State.lost, 0))
            names = " ".join(thread.name for thread in threading.enumerate())
            camera.set_password("ann", wrong)
            took_s = watch.all_see(time.monotonic())
            assert max(took_s.values()) < BACK_WITHIN_S, took_s
            changed_s = time.monotonic()
            camera.set_password("ann", right)
            camera.hang_up()
            watch.until(
                lambda: all(
                    any(e.code == "AUTH_FAILED" and e.time_s > changed_s for e in watch.events[key])
                    for key in CAPTURES
                )
            )
    for key in CAPTURES:
        first = next(event for event in watch.events[key] if event.state is State.lost)
        assert first.code == "AUTH_FAILED" and "password" in first.message
        assert first.source.startswith("rtsp://ann:***@127.0.0.1:")
        told = f"{names} {watch.events[key]} {watch.summaries[key]} {watch.seen[key][:1]}"
        for secret in (wrong, quoted, right):
            assert secret not in told
    assert_events_in_order(watch)


def test_joined_in_the_middle_of_a_group_of_pictures(recognizer: Recognizer) -> None:
    with Camera(rate_hz=20, gop=40) as camera:
        time.sleep(0.3)
        with watch_both(camera, recognizer) as watch:
            took_s = watch.all_see(camera.epoch_s)
    assert_nothing_was_invented(watch)
    assert max(took_s.values()) < 2.0 + BACK_WITHIN_S
    for key in CAPTURES:
        # Waiting for a key frame is neither a stall nor a loss, though it takes longer than one.
        assert watch.states(key) == ["connecting", "live", "ended"]
        # From the key frame on, 2 s after the first; a busy machine leaves out more.
        assert (watch.seen[key][0].captured_s or 0) > camera.epoch_s + 1.98


def test_a_connection_cut_in_the_middle_of_a_packet(recognizer: Recognizer) -> None:
    with (
        Camera(rate_hz=20, gop=20) as camera,
        Relay(camera.port) as relay,
        watch_both(camera, recognizer, relay.url) as watch,
    ):
        watch.all_see(camera.epoch_s)
        for only in (is_key, lambda packet: not is_key(packet)):
            relay.spoil(half, packets=2, only=only)
            watch.until(lambda: not relay.spoiling)
            cut_s = time.monotonic()
            took_s = watch.all_see(cut_s + 0.3)
            assert max(took_s.values()) < BACK_WITHIN_S, took_s
    assert_nothing_was_invented(watch)
    assert_events_in_order(watch)
    assert sum("lost" in watch.states(key) for key in CAPTURES) >= 1


def _show_empty_over_a_bad_line(
    recognizer: Recognizer, capture: str, fault: Fault, packets: int
) -> Watch:
    """Parts of key frames do not arrive just as the face leaves: the old one must not stay."""
    with Camera(rate_hz=20, gop=10) as camera, Relay(camera.port) as relay:
        camera.prepare(scene="empty")
        source = open_live(relay.url, capture=capture, stall_s=3)
        with Watch({capture: source}, {capture: camera}, recognizer) as watch:
            watch.all_see(camera.epoch_s)
            camera.show("empty")
            relay.spoil(fault, packets, is_key)
            watch.until(lambda: not relay.spoiling)
            took_s = watch.until(lambda: watch.seen[capture][-1].scene == "empty")
            assert took_s < BACK_WITHIN_S
            watch.until(lambda: all(_is_empty(one) for one in watch.seen[capture][-5:]))
    return watch


def _is_empty(seen: Seen) -> bool:
    return seen.scene == "empty" and seen.strangeness < STRANGE


@pytest.mark.parametrize("capture", CAPTURES)
def test_bytes_missing_in_a_packet(recognizer: Recognizer, capture: str) -> None:
    watch = _show_empty_over_a_bad_line(recognizer, capture, shortened, 1)
    assert_nothing_was_invented(watch)
    assert_events_in_order(watch)


@pytest.mark.parametrize(("capture", "packets"), [("gstreamer", 5), ("pyav", 5)])
def test_packets_that_do_not_arrive(recognizer: Recognizer, capture: str, packets: int) -> None:
    """PyAV is not told of gaps within a picture, only of pictures that are missing."""
    watch = _show_empty_over_a_bad_line(recognizer, capture, lost, packets)
    assert_nothing_was_invented(watch)


@pytest.mark.parametrize("capture", CAPTURES)
def test_noise_in_packets(recognizer: Recognizer, capture: str) -> None:
    """A decoder cannot know each wrong bit; the pipeline goes on, and soon shows what is there."""
    watch = _show_empty_over_a_bad_line(recognizer, capture, garbled, 3)
    assert_events_in_order(watch)
    assert not watch.seen[capture][-1].ids


def test_times_of_the_stream_that_jump(recognizer: Recognizer) -> None:
    with (
        Camera(rate_hz=20, gop=20) as camera,
        Relay(camera.port) as relay,
        watch_both(camera, recognizer, relay.url, stall_s=3) as watch,
    ):
        watch.all_see(camera.epoch_s)
        for by_s in (-3600.0, 40.0, 3600.0):
            relay.spoil(shifted(by_s), packets=60)
            watch.until(lambda: not relay.spoiling)
            took_s = watch.all_see(time.monotonic())
            assert max(took_s.values()) < BACK_WITHIN_S, (by_s, took_s)
    assert_nothing_was_invented(watch)
    for seen in watch.seen.values():
        # Nothing of the jumps, the least of which is 40 s; a busy machine may be late.
        assert all(0 <= one.at_s - one.time_s < 30.0 for one in seen)


def test_two_cameras_of_which_one_is_away_from_the_start(recognizer: Recognizer) -> None:
    with cameras(2, rate_hz=20, gop=20) as (here, away):
        away.kill()
        sources = {
            "here": open_live(here.url, stall_s=1),
            "away": open_live(away.url, stall_s=1),
        }
        with Watch(sources, {"here": here, "away": away}, recognizer) as watch:
            watch.until(lambda: len(watch.seen["here"]) > 20)
            assert "lost" in watch.states("away")
            away.start()
            assert watch.all_see(away.epoch_s)["away"] < BACK_WITHIN_S
    assert_nothing_was_invented(watch)
    assert not watch.seen["away"][0].restart


def test_outages_leave_nothing_behind(recognizer: Recognizer) -> None:
    """Threads, file handles and memory after many outages are what they were after the first."""
    with (
        Camera((320, 240), rate_hz=20, gop=10) as camera,
        watch_both(camera, recognizer, stall_s=0.5) as watch,
    ):
        for outage in range(40 if LONG else 7):
            since_s = time.monotonic()
            watch.all_see(since_s)
            if outage == 2:
                first = held()
            (camera.freeze if outage % 3 == 2 else camera.hang_up)()
            watch.until(lambda: watch.all_are(State.lost, since_s))  # noqa: B023
            camera.thaw()
        watch.all_see(time.monotonic())
        # The connection before may still be closing; what leaks would stay.
        watch.until(lambda: held().threads <= first.threads + 2)
        watch.until(lambda: held().files <= first.files + 2)
        assert held().memory_mb <= first.memory_mb + 20 + outage
    assert not [thread.name for thread in threading.enumerate() if "/film" in thread.name]
