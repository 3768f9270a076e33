"""The panel's pure functions, run in the browser that they are written for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from .browser import served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("starlette")


@pytest.fixture(scope="module")
def page(launch: Callable[..., Browser]) -> Iterator[Page]:
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse
    from starlette.routing import Mount, Route

    from demo.live.live import live_assets

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
            neutral: 0.997, intensity: 0, uncertain: false, attention: 1, au: {}};
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
    au = "{mouthSmileLeft: 0.7, mouthSmileRight: 0.5, eyeLookUpLeft: 0.9, jawOpen: 0.2}"
    assert run(page, "names", f"return movements({au})") == {
        "Mouth corners up": 0.7,
        "Jaw open": 0.2,
    }


def test_every_movement_has_plain_words(page: Page) -> None:
    from engines.bundle import load_bundle

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
            intensity: 0.5, uncertain: false, attention: 0.1, au: {}});
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
