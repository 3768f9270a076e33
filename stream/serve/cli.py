"""`ferstream serve`, and what it reads before it starts: certificate, key, token."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import StreamError
from ..faces.options import FaceOptions
from ..options import (
    BackendName,
    BackendOption,
    BundleOption,
    CroppedOption,
    FacesOption,
    MaxFacesOption,
    MinFaceOption,
    PurposeOption,
    RotateName,
    RotateOption,
    face_options,
    facts,
    leave,
)

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..pipeline import Pipeline
    from ..sinks.base import Sink
    from ..sinks.prometheus import Metrics
    from ..sources import Source
    from .guard import Limits
    from .watch import Watch


_TOKEN_CHARACTERS = 16
_TOKEN_VARIABLE = "FERSTREAM_TOKEN"


def serve(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE...]",
            help="Sources to watch: their latest results are at /v1/sources/ID/latest.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the token to ask for; else ${_TOKEN_VARIABLE}."),
    ] = None,
    without_token: Annotated[
        bool, typer.Option("--without-token", help="Serve other machines without a token.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin whose web pages may ask, such as https://example.org."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name under which this service is reached.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's private key (PEM).")] = None,
    max_visitors: Annotated[int, typer.Option(min=1, help="Live visitors at once.")] = 32,
    max_per_address: Annotated[
        int, typer.Option(min=1, help="Live visitors of one network address.")
    ] = 8,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="Size of an upload.")] = 64,
    max_clip_seconds: Annotated[float, typer.Option(min=1, help="Length of a clip.")] = 120,
    without_sandbox: Annotated[
        bool,
        typer.Option(
            "--without-sandbox",
            help="Decode strangers' files where neither seccomp nor Landlock can confine that.",
        ),
    ] = False,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address of a proxy whose X-Forwarded-For is believed; nobody's unless given."
        ),
    ] = None,
    min_face: MinFaceOption = 12.0,
    max_faces: MaxFacesOption = 100,
    faces: FacesOption = "auto",
    rotate: RotateOption = RotateName.auto,
    cropped: CroppedOption = False,
    purpose: PurposeOption = "",
    bundle: BundleOption = "default",
    backend: BackendOption = BackendName.auto,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="A line for each request, with its address.")
    ] = False,
) -> None:
    """Serve images, clips and live pictures over HTTP and WebSocket to other programs."""
    from ..process import few_arenas
    from .guard import Limits, is_loopback

    few_arenas()
    require_sandbox(without_sandbox)
    check_tls(certificate, key)
    token = _token(token_file)
    if token is None and not is_loopback(host) and not without_token:
        raise typer.BadParameter(
            f"others can reach {host}: give --token-file or ${_TOKEN_VARIABLE}, or say "
            "--without-token"
        )
    limits = Limits(
        upload_bytes=max_upload_mb * 2**20,
        clip_duration_s=max_clip_seconds,
        live_per_address=max_per_address,
        clip_frames=max(int(max_clip_seconds * 67), 1),
    )
    with ExitStack() as closing:
        listening = closing.enter_context(_listening(host, port))

        from ..process import Stop, stopping_on_signals
        from .server import run, server_config

        stop = Stop()
        closing.enter_context(stopping_on_signals(stop))
        app = _application(
            closing,
            sources or [],
            bundle,
            backend,
            face_options(min_face, max_faces, rotate, cropped, front_end=faces),
            max_visitors,
            limits,
            purpose,
            token=token,
            allow_origins=allow_origin or (),
            allow_hosts=[*(allow_host or ()), host],
        )
        config = server_config(
            app,
            limits,
            access_log=access_log,
            certificate=certificate,
            key=key,
            proxies=trust_proxy or (),
        )
        address = _address(listening, "https" if certificate else "http")
        if token is not None and certificate is None and not is_loopback(host):
            print(
                "ferstream: the token travels in clear: give --certificate and --key, or put a "
                "proxy with TLS before it",
                file=sys.stderr,
            )
        print(f"ferstream serves on {address}, Ctrl-C ends it", flush=True)
        if not stop.is_set():
            run(config, listening, limits, stop)
    leave(stop.status, failed=False)


def require_sandbox(waived: bool) -> None:
    """Raise `ServeError` where strangers' files cannot be decoded in safety, unless waived."""
    from ..sandbox.process import UNCONFINED, UNSAFE
    from ..sandbox.seccomp import can_confine

    if waived:
        os.environ[UNCONFINED] = "1"
    elif not can_confine():
        raise ServeError(UNSAFE)


