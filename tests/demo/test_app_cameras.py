"""The camera tab with a real RTSP camera: only named hosts, no password anywhere, outages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ferstream.demo.app import Settings, page
from ferstream.stream.recognize import Recognizer
from tests.needs import needs
from tests.rtsp_camera import Camera, require_rtsp

from .browser import Visit, served, until, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Launch = Callable[..., Browser]

needs("gradio")

PASSWORD = "s3cret-pass"


@pytest.fixture(scope="module")
def camera() -> Iterator[Camera]:
    require_rtsp()
    with Camera(size=(640, 480), user="eye", password=PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def url(recognizer: Recognizer) -> Iterator[str]:
    with served(page(recognizer, Settings(camera_hosts=("127.0.0.1",)))) as address:
        yield address


@pytest.fixture
def seen(launch: Launch, url: str) -> Iterator[Visit]:
    """The camera tab, opened."""
    found = visit(launch(), url)
    found.page.get_by_role("tab", name="Camera").click()
    yield found
    found.page.context.close()


def watch(found: Page, address: str) -> None:
    found.get_by_label("Address").fill(address)
    found.locator("ferstream-camera").get_by_label("Everyone in view").check()
    found.get_by_role("button", name="Watch").click()


def part(found: Page, selector: str) -> Any:
    return found.locator(f"ferstream-camera {selector}")


def test_camera_is_watched_through_an_outage(seen: Visit, camera: Camera) -> None:
    found = seen.page
    told: list[str] = []
    found.on(
        "websocket",
        lambda socket: socket.on(
            "framereceived",
            lambda data: told.append(data if isinstance(data, str) else str(data)),
        ),
    )
    watch(found, camera.url_with_password)
    words = part(found, ".words ol.bars li .name")
    until(found, lambda: words.count() >= 10, what="ten words")
    until(found, lambda: (part(found, ".rate").inner_text() or "0") not in "–0", what="a rate")
    camera.kill()
    hint = part(found, ".hint")
    until(found, lambda: "camera" in hint.inner_text(), what="word of the outage")
    camera.start()
    until(found, lambda: not hint.is_visible() and words.count() >= 10, what="the return")
    states = [json.loads(text) for text in told if text.startswith("{")]
    assert {"connecting", "live", "lost"} <= {one["state"] for one in states}
    assert all(one["source"] == camera.url for one in states)
    assert PASSWORD not in "".join(told)
    found.get_by_role("button", name="Stop watching").click()
    assert found.get_by_role("button", name="Watch").is_visible()
    assert seen.elsewhere == [] and seen.complaints == []


def test_blurred_camera_shows_no_face(seen: Visit, camera: Camera) -> None:
    """Sharpness of the face in the pictures that come; the server blurs them."""
    found = seen.page
    detail = {}
    for blur in (False, True):
        if blur:
            part(found, ".switch:has([name=blur])").click()
        else:
            watch(found, camera.url_with_password)
        until(found, lambda: part(found, ".face").count() == 1, what="a face")
        found.wait_for_timeout(300)
        detail[blur] = until(found, lambda: found.evaluate(_DETAIL), what="a picture")
    assert detail[True] < 0.6 * detail[False]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("rtsp://192.0.2.1/stream", "may not open cameras at 192.0.2.1:554"),
        ("rtsp://eye:s3cret-pass@localhost.example/", "may not open"),
        ("http://127.0.0.1/", "begins with rtsp://"),
    ],
)
def test_other_addresses_are_refused(seen: Visit, address: str, said: str) -> None:
    watch(seen.page, address)
    fault = part(seen.page, ".fault")
    until(seen.page, lambda: said in fault.inner_text(), what="the refusal")
    assert PASSWORD not in fault.inner_text()


def test_wrong_password_is_said_in_words(seen: Visit, camera: Camera) -> None:
    watch(seen.page, camera.url_with_password.replace(PASSWORD, "other-pass"))
    fault = part(seen.page, ".fault")
    until(seen.page, lambda: "password" in fault.inner_text(), what="the camera's refusal")
    assert "other-pass" not in fault.inner_text()


def test_nobody_there_is_said_in_words(seen: Visit) -> None:
    watch(seen.page, "rtsp://127.0.0.1:9/stream")
    fault = part(seen.page, ".fault")
    until(seen.page, lambda: "refuses the connection" in fault.inner_text(), what="the refusal")


_DETAIL = """async () => {
  const root = document.querySelector('ferstream-camera').shadowRoot;
  const [image, box] = [root.querySelector('.picture'), root.querySelector('.face')];
  const canvas = document.createElement('canvas');
  // Pictures follow each other; one may not be there yet.
  const still = await createImageBitmap(image).catch(() => null);
  if (!still || !box) return 0;
  [canvas.width, canvas.height] = [still.width, still.height];
  const brush = canvas.getContext('2d');
  brush.drawImage(still, 0, 0);
  const at = (name, side) => Math.round((parseFloat(box.style[name]) / 100) * side);
  const [w, h] = [at('width', canvas.width) >> 1, at('height', canvas.height) >> 1];
  const left = at('left', canvas.width) + (w >> 1);
  const { data } = brush.getImageData(left, at('top', canvas.height) + (h >> 1), w, h);
  let sum = 0;
  for (let i = 4; i < data.length; i += 4) sum += Math.abs(data[i] - data[i - 4]);
  return sum / (data.length / 4);
}"""
