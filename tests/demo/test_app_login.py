"""The login: nothing of the page without it, its sockets included."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from ferstream.demo.app import Settings, page
from ferstream.stream.recognize import Recognizer
from tests.needs import needs

from .browser import served, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    Launch = Callable[..., Browser]

httpx = pytest.importorskip("httpx")
needs("gradio")

USER, PASSWORD = "guest", "correct horse"


@pytest.fixture(scope="module")
def url(recognizer: Recognizer) -> Iterator[str]:
    settings = Settings(login=(USER, PASSWORD), camera_hosts=("127.0.0.1",))
    with served(page(recognizer, settings)) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    with httpx.Client(base_url=url, timeout=60) as found:
        yield found


def test_form_opens_the_page_in_a_browser(launch: Launch, url: str) -> None:
    seen = visit(launch(), url)
    found = seen.page
    found.get_by_label("Name").fill(USER)
    found.get_by_label("Password").fill("wrong horse")
    found.keyboard.press("Enter")
    found.get_by_text("do not fit").wait_for()
    found.get_by_label("Password").fill(PASSWORD)
    found.get_by_role("button", name="Log in").click()
    found.get_by_role("tab", name="Clip").click()
    found.get_by_role("button", name="Try the sample").wait_for()
    found.get_by_role("link", name="Log out").click()
    found.get_by_role("button", name="Log in").wait_for()
    assert seen.elsewhere == []
    found.context.close()


def log_in(client: Any, user: str = USER, password: str = PASSWORD) -> Any:
    return client.post("login", data={"user": user, "password": password})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "config"),
        ("GET", "live/live.js"),
        ("GET", "page/assets/page.js"),
        ("POST", "page/visits"),
        ("GET", "gradio_api/startup-events"),
    ],
)
def test_nothing_without_it(client: Any, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "LOGIN"


def test_page_leads_to_the_form(client: Any) -> None:
    answer = client.get("")
    assert answer.status_code == 303 and answer.headers["location"] == "login"
    shown = client.get("login")
    policy = shown.headers["content-security-policy"]
    assert "script" not in policy and "unsafe" not in policy and "default-src 'none'" in policy
    style = re.search(r"<style>(.*?)</style>", shown.text, re.S)
    assert style and b64encode(sha256(style[1].encode()).digest()).decode() in policy
    form = shown.text
    assert 'type="password"' in form and "ferstream" in form


@pytest.mark.parametrize("path", ["v1/live", "page/camera"])
def test_sockets_are_closed_too(url: str, path: str) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus) as refusal, connect(url.replace("http", "ws") + path):
        pass
    assert refusal.value.response.status_code == 403


def test_right_password_opens_it_and_logout_closes_it(client: Any, url: str) -> None:
    from websockets.sync.client import connect

    answer = log_in(client)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert PASSWORD not in cookie
    assert "Log out" in client.get("").text
    given = {"Cookie": cookie.partition(";")[0]}
    with connect(url.replace("http", "ws") + "v1/live", additional_headers=given) as socket:
        socket.send('{"top": 5}')
    client.get("logout")
    assert client.get("config").status_code == 401
    assert httpx.get(f"{url}config", headers=given).status_code == 401


@pytest.mark.parametrize(
    ("user", "password"),
    [(USER, "wrong horse"), ("other", PASSWORD), ("", ""), (f"{USER}:", "correct horse")],
)
def test_wrong_ones_do_not_and_cost_time(client: Any, user: str, password: str) -> None:
    begun_s = time.monotonic()
    answer = log_in(client, user, password)
    assert answer.status_code == 401 and "do not fit" in answer.text
    assert time.monotonic() - begun_s >= 0.5
    assert client.get("config").status_code == 401


def test_what_is_typed_is_not_run(client: Any) -> None:
    answer = log_in(client, '"><script>alert(1)</script>', "x")
    assert "<script>alert" not in answer.text


def test_flood_of_a_form_is_not_read(client: Any) -> None:
    answer = client.post("login", content=b"user=" + b"a" * 1_000_000)
    assert answer.status_code == 401


def test_made_up_cookie_is_none(client: Any) -> None:
    for value in ("", "guess", "a" * 5000):
        answer = client.get("config", headers={"Cookie": f"ferstream={value}"})
        assert answer.status_code == 401


def test_guesses_of_one_address_do_not_delay_another(url: str) -> None:
    """Sixty wrong ones at once: who knows the password elsewhere is in before they are through."""

    def guess(_: int) -> int:
        # Without TLS's certificates, whose loading costs more than the guess.
        with httpx.Client(base_url=url, timeout=60, verify=False) as client:
            return int(log_in(client, password="wr0ng").status_code)

    with ThreadPoolExecutor(60) as pool:
        guesses = [pool.submit(guess, n) for n in range(60)]
        elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(base_url=url, timeout=60, transport=elsewhere) as client:
            begun_s = time.monotonic()
            assert log_in(client).status_code == 303
            took_s = time.monotonic() - begun_s
        answers = [guess.result() for guess in guesses]
    assert set(answers) == {401, 429}
    # One after the other, two at a time, the penalties alone would take 24 s.
    assert took_s < 12
