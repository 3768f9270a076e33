"""Clips of visitors over HTTP: limits, files, their end. The real page, without a browser."""

from __future__ import annotations

import json
import re
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from ferstream.demo.app import Settings, page
from ferstream.demo.clip import harmless
from ferstream.stream.recognize import Recognizer
from ferstream.stream.serve.guard import Limits
from tests import media
from tests.needs import needs
from tests.stream.footage import back_behind_a_hand

from .browser import served

httpx = pytest.importorskip("httpx")
needs("gradio")


LIMITS = Limits(upload_bytes=3_000_000, clip_duration_s=4.0)


@pytest.fixture(scope="module")
def client(recognizer: Recognizer) -> Iterator[Any]:
    settings = Settings(limits=LIMITS, purpose="a test")
    with (
        served(page(recognizer, settings)) as url,
        httpx.Client(base_url=url, timeout=60) as found,
    ):
        yield found


def begin(client: Any) -> str:
    """A visit's address."""
    return f"page/visits/{client.post('page/visits').json()['visit']}"


def finished(client: Any, visit: str, timeout_s: float = 60) -> dict[str, Any]:
    """The visit's clip once it is over."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        job: dict[str, Any] = client.get(f"{visit}/clip").json()
        if job["state"] not in ("waiting", "scoring"):
            return job
        time.sleep(0.05)
    raise AssertionError(f"the clip is still {job['state']}")


def send(client: Any, visit: str, name: str, content: bytes, **query: Any) -> Any:
    return client.post(f"{visit}/clip", params={"name": name, **query}, content=content)


def files(client: Any, visit: str) -> str:
    """The address of a visit's clip's files."""
    return f"{visit}/clips/{client.get(f'{visit}/clip').json()['clip']}"


@pytest.fixture(scope="module")
def sampled(client: Any) -> str:
    """A visit whose clip is the sample, scored."""
    visit = begin(client)
    assert client.post(f"{visit}/sample").status_code == 202
    assert finished(client, visit)["state"] == "done"
    return visit


@pytest.fixture(scope="module")
def scored(client: Any, sampled: str) -> str:
    """The address of its files."""
    return files(client, sampled)


def test_sample_is_read_as_the_command_line_reads_it(client: Any, scored: str) -> None:
    view = client.get(f"{scored}/view.json").json()
    (face,) = view["faces"]
    assert view["frames"] == 108 and view["duration_s"] == pytest.approx(3.6, abs=0.01)
    assert len(face["t"]) == len(face["moments"]) == face["frames"]
    assert face["t"] == sorted(face["t"])
    first = face["moments"][0]
    assert len(first["w"]) == 10 and len(first["b"]) == 8 and len(first["f"]) == 6
    for before, after in zip(face["bands"], face["bands"][1:], strict=False):
        assert before["to"] <= after["from"] + 1e-6
    assert face["bands"][-1]["to"] == pytest.approx(3.6, abs=0.05)


def test_files_open(client: Any, sampled: str, scored: str, tmp_path: Path) -> None:
    job = client.get(f"{sampled}/clip").json()
    assert set(job["files"]) == {"rows.jsonl", "rows.csv", "subtitles.vtt", "annotated.mp4"}
    lines = client.get(f"{scored}/rows.jsonl").text.splitlines()
    header, rows = json.loads(lines[0]), [json.loads(line) for line in lines[1:]]
    assert header["purpose"] == "a test" and header["source"] == "sample"
    assert len(rows) == 108 and all(row["source"] == "sample" for row in rows)
    table = client.get(f"{scored}/rows.csv").text.splitlines()
    table = [line for line in table if not line.startswith("#")]
    assert table[0].startswith("frame,face_id") and len(table) >= 109
    assert client.get(f"{scored}/subtitles.vtt").text.startswith("WEBVTT")
    video = tmp_path / "annotated.mp4"
    video.write_bytes(client.get(f"{scored}/annotated.mp4").content)
    with av.open(str(video)) as opened:
        assert sum(1 for _ in opened.decode(video=0)) == 108


def test_download_has_the_clips_name_and_video_can_be_sought_in(client: Any, scored: str) -> None:
    answer = client.get(f"{scored}/annotated.mp4", params={"download": ""})
    assert answer.headers["content-disposition"].endswith("sample.annotated.mp4")
    part = client.get(f"{scored}/annotated.mp4", headers={"range": "bytes=100-199"})
    assert part.status_code == 206 and len(part.content) == 100
    assert part.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["upload", "..%2fview.json", "../rows.csv", "nothing"])
def test_no_other_file_is_given(client: Any, scored: str, name: str) -> None:
    assert client.get(f"{scored}/{name}").status_code == 404


def test_video_is_scored_and_blurred(client: Any, tmp_path: Path, clips_dir: Path) -> None:
    clip = (clips_dir / "single_face.mp4").read_bytes()
    pictures = {}
    for blur in (0, 1):
        visit = begin(client)
        assert send(client, visit, "me & you.mp4", clip, blur=blur).status_code == 202
        assert finished(client, visit)["state"] == "done"
        view = client.get(f"{files(client, visit)}/view.json").json()
        assert view["source"] == "me _ you.mp4" and view["blurred"] == bool(blur)
        rows = client.get(f"{files(client, visit)}/rows.jsonl").text.splitlines()
        x, y, w, h = json.loads(rows[31])["faces"][0]["box"]
        video = tmp_path / f"{blur}.mp4"
        video.write_bytes(client.get(f"{files(client, visit)}/annotated.mp4").content)
        with av.open(str(video)) as opened:
            frames = [frame.to_ndarray(format="gray") for frame in opened.decode(video=0)]
        assert len(frames) == view["frames"] == 72
        inside = frames[30][round(y + h / 3) : round(y + h), round(x + w / 4) : round(x + w * 0.75)]
        pictures[blur] = inside.astype(float)
    # What is left of the face are a few smooth patches.
    detail = {blur: abs(picture[1:] - picture[:-1]).mean() for blur, picture in pictures.items()}
    assert detail[1] < 0.6 * detail[0]


def test_all_that_is_told_of_a_clip_has_the_ids_that_its_end_shows(
    client: Any, tmp_path: Path
) -> None:
    clip, count = back_behind_a_hand(tmp_path / "clip.mp4")
    visit = begin(client)
    assert send(client, visit, "clip.mp4", clip.read_bytes()).status_code == 202
    assert finished(client, visit)["state"] == "done"
    at = files(client, visit)
    assert [face["id"] for face in client.get(f"{at}/view.json").json()["faces"]] == [1]
    rows = [json.loads(row) for row in client.get(f"{at}/rows.jsonl").text.splitlines()[1:]]
    assert {face["id"] for row in rows for face in row["faces"]} == {1}
    assert "Face 2" not in client.get(f"{at}/subtitles.vtt").text
    video = tmp_path / "annotated.mp4"
    video.write_bytes(client.get(f"{at}/annotated.mp4").content)
    with av.open(str(video)) as opened:
        assert sum(1 for _ in opened.decode(video=0)) == len(rows) == count


def test_picture_comes_back_as_a_picture(client: Any, tmp_path: Path) -> None:
    visit = begin(client)
    send(client, visit, "photo.png", media.image(tmp_path / "photo.png").read_bytes())
    job = finished(client, visit)
    assert job["files"] == ["rows.jsonl", "rows.csv", "annotated.png"]
    at = files(client, visit)
    view = client.get(f"{at}/view.json").json()
    assert view["frames"] == 1 and view["still"] and view["faces"] == []
    drawn = client.get(f"{at}/annotated.png", params={"download": ""})
    assert drawn.headers["content-type"] == "image/png"
    assert drawn.headers["content-disposition"].endswith("photo.annotated.png")
    picture = cv2.imdecode(np.frombuffer(drawn.content, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(picture, cv2.imread(str(tmp_path / "photo.png")))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("text.mp4", b"this is no video, whatever its name says " * 20, "text.mp4"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "list.m3u8"),
        ("join.txt", b"ffconcat version 1.0\nfile /etc/passwd\n", "join.txt"),
    ],
)
def test_hostile_files_are_refused_in_words(
    client: Any, name: str, content: bytes, said: str
) -> None:
    visit = begin(client)
    assert send(client, visit, name, content).status_code == 202
    job = finished(client, visit)
    assert job["state"] == "failed" and said in job["message"]
    assert "root:" not in job["message"] and "/tmp" not in job["message"]
    assert client.get(f"{files(client, visit)}/view.json").status_code == 404


def test_too_long_a_clip_is_refused(client: Any, tmp_path: Path) -> None:
    visit = begin(client)
    clip = media.video(tmp_path / "long.mp4", 150, rate=30).read_bytes()
    send(client, visit, "long.mp4", clip)
    job = finished(client, visit)
    assert job["state"] == "failed" and "long.mp4" in job["message"]


def test_too_large_an_upload_is_refused_before_it_has_come(client: Any) -> None:
    visit = begin(client)
    answer = send(client, visit, "large.mp4", b"0" * (LIMITS.upload_bytes + 1))
    assert answer.status_code == 413 and "3 MB" in answer.json()["error"]["message"]

    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b"0" * 65536

    answer = client.post(f"{visit}/clip", params={"name": "x"}, content=endless())
    assert answer.status_code == 413
    assert client.get(f"{visit}/clip").json() == {"state": "none"}
    assert send(client, visit, "empty.mp4", b"").status_code == 413


def folders() -> set[Path]:
    import tempfile

    return set(Path(tempfile.gettempdir()).glob("ferstream-page-*/*/*"))


def test_end_of_visit_deletes_everything(client: Any, tmp_path: Path) -> None:
    before = folders()
    visit = begin(client)
    clip = media.video(tmp_path / "clip.mp4", 30).read_bytes()
    send(client, visit, "clip.mp4", clip)
    finished(client, visit)
    (folder,) = folders() - before
    at = files(client, visit)
    names = {path.name for path in folder.iterdir()}
    assert "view.json" in names and "upload" not in names
    assert client.post(f"{visit}/end").status_code == 204
    assert not folder.exists()
    answer = client.get(f"{at}/rows.csv")
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "SESSION_GONE"


def test_visit_that_ends_while_its_clip_is_scored_leaves_nothing(
    client: Any, tmp_path: Path
) -> None:
    before = folders()
    visit = begin(client)
    client.post(f"{visit}/sample")
    while client.get(f"{visit}/clip").json()["frames"] < 5:
        time.sleep(0.01)
    client.post(f"{visit}/end")
    end_s = time.monotonic() + 10
    while folders() - before and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not folders() - before


def test_every_clip_has_addresses_of_its_own(client: Any, tmp_path: Path) -> None:
    """The next takes the place of the last; of one that is gone nothing can be had."""
    before, visit = folders(), begin(client)
    clip = media.video(tmp_path / "clip.mp4", 6).read_bytes()
    seen: list[str] = []
    for name in ("one.mp4", "two.mp4"):
        send(client, visit, name, clip)
        assert finished(client, visit)["name"] == name
        seen.append(files(client, visit))
        assert client.get(f"{seen[-1]}/view.json").json()["source"] == name
    assert client.delete(f"{visit}/clip").status_code == 204
    assert client.get(f"{visit}/clip").json() == {"state": "none"}
    assert seen[0] != seen[1]
    for at in seen:
        for name in ("view.json", "rows.jsonl", "rows.csv", "subtitles.vtt", "annotated.mp4"):
            assert client.get(f"{at}/{name}").status_code == 404
    assert not folders() - before


def test_clip_that_is_deleted_while_it_is_sent_leaves_nothing(client: Any) -> None:
    before, visit = folders(), begin(client)

    def coming() -> Iterator[bytes]:
        yield b"0" * 65536
        end_s = time.monotonic() + 60
        while not folders() - before and time.monotonic() < end_s:
            time.sleep(0.01)
        httpx.delete(f"{client.base_url}{visit}/clip")
        yield b"0" * 65536

    answer = client.post(f"{visit}/clip", params={"name": "x.mp4"}, content=coming())
    assert answer.status_code == 404 and "deleted" in answer.json()["error"]["message"]
    assert client.get(f"{visit}/clip").json() == {"state": "none"}
    assert not folders() - before


def test_many_visitors_get_their_own(client: Any, tmp_path: Path) -> None:
    """Six visitors at once, each with a clip of another length, none mixed up."""
    counts = [6, 9, 12, 15, 18, 21]
    clips = [media.video(tmp_path / f"{n}.mp4", n).read_bytes() for n in counts]
    frames: dict[int, int] = {}

    def one(count: int, clip: bytes) -> None:
        visit = begin(client)
        while send(client, visit, f"{count}.mp4", clip).status_code == 503:
            time.sleep(0.1)  # others are sending
        finished(client, visit)
        frames[count] = client.get(f"{files(client, visit)}/view.json").json()["frames"]

    threads = [threading.Thread(target=one, args=pair) for pair in zip(counts, clips, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert frames == {count: count for count in counts}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "gradio_api/upload"),
        ("POST", "gradio_api/queue/join"),
        ("GET", "gradio_api/file=/etc/passwd"),
        ("GET", "gradio_api/proxy=http://127.0.0.1/"),
        ("GET", "gradio_api/info"),
        ("GET", "docs"),
        ("GET", "page/assets/..%2f..%2fapp.py"),
        ("GET", "page/assets/login.html"),
    ],
)
def test_what_the_page_does_not_use_is_not_there(client: Any, method: str, path: str) -> None:
    assert client.request(method, path).status_code == 404


def test_other_pages_and_other_names_are_kept_out(client: Any) -> None:
    elsewhere = {"origin": "https://elsewhere.example"}
    assert client.post("page/visits", headers=elsewhere).status_code == 403
    assert client.get("", headers={"host": "rebound.example"}).status_code == 421
    policy = client.get("").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'self'" in policy


def test_no_script_but_the_page_s_own(client: Any) -> None:
    """tests/demo/test_app_page.py has a browser hold it, and shows that nothing is missed."""
    page = client.get("", headers={"accept-encoding": "br, gzip"})
    named = re.search(r"script-src ([^;]*)", page.headers["content-security-policy"])
    assert named and "unsafe" not in named[1] and "blob" not in named[1]
    inline = re.findall(r"<script(?![^>]* src=)[^>]*>(.*?)</script>", page.text, re.S)
    wanted = {f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in inline}
    assert inline and set(named[1].split()) == {"'self'", *wanted}
    other = client.get("page/assets/page.js").headers["content-security-policy"]
    assert "script-src 'self';" in other


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\clips\\a.mov", "a.mov"),
        ("<b>\n\x00.mp4", "b_.mp4"),
        ("", "clip"),
        ("Grüße 1.mp4", "Grüße 1.mp4"),
        ("x" * 300, "x" * 80),
    ],
)
def test_names_are_made_harmless(given: str, shown: str) -> None:
    assert harmless(given) == shown
