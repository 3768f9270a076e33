"""The page as one ASGI app: Gradio's frame, the live socket, clips, cameras, about."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from ferstream.engines.card import card
from ferstream.stream.pipeline import MOST_EVERY, Pipeline
from ferstream.stream.recognize import Recognizer
from ferstream.stream.report import about
from ferstream.stream.sandbox.untrusted import PictureDecoder
from ferstream.stream.serve.guard import Guard, Limits

from .clip import Clips
from .routes import PageRoutes, limits_json
from .session import Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import gradio as gr
    from fastapi import FastAPI
    from starlette.types import ASGIApp


@dataclass(frozen=True)
class Settings:
    """The page's settings, fixed at its start."""

    names: tuple[str, ...] = ()
    """Host names by which it is called, beside addresses, localhost and the machine's own."""
    login: tuple[str, str] | None = None
    """User name and password that open it."""
    camera_hosts: tuple[str, ...] = ()
    """Hosts whose RTSP cameras may be watched; none closes that tab."""
    limits: Limits = field(default_factory=Limits)
    visitors: int = 16
    """Live visitors at once."""
    keep_s: float = 3600.0
    """How long a visit may last."""
    purpose: str = ""
    """Recorded in the headers of what is written."""


def page(recognizer: Recognizer, settings: Settings) -> ASGIApp:
    """The app; it starts and ends its threads with its lifespan. The recogniser stays the caller's.

    Raises ModuleNotFoundError where Gradio or FastAPI are not installed.
    """
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse

    from ferstream.stream.serve.live import live_router

    from .camera import CameraHosts, camera_router
    from .guard import Login, Paths
    from .live.live import live_assets

    facts = dict(about(recognizer))
    if settings.purpose:
        facts["purpose"] = settings.purpose
    pipeline = Pipeline(recognizer, most_live=settings.visitors, most_every=MOST_EVERY)
    decoder = PictureDecoder()
    sessions = Sessions(keep_s=settings.keep_s)
    clips = Clips(pipeline, facts, settings.limits)
    routes = PageRoutes(sessions, clips, settings.limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sessions.start()
        clips.start()
        with pipeline:
            yield
            sessions.close()
            clips.close()
        await asyncio.to_thread(decoder.close)

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(live_router(pipeline, settings.limits, decoder=decoder))
    if settings.camera_hosts:
        app.include_router(camera_router(pipeline, CameraHosts(settings.camera_hosts)))
    app.mount("/live", live_assets(facts, recognizer.labels))
    app.mount("/page", routes.app())

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the page answers; needs no login."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Any:
        """Whether pictures are being recognised; needs no login."""
        ready = pipeline.running
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    _within_a_loop(lambda: _mount(app, recognizer, settings))
    inner: ASGIApp = app if settings.login is None else Login(app, *settings.login)
    return Guard(Paths(inner), hosts=settings.names)


def _mount(app: FastAPI, recognizer: Recognizer, settings: Settings) -> None:
    """Put Gradio's frame at the root, without what this page has no use for."""
    import gradio as gr

    gr.mount_gradio_app(
        app,
        blocks(recognizer, settings),
        "/",
        theme=theme(),
        head=_HEAD,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        show_error=False,
        max_file_size=1,
    )


def _within_a_loop(call: Callable[[], None]) -> None:
    """Gradio makes an event loop wherever none runs, and never closes it."""

    async def called() -> None:
        call()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(called())
    else:
        call()


def blocks(recognizer: Recognizer, settings: Settings) -> gr.Blocks:
    """The tabs."""
    import gradio as gr

    from .live.live import live_panel

    found: gr.Blocks = gr.Blocks(title="ferstream", analytics_enabled=False, fill_width=True)
    with found:
        out = '<a class="fs-out" href="logout">Log out</a>' if settings.login else ""
        _html(gr, _TOP.replace("{out}", out), "top")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Live", id="live"):
                live_panel()
            with gr.Tab("Clip", id="clip"):
                limits = escape(json.dumps(limits_json(settings.limits)))
                _html(gr, f'<ferstream-clip limits="{limits}"></ferstream-clip>', "clip")
            if settings.camera_hosts:
                with gr.Tab("Camera", id="camera"):
                    _html(gr, "<ferstream-camera></ferstream-camera>", "camera")
            with gr.Tab("About", id="about"):
                gr.Markdown(card(recognizer.bundle.manifest), elem_id="card")
    return found


def theme() -> gr.Theme:
    """Calm and plain, with the fonts that the machine has: nothing is fetched."""
    import gradio as gr

    sans = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Consolas", "monospace"]
    return gr.themes.Default(
        primary_hue="blue", secondary_hue="blue", neutral_hue="slate", font=sans, font_mono=mono
    ).set(
        # Gradio's own are too pale to be read with ease.
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
    )


_HEAD = (
    '<meta name="color-scheme" content="light dark">'
    '<link rel="stylesheet" href="page/assets/page.css">'
    '<script type="module" src="page/assets/page.js"></script>'
    '<script type="module" src="live/live.js"></script>'
)

_TOP = """
<header class="fs-head">
  <div><strong class="fs-name">ferstream</strong>
  <span class="fs-what">what faces express, moment by moment</span></div>
  {out}
</header>
<ferstream-notice></ferstream-notice>
"""


def _html(gr: Any, markup: str, name: str) -> None:
    # Not gr.HTML: that runs its text as a program (`eval`), which the page's policy forbids.
    gr.Markdown(markup, elem_id=f"fs-{name}", elem_classes="fs-page", sanitize_html=False)
