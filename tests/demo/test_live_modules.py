"""The panel's pure functions, run in the browser that they are written for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ferstream.engines.labels import BUILT_IN
from ferstream.stream.recognize import Recognizer
from ferstream.stream.serve.live import live_json
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.csv import CsvSink
from ferstream.stream.sinks.rows import FrameRows, header, line
from ferstream.stream.sources.sample import SampleSource

from .browser import served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("starlette")


@pytest.fixture(scope="module")
def page(launch: Callable[..., Browser]) -> Iterator[Page]:
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse
    from starlette.routing import Mount, Route

    from ferstream.demo.live.live import live_assets

    blank = Route("/", lambda request: HTMLResponse("<!doctype html><title>blank</title>"))
    with served(Starlette(routes=[blank, Mount("/live", live_assets())])) as url:
        opened = launch().new_page()
        opened.goto(url)
        yield opened
        opened.close()


def run(page: Page, module: str, script: str) -> Any:
    """The value of a function's body that has the module's names."""
    return page.evaluate(
        f"""async () => {{
            const all = await import("/live/{module}.js");
            return new Function(...Object.keys(all), {script!r})(...Object.values(all));
        }}"""
    )


def test_rate_counts_the_window(page: Page) -> None:
    script = "const r = new Rate(1000); for (let t = 0; t <= 3000; t += 50) r.add(t);"
    assert run(page, "meter", f"{script} return r.hz(3000)") == pytest.approx(20)
    assert run(page, "meter", f"{script} return r.hz(9000)") == 0


def test_pace_follows_the_network(page: Page) -> None:
    learn = "for (let i = 0; i < 80; i += 1) p.answered(t += 100, %d, 20, 0);"
    slow = "const p = new Pace(); let t = 0;" + learn % 900
    assert run(page, "meter", f"{slow} return p.widthPx") == 320
    assert run(page, "meter", f"{slow} {learn % 40} return p.widthPx") == 640
    # A slow server is no slow network.
    patient = "const p = new Pace(); let t = 0; for (let i = 0; i < 80; i += 1)"
    assert (
        run(page, "meter", f"{patient} p.answered(t += 100, 910, 900, 0); return p.widthPx") == 640
    )
    drops = "const p = new Pace(); p.answered(1000, 40, 20, 3);"
    assert run(page, "meter", f"{drops} return [p.inFlight(1100), p.inFlight(7000)]") == [1, 2]


def test_words_keep_their_order_until_clearly_beaten(page: Page) -> None:
    script = """
        const top = (a, b) => [{word: "a", p: a}, {word: "b", p: b}];
        const r = new Ranking(2, 0.01);
        const order = () => r.best().map(({word}) => word).join("");
        const seen = [];
        r.update(top(0.10, 0.09), 0); seen.push(order());
        r.update(top(0.10, 0.103), 0.5); seen.push(order());
        r.update(top(0.10, 0.2), 1.0); seen.push(order());
        r.update(top(0.10, 0.097), 1.1); r.update(top(0.10, 0.097), 9); seen.push(order());
        return seen;
    """
    assert run(page, "ranking", script) == ["ab", "ab", "ba", "ab"]


def test_words_keep_their_places_while_near_ties_come_and_go(page: Page) -> None:
    script = """
        const family = {a: "joy", b: "love", c: "joy", d: "love", e: "fear"};
        const words = (...p) => ["a", "b", "c", "d", "e"].map((word, at) => ({word, p: p[at]}))
            .filter((one) => one.p).sort((x, y) => y.p - x.p);
        const places = new Arrangement(family, 1.5);
        const seen = [];
        const show = (lead, at, ...p) =>
            seen.push(places.show(words(...p), lead, at).map((one) => one.word + one.p).join(" "));
        show("a", 0, 10, 9, 8.6, 8);        // c is tied to a, d to b
        show("a", 0.1, 10, 9, 8.4, 8.5);    // no longer, and d beats c: all stay
        show("a", 0.2, 10, 9, 0, 8.5, 9.5); // c has gone, e has come
        show("a", 1.6, 10, 9, 0, 8.5, 9.5); // put in order
        show("e", 1.7, 9, 8, 0, 7, 20);     // another one leads
        return seen;
    """
    assert run(page, "ranking", script) == [
        "a10 c8.6 b9 d8",
        "a10 c8.4 b9 d8.5",
        "a10 b9 d8.5 e9.5",
        "a10 e9.5 b9 d8.5",
        "e20 a9 b8 d7",
    ]


def test_flash_does_not_lead_and_the_unnamed_fade(page: Page) -> None:
    script = """
        const r = new Ranking(10);
        r.update([{word: "calm", p: 0.2}], 0);
        r.update([{word: "flash", p: 0.4}], 0.05);
        const first = r.best()[0].word;
        for (let i = 1; i < 60; i += 1) r.update([{word: "flash", p: 0.4}], 0.05 + i * 0.1);
        return [first, r.best().map(({word}) => word)];
    """
    assert run(page, "ranking", script) == ["calm", ["flash"]]


def test_near_ties_stand_together_by_family(page: Page) -> None:
    script = """
        const words = [["a", .5], ["x", .48], ["b", .46], ["c", .3], ["y", .29]];
        const family = {a: "joy", b: "joy", c: "joy", x: "love", y: "love"};
        const order = clustered(words.map(([word, p]) => ({word, p})), family);
        return order.map(({word, joined}) => (joined ? "+" : "") + word).join(" ");
    """
    assert run(page, "ranking", script) == "a +b x c y"


def test_the_plane_has_pleasant_right_and_agitated_up(page: Page) -> None:
    script = """
        const way = new Way(2);
        for (const t of [0, 1, 2.5]) way.add(t, 0.1 * t, 0);
        const at = (valence, arousal) => placeIn(100, {valence, arousal});
        return [way.list.length, at(0, 0), at(1, 1), at(-2, -1), signed(-0.2), signed(0.59)];
    """
    found = run(page, "plane", script)
    assert found == [2, [50, 50], [100, 0], [0, 100], "−0.20", "+0.59"]


def test_a_still_face_says_how_surely_it_is_neutral(page: Page) -> None:
    script = """
        const face = {id: 1, box: [0, 0, 9, 9], top: [{word: "joy", p: 0.02}], valence: 0.1,
            arousal: -0.2, basic8: {neutral: 0.997, happiness: 0.003}, families: {joy: 0.003},
            neutral: 0.997, intensity: 0, uncertain: false, attention: 1, blendshapes: {}};
        const one = new Person(1, {joy: "joy"});
        one.update(face, 0);
        const {valence, ...older} = face;
        const other = new Person(2, {joy: "joy"});
        other.update(older, 0);
        const ways = [one, other].map(({way}) => way.list.length);
        return [one.label, one.neutral, one.families.joy, ...ways];
    """
    assert run(page, "people", script) == ["neutral", 0.997, 0.003, 1, 0]


def test_sides_of_a_face_are_one_movement(page: Page) -> None:
    shapes = "{mouthSmileLeft: 0.7, mouthSmileRight: 0.5, eyeLookUpLeft: 0.9, jawOpen: 0.2}"
    assert run(page, "names", f"return movements({shapes})") == {
        "Mouth corners up": 0.7,
        "Jaw open": 0.2,
    }


def test_every_movement_has_plain_words(page: Page) -> None:
    from ferstream.engines.bundle import load_bundle

    for name in load_bundle("default").manifest.head("au").labels:
        if not name.startswith(("_", "eyeLook")):
            words = run(page, "names", f"return movementName('{name}')")
            assert words[0].isupper() and words not in name, name


def test_strip_leaves_gaps_and_forgets(page: Page) -> None:
    script = """
        const m = new Moments(10);
        for (const t of [0, 5, 5.1, 9, 12]) m.add(t, 0.1, "joy");
        return [m.list.length, m.columns(12).map(({x0, x1}) => Math.round(100 * (x1 - x0)))];
    """
    # The one of time 0 is forgotten; none reaches back over half a second (5 %).
    assert run(page, "strip", script) == [4, [1, 1, 5, 5]]


def test_covers_outlast_a_missed_face_and_come_before_it_is_found(page: Page) -> None:
    script = """
        const at = (id, x, timeMs) => ({id, box: [x, 1, 9, 9], timeMs});
        const seen = [at(1, 1, 0), at(1, 2, 900), at(2, 50, 1400)];
        return [800, 2000, 5000].map((at) => placesAt(seen, at).map(([x]) => x));
    """
    assert run(page, "stage", script) == [[2, 50], [2, 50], []]
    assert run(page, "stage", "return grown([0, 40, 20, 20], 2, [100, 100])") == [0, 30, 30, 40]


def test_picked_person_stays_through_a_short_absence(page: Page) -> None:
    script = """
        const face = (id, w) => ({id, box: [0, 0, w, w], top: [{word: "joy", p: 0.5}],
            basic8: {neutral: 0.1, happiness: 0.9}, families: {joy: 1}, neutral: 0.1,
            intensity: 0.5, uncertain: false, attention: 0.1, blendshapes: {}});
        const p = new People({joy: "joy"});
        const seen = [];
        p.update([face(1, 50), face(2, 90)], 0); seen.push(p.picked);
        p.pick(1); p.update([face(2, 90)], 1); seen.push(p.picked);
        p.update([face(2, 90)], 5); seen.push(p.picked);
        return seen;
    """
    assert run(page, "people", script) == [2, 1, 2]


def test_errors_in_words(page: Page) -> None:
    full = '{code: "full", message: "there are 2 live visitors already: try again in a moment"}'
    words = run(page, "link", f"return serverFault({full})")
    assert (
        words == "The server is full (there are 2 live visitors already). Trying again by itself."
    )
    for name in ("NotAllowedError", "NotFoundError", "NotReadableError", "Insecure", "Odd"):
        assert run(page, "camera", f"return fault({{name: '{name}'}})").endswith(".")


def test_waits_grow_to_a_ceiling(page: Page) -> None:
    waits = run(page, "link", "return [0, 1, 2, 9].map((tries) => waitMs(tries, 0.5))")
    assert waits == [500, 1000, 2000, 8000]


def test_files_are_told_apart_and_kept(page: Page) -> None:
    answer = page.request.get(f"{page.url}live/live.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    again = page.request.get(
        f"{page.url}live/live.js", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status == 304
    for name in ("live.py", "__init__.py", "..%2fapp.py", "none.js"):
        assert page.request.get(f"{page.url}live/{name}").status == 404
    families = page.request.get(f"{page.url}live/words.json").json()["family_of"]
    assert families["jubilation"] == "joy" and families["neutral"] == ""


def test_live_session_is_saved_as_a_clip_is(
    page: Page, recognizer: Recognizer, tmp_path: Path
) -> None:
    """Both forms hold, character by character, what a clip's files would."""
    live, found = [], []
    for index, frame in enumerate(islice(SampleSource().frames(), 4)):
        result = replace(recognizer.process(frame), source="webcam", frame=index, time_s=index / 8)
        assert len(result.faces) == 1
        found.append(replace(result, faces=[]) if index == 2 else result)
        live.append({**live_json(found[-1], (640, 480), 20), "server_ms": 9})
    about = {"bundle": {"name": "one", "version": "2"}, "purpose": 'a "test"'}
    info = SinkInfo("webcam", (640, 480), None, True, about)
    sink = CsvSink(tmp_path / "rows.csv")
    sink.open(info)
    for result in found:
        sink.write(frame, result)
    sink.close()
    rows = [row for result in found for row in FrameRows().make(result)]
    script = f"""
        const about = {{schema: 2, facts: {json.dumps(about)}}};
        const record = new Record({{columns: {json.dumps(sink.columns(BUILT_IN))}, about}});
        record.begin("webcam");
        {json.dumps(live)}.forEach((row, at) => record.add(row, 5000 + 125 * at));
        return [record.jsonl(), record.csv(), record.seconds];
    """
    jsonl, table, seconds = run(page, "record", script)
    assert table == (tmp_path / "rows.csv").read_text("utf-8") and seconds == 0.375
    assert [json.loads(text) for text in jsonl.splitlines()] == [
        json.loads(line(row)) for row in (header(info), *rows)
    ]


def test_saved_people_keep_apart_over_connections_and_the_oldest_rows_go(page: Page) -> None:
    script = """
        const record = new Record({columns: ["face_id"], about: {schema: 2, facts: {}}}, 300);
        const face = (id) => ({id, top: [], frame_emotions: {top: []}});
        const row = (id) => ({schema: 2, faces: [face(id)], size: [1, 1]});
        record.begin("webcam");
        record.add(row(3), 0);
        record.join();
        record.add(row(1), 100);
        const first = record.csv();
        for (let at = 2; at < 9; at += 1) record.add(row(2), 100 * at);
        const kept = record.csv();
        record.begin("webcam");
        record.add(row(1), 0);
        return [first, kept.split("\\n").length, record.csv()];
    """
    first, kept, anew = run(page, "record", script)
    assert first.split() == ["face_id", "3", "4"]
    assert 3 <= kept <= 6, "a bound on what is kept"
    assert anew.split() == ["face_id", "1"]