def _application(
    closing: ExitStack,
    sources: list[str],
    bundle: str,
    backend: BackendName,
    faces: FaceOptions,
    max_visitors: int,
    limits: Limits,
    purpose: str,
    **guarding: Any,
) -> FastAPI:
    """The application with its pipeline and watch, both of them started."""
    from ..pipeline import MOST_EVERY, Pipeline
    from ..recognize import Recognizer
    from .app import create_app
    from .scoring import Scoring
    from .server import ServiceMetrics

    # Before the networks: a source that cannot be opened ends the command at once.
    opened = _opened(sources)
    recognizer = closing.enter_context(Recognizer(bundle, backend.value, faces=faces))
    about = facts(recognizer, purpose)
    metrics = _metrics(closing)
    pipeline = closing.enter_context(
        Pipeline(recognizer, most_live=max_visitors, most_every=MOST_EVERY)
    )
    watch = _watch(closing, opened, pipeline, about, metrics) if opened else None
    scoring = Scoring(pipeline, about, limits)
    closing.callback(scoring.close)
    exported = None if metrics is None else ServiceMetrics(metrics, pipeline)
    return create_app(scoring, watch=watch, metrics=exported, **guarding)


def _metrics(closing: ExitStack) -> Metrics | None:
    """The process's metrics, where what they are made with is installed."""
    if find_spec("prometheus_client") is None:
        return None
    from ..sinks.prometheus import Metrics

    metrics = Metrics()
    closing.callback(metrics.close)
    return metrics


def _opened(specs: list[str]) -> list[Source]:
    """The sources to be watched. Raises a `SourceError` for one that cannot be read at all."""
    if not specs:
        return []
    from ..sources import open_live, sources_from

    names = sources_from(specs)
    return [open_live(name, strict_start=len(names) == 1) for name in names]


def _watch(
    closing: ExitStack,
    sources: list[Source],
    pipeline: Pipeline,
    about: dict[str, Any],
    metrics: Metrics | None,
) -> Watch:
    """The watch over the sources, started."""
    from .watch import Watch

    sinks: list[list[Sink]] = [[] for _ in sources]
    if metrics is not None:
        from ..sinks.metrics_sink import MetricsSink

        sinks = [[MetricsSink(metrics)] for _ in sources]
    watch = Watch(sources, pipeline, sinks, about)
    watch.start()
    closing.callback(watch.close)
    return watch


def _token(file: Path | None) -> str | None:
    """The token to ask for; raises ServeError for one that cannot be read or is easily guessed."""
    if file is None:
        token, place = os.environ.get(_TOKEN_VARIABLE, ""), f"${_TOKEN_VARIABLE}"
        if not token:
            return None
    else:
        token, place = read_secret(file, "token"), str(file)
    if len(token) < _TOKEN_CHARACTERS or not token.isascii() or not token.isprintable():
        raise ServeError(
            f"the token in {place} is too short or has odd characters: take "
            f"{_TOKEN_CHARACTERS} or more, as from `openssl rand -hex 16`"
        )
    return token


def _listening(host: str, port: int) -> socket.socket:
    """The socket to serve on; raises ServeError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=512)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise ServeError(
            f"cannot serve on {host} port {port}: {words}; name another --host or --port"
        ) from None


def _address(listening: socket.socket, scheme: str) -> str:
    host, port = listening.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class ServeError(StreamError, OSError):
    """The service cannot be started as asked."""


def read_secret(file: Path, what: str) -> str:
    """A small text file that only its owner can read, without the space around its text.

    `what` is what it holds, for the message. Raises `ServeError`.
    """
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(65_536)
        if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
            raise ServeError(f"others can read the {what} in {file}: chmod 600 {file}")
        return data.decode("utf-8").strip()
    except (OSError, UnicodeError) as error:
        if isinstance(error, ServeError):
            raise
        words = getattr(error, "strerror", None) or "it is no text"
        raise ServeError(f"cannot read the {what} in {file}: {words.lower()}") from None


def check_tls(certificate: Path | None, key: Path | None) -> None:
    """Raise `ServeError`, naming the file, where TLS cannot be spoken with these."""
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise ServeError("TLS needs both: give --certificate and --key")
    for file in (certificate, key):
        try:
            file.open("rb").close()
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            raise ServeError(f"cannot read {file}: {words}") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        why = (error.reason or str(error)).replace("_", " ").lower()
        raise ServeError(
            f"{certificate} and {key} are no certificate and its key, both in PEM ({why})"
        ) from None
