"""`ferstream demo`."""

from __future__ import annotations

import getpass
import importlib.util
import os
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from ferstream.stream.options import (
    CroppedOption,
    FacesOption,
    MaxFacesOption,
    MinFaceOption,
    RotateName,
    RotateOption,
    face_options,
)

from .errors import CannotServe

_PASSWORD = "FERSTREAM_PASSWORD"


def demo(
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 7860,
    bundle: Annotated[str, typer.Option(help="A bundle's folder, or `default`.")] = "default",
    backend: Annotated[str, typer.Option(help="What runs the networks.")] = "auto",
    login: Annotated[
        str | None,
        typer.Option(
            metavar="USER",
            help=f"Ask visitors for this name and a password, taken from {_PASSWORD}, "
            "--password-file or a prompt.",
        ),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="A file whose first line is the password for --login.")
    ] = None,
    allow_sources: Annotated[
        str,
        typer.Option(
            metavar="HOST[,HOST]",
            help="Hosts whose RTSP cameras visitors may watch; none unless given.",
        ),
    ] = "",
    allow_host: Annotated[
        str, typer.Option(metavar="NAME[,NAME]", help="More names this page is called by.")
    ] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="TLS certificate (PEM); browsers ask for it off localhost.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's private key (PEM).")] = None,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="Largest clip.")] = 64,
    max_clip_seconds: Annotated[float, typer.Option(min=1, help="Longest clip.")] = 120.0,
    visitors: Annotated[int, typer.Option(min=1, help="Live visitors at once.")] = 16,
    keep_minutes: Annotated[
        float, typer.Option(min=1, help="A visit ends after so long, its clips are deleted.")
    ] = 60.0,
    without_sandbox: Annotated[
        bool,
        typer.Option(
            "--without-sandbox",
            help="Decode strangers' files where neither seccomp nor Landlock can confine that.",
        ),
    ] = False,
    trust_proxy: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS[,ADDRESS]",
            help="Proxies whose X-Forwarded-For is believed; nobody's unless given.",
        ),
    ] = "",
    min_face: MinFaceOption = 12.0,
    max_faces: MaxFacesOption = 100,
    faces: FacesOption = "auto",
    rotate: RotateOption = RotateName.auto,
    cropped: CroppedOption = False,
    purpose: Annotated[
        str, typer.Option(help="What this is used for; recorded in what is downloaded.")
    ] = "",
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the browser; default: if there is a display."),
    ] = None,
) -> None:
    """Open the page in the browser: live, clips, cameras, about."""
    # First, so that an installation without it names the extra that brings all of the page. It is
    # imported last: that takes seconds, and what cannot be is refused at once.
    if importlib.util.find_spec("gradio") is None:
        raise ModuleNotFoundError("no gradio", name="gradio")

    from ferstream.stream.serve.cli import check_tls

    user = None if login is None else (login, _password(password_file))
    cameras, proxies = _cameras(allow_sources), _list(trust_proxy)
    check_tls(certificate, key)
    listening = _listen(host, port)

    from ferstream.stream.options import leave
    from ferstream.stream.process import Stop, few_arenas, stopping_on_signals
    from ferstream.stream.recognize import Recognizer
    from ferstream.stream.serve.cli import require_sandbox
    from ferstream.stream.serve.guard import Limits, is_loopback
    from ferstream.stream.serve.server import run, server_config

    from .app import Settings, page

    few_arenas()
    require_sandbox(without_sandbox)
    limits = Limits(
        upload_bytes=max_upload_mb * 2**20,
        clip_duration_s=max_clip_seconds,
        clip_frames=max(int(max_clip_seconds * 67), 1),
    )
    settings = Settings(
        names=(*_names(host), *_list(allow_host)),
        login=user,
        camera_hosts=cameras,
        limits=limits,
        visitors=visitors,
        keep_s=60 * keep_minutes,
        purpose=purpose,
    )
    stop = Stop()
    wanted = face_options(min_face, max_faces, rotate, cropped, front_end=faces)
    recogniser = Recognizer(bundle, backend, faces=wanted)
    with listening, recogniser as recognizer, stopping_on_signals(stop):
        config = server_config(
            page(recognizer, settings), limits, certificate=certificate, key=key, proxies=proxies
        )
        scheme = "https" if certificate else "http"
        address = f"{scheme}://{_shown(host)}:{listening.getsockname()[1]}/"
        # From the line on, whoever comes waits for an answer instead of being refused.
        listening.listen(config.backlog)
        print(f"ferstream: {address}  (Ctrl-C ends)", flush=True)
        if not is_loopback(host):
            if user is None:
                access = "anybody who reaches this address can use it; --login asks for a password"
            elif certificate is None:
                access = (
                    "password and pictures travel in clear: give --certificate and --key, or "
                    "put a proxy with TLS before it"
                )
            print(f"ferstream: {access}", file=sys.stderr)
        if open_browser or (open_browser is None and _has_display()):
            threading.Timer(1.0, webbrowser.open, [address]).start()
        run(config, listening, limits, stop)
    leave(stop.status, failed=False)


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket; says in words where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise CannotServe(
            f"cannot listen at {_shown(host)}:{port}: {(error.strerror or str(error)).lower()}; "
            "name another with --host and --port"
        ) from error
    return listening


def _password(file: Path | None) -> str:
    """The password for --login: of a file, the environment, or typed."""
    from ferstream.stream.serve.cli import read_secret

    if file is not None:
        lines = read_secret(file, "password").splitlines()
        password = lines[0] if lines else ""
    elif _PASSWORD in os.environ:
        password = os.environ[_PASSWORD]
    elif sys.stdin.isatty():
        password = getpass.getpass("Password for visitors: ")
    else:
        raise CannotServe(f"--login needs a password: set {_PASSWORD} or give --password-file")
    if len(password) < 8:
        raise CannotServe("the password for --login has fewer than 8 characters: take a longer one")
    return password


def _cameras(text: str) -> tuple[str, ...]:
    """The hosts of --allow-sources, looked at before anything is loaded."""
    from .camera import CameraHosts

    hosts = _list(text)
    try:
        CameraHosts(hosts)
    except ValueError as error:
        raise CannotServe(f"--allow-sources: {error}") from None
    return hosts


def _names(host: str) -> tuple[str, ...]:
    """The host to listen at, where it is a name."""
    return (host,) if host.strip("0123456789.:") else ()


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
