"""Cameras that stamp, number or name their packets oddly are shown all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ferstream.stream.sources.pyav import open_address
from tests import relay
from tests.rtsp_camera import Camera, require_rtsp

_FRAMES = 40


@pytest.fixture(scope="module")
def camera() -> Iterator[Camera]:
    require_rtsp()
    with Camera((320, 240), rate_hz=20, gop=20) as running:
        yield running


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(relay.stopped, id="zero stamps"),
        pytest.param(relay.doubled(), id="doubled stamps"),
        pytest.param(relay.renamed(1000), id="another SSRC"),
        pytest.param(relay.renamed(40), id="another SSRC again and again"),
        pytest.param(relay.swapped(2), id="every second packet late"),
        pytest.param(relay.swapped(10), id="every tenth packet late"),
    ],
)
def test_most_pictures_are_shown(camera: Camera, fault: relay.Fault) -> None:
    """With PyAV, which drops what it takes for damaged or late."""
    with relay.Relay(camera.port) as line:
        source = open_address(line.url, 10, 10)
        frames = source.frames()
        next(frames)
        before = sum(source.drops.values())
        line.spoil(fault, 10**9)
        for _ in range(_FRAMES):
            next(frames)
        source.close()
        assert sum(source.drops.values()) - before < _FRAMES / 2
