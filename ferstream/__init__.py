"""ferstream watches faces in video and names what they express, finely.

In Python:

    from ferstream import Recognizer

    recognizer = Recognizer()
    for result in recognizer("clip.mp4", stream=True):
        for face in result.faces:
            print(result.time_s, face.id, face.top(3))

On the command line: `ferstream --help`. Commands are loaded when they are called, so that scoring
a clip needs neither PyTorch nor a browser page's libraries.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

_HERE = Path(__file__).parent
if not (_HERE / "engines").is_dir():
    __path__.append(str(_HERE.parent))  # in a checkout the packages lie beside this folder

from .engines import offline as offline  # noqa: E402  before any library is imported
from .errors import FerstreamError  # noqa: E402

if TYPE_CHECKING:
    from typer.core import TyperGroup

    from .stream.faces.options import FaceOptions as FaceOptions
    from .stream.frame import Frame as Frame
    from .stream.recognize import Recognizer as Recognizer
    from .stream.result import FaceResult as FaceResult
    from .stream.result import Result as Result
    from .stream.result import Results as Results
    from .stream.result import save_table as save_table
    from .stream.result import to_df as to_df
    from .stream.sinks.spans import events as events
    from .stream.sources import open_live as open_live
    from .stream.sources import open_source as open_source

__version__ = "0.2.0"
__all__ = [
    "FaceOptions",
    "FaceResult",
    "FerstreamError",
    "Frame",
    "Recognizer",
    "Result",
    "Results",
    "__version__",
    "events",
    "main",
    "open_live",
    "open_source",
    "save_table",
    "to_df",
]

_PUBLIC = {
    "FaceOptions": "stream.faces.options",
    "FaceResult": "stream.result",
    "Frame": "stream.frame",
    "Recognizer": "stream.recognize",
    "Result": "stream.result",
    "Results": "stream.result",
    "events": "stream.sinks.spans",
    "open_live": "stream.sources",
    "open_source": "stream.sources",
    "save_table": "stream.result",
    "to_df": "stream.result",
}


class Command(NamedTuple):
    """Where a command's code is, and the line that `ferstream --help` shows without loading it."""

    target: str
    """module:attribute, below ferstream; a function is a command, a Typer app a group of them."""
    help: str


COMMANDS = {
    "score": Command("stream.cli:score", "Score clips: videos, images, folders of them."),
    "live": Command("stream.cli_live:live", "Watch a webcam, an RTSP camera or any stream."),
    "demo": Command("demo.cli:demo", "Open the page in the browser."),
    "serve": Command("stream.serve.cli:serve", "Answer other programs over HTTP and WebSocket."),
    "bench": Command("stream.cli:bench", "Measure speed on a clip, from file to result."),
    "bundle": Command("engines.cli:app", "Look into a bundle of networks, check it, time it."),
    "train": Command("training.cli:app", "Train the networks."),
    "compare": Command("training.cli:compare", "Put trained runs side by side."),
    "data": Command("training.data_cli:app", "Check, prepare and look at sets of labelled faces."),
    "evaluate": Command("training.cli:evaluate", "Measure a bundle on labelled faces."),
    "export": Command("training.cli:export", "Make a bundle of trained networks."),
    "calibrate": Command("calibration.cli:app", "Temperatures, reliability and INT8."),
}

_OLD_NAMES = {
    "--engine": "--backend",
    "--engines": "--backends",
    "--window": "--show",
    "--no-window": "--no-show",
    "--window-s": "--window-length",
}
"""Options that had another name in an earlier version; the old one still works, with a notice."""

_EXTRAS = {
    "mediapipe": "mediapipe",
    "dlib": "dlib",
    "matplotlib": "plots",
    **dict.fromkeys(("torch", "lightning", "onnx", "onnxscript", "scipy", "skimage"), "train"),
    "openvino": "openvino",
    "gradio": "demo",
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "websockets", "python_multipart"), "serve"),
    "paho": "mqtt",
    **dict.fromkeys(("pyarrow", "pandas", "polars"), "tables"),
    "prometheus_client": "metrics",
    "tensorrt": "gpu",
    "pycuda": "gpu",
    "cuda": "gpu",
}
"""Which extra of the package brings a module that the base installation lacks."""

_INTERRUPTED = 130
_TOO_LITTLE = ("can't start new thread", "failed to map segment", "annot allocate memory")
"""What Python, the loader and the system say where memory or threads run out."""


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"ferstream.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'ferstream' has no attribute {name!r}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command line and exits: 0 done, 1 failed, 2 misused, 130 interrupted.

    A failure is one line on standard error; FERSTREAM_TRACE=1 shows where it came from.
    """
    try:
        command_line().main(arguments, prog_name="ferstream")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if os.environ.get("FERSTREAM_TRACE") == "1":
            raise
        from .engines.terminal import plain

        print(plain(f"ferstream: {_one_line(error)}"), file=sys.stderr)
        sys.exit(1)


def command_line() -> TyperGroup:
    """The command group; of the commands it holds names and help texts until one is called."""
    import typer
    from typer.core import TyperCommand, TyperGroup

    class LazyGroup(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, _, rest = super().resolve_command(ctx, args)
            return name, name and _load(COMMANDS[name].target), _renamed(rest)

    def show_version(asked: bool) -> None:
        if asked:
            print(f"ferstream {__version__}")
            raise typer.Exit

    def root(
        version: bool = typer.Option(
            False, "--version", callback=show_version, is_eager=True, help="Show the version."
        ),
    ) -> None:
        """Watch faces in video and name what they express, finely."""

    app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, callback=root)
    group = typer.main.get_group(app)
    for name, command in COMMANDS.items():
        if _is_here(command.target):
            group.add_command(TyperCommand(name, help=command.help))
    return group


def _load(target: str) -> Any:
    import typer

    module, attribute = target.split(":")
    found = getattr(importlib.import_module(f"ferstream.{module}"), attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    app = typer.Typer(add_completion=False)
    app.command()(found)
    return typer.main.get_command(app)


def _renamed(arguments: list[str]) -> list[str]:
    """The arguments of a command with today's names of options; a line of notice for each."""
    renamed = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in _OLD_NAMES:
            print(f"ferstream: {name} is now called {_OLD_NAMES[name]}", file=sys.stderr)
            argument = f"{_OLD_NAMES[name]}{equals}{value}"
        renamed.append(argument)
    return renamed


def _is_here(target: str) -> bool:
    """Whether this installation has the command's module; looks without importing."""
    file = target.partition(":")[0].replace(".", "/") + ".py"
    return any((Path(folder) / file).is_file() for folder in __path__)


def _one_line(error: Exception) -> str:
    """What went wrong and what to do, in one line."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        extra = _EXTRAS.get(error.name.partition(".")[0])
        if extra:
            return f"this needs {error.name}: pip install 'ferstream[{extra}]'"
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or any(words in text for words in _TOO_LITTLE):
        return "there is not enough memory, or too few threads are allowed: see `ulimit -a`"
    if isinstance(error, (FerstreamError, OSError)):
        return text
    return f"unexpected {type(error).__name__}: {text} (FERSTREAM_TRACE=1 shows where)"
