"""The live panel for a page: its markup, its files and the Gradio component that places it.

The panel is a custom element, `<ferstream-live>`, written in plain JavaScript modules beside this
file. It asks for consent, opens the camera, sends pictures over the service's WebSocket and draws
what comes back. It asks nobody but the server that gave it the page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ferstream.engines.labels import BUILT_IN, Labels
from ferstream.stream.emotions import own_colours
from ferstream.stream.result import SCHEMA
from ferstream.stream.sinks.csv import CsvSink

if TYPE_CHECKING:
    import gradio as gr

FOLDER = Path(__file__).parent
ASSETS = "live"
"""Where the panel's files are mounted, relative to the page."""
SOCKET = "v1/live"
"""Where the service's WebSocket is, relative to the page."""

_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


def live_panel(*, assets: str = ASSETS, socket: str = SOCKET, elem_id: str = "live") -> gr.Markdown:
    """The panel as a Gradio component; call it where it is to stand in a Blocks page.

    The page's FastAPI app needs `app.mount("/live", live_assets())` and the service's
    `live_router`; `assets` and `socket` say where, as addresses relative to the page.
    """
    import gradio

    # Not gr.HTML: that runs its text as a program (`eval`), which the page's policy forbids.
    return gradio.Markdown(
        live_markup(assets=assets, socket=socket), elem_id=elem_id, sanitize_html=False
    )


def live_markup(*, assets: str = ASSETS, socket: str = SOCKET) -> str:
    """The panel's element; it comes to life once `live.js` is loaded as a module."""
    return f'<ferstream-live assets="{escape(assets)}" socket="{escape(socket)}"></ferstream-live>'


def live_page(*, assets: str = ASSETS, socket: str = SOCKET) -> str:
    """A whole page that holds nothing but the panel."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ferstream live</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        "<style>:root{color-scheme:light dark}"
        "body{margin:1rem;font-family:system-ui,sans-serif}</style>"
        f'<script type="module" src="{escape(assets)}/live.js"></script></head>'
        f"<body><main>{live_markup(assets=assets, socket=socket)}</main></body></html>"
    )


def live_assets(about: Mapping[str, Any] | None = None, labels: Labels = BUILT_IN) -> Starlette:
    """The panel's files as an app to mount at `/live`: scripts, style and `words.json`.

    `about` are facts for the headers of what visitors save.
    """
    files = {path.name: path for path in FOLDER.iterdir() if path.suffix in _TYPES}
    answers = {name: _answer(path.read_bytes(), path.suffix) for name, path in files.items()}
    answers["words.json"] = (
        "application/json",
        *_tagged(json.dumps(words(about or {}, labels)).encode()),
    )

    async def asset(request: Request) -> Response:
        answer = answers.get(request.path_params["name"])
        if answer is None:
            return Response("no such file of the live panel", 404, media_type="text/plain")
        kind, content, tag = answer
        # Asked again each time, so that an update of the package is never half old.
        headers = {"ETag": tag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return Starlette(routes=[Route("/{name}", asset)])


def words(about: Mapping[str, Any], labels: Labels = BUILT_IN) -> dict[str, object]:
    """What the panel needs to know: the families, the family of each word, colours that it has not,
    and what stands in the files that it saves, which are like those of a clip."""
    names = (*labels.basic.labels, *labels.words.labels)
    return {
        "families": list(labels.words.families),
        "family_of": {name: labels.family(name) for name in names},
        "colours": own_colours(labels),
        "columns": CsvSink(Path()).columns(labels),
        "about": {"schema": SCHEMA, "facts": dict(about)},
    }


def _answer(content: bytes, suffix: str) -> tuple[str, bytes, str]:
    return (_TYPES[suffix], *_tagged(content))


def _tagged(content: bytes) -> tuple[bytes, str]:
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'
