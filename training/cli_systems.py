"""`ferstream train SYSTEM`: a command for each paper's system, made of its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from .systems import SYSTEMS

_TYPES = {"int": int, "float": float, "str": str}


class SystemGroup(TyperGroup):
    """Adds the papers' systems to `ferstream train`; each is loaded when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *SYSTEMS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in SYSTEMS:
            return super().get_command(ctx, cmd_name)
        return TyperCommand(cmd_name, help=SYSTEMS[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, system_command(name) if name in SYSTEMS else command, rest


def system_command(name: str) -> Any:
    """The command that trains a system; its options are the fields of the system's dataclass."""
    app = typer.Typer(add_completion=False)
    app.command(name, help=SYSTEMS[name])(command_function(name))
    return typer.main.get_command(app)


def command_function(name: str) -> Callable[..., None]:
    """The function behind that command, with a parameter for each option."""
    from .learning.options import Options, field_docs
    from .learning.system import open_system, train_system

    system = open_system(name)
    docs, paper, fast = field_docs(system.options), system.options.paper(), system.options.fast()

    def train(run: Path | None, data: str | None, fast: bool, paper: bool, **given: Any) -> None:
        if fast and paper:
            raise typer.BadParameter("--fast and --paper are two sets of options: choose one")
        start = system.options.fast() if fast else system.options.paper()
        asked = {key: value for key, value in given.items() if value is not None}
        options: Options = replace(start, **_converted(system.options, asked))
        place = run or Path("runs") / f"{name}{'-fast' if fast else ''}"
        free = {field.name for field in fields(system.options)} - asked.keys()
        done = train_system(system, options, place, data, free)
        _tell(done)

    parameters = [
        _parameter(
            "run",
            "Path | None",
            "Folder of this training; a stopped one goes on there. "
            f"(default: runs/{name}, with --fast runs/{name}-fast)",
        ),
        _parameter("data", "str | None", "Data folder; else FERSTREAM_DATA, else ../shared/data."),
        _flag("fast", "Small, in minutes on two cores: for a look, not a result."),
        _flag("paper", "The paper's hyper-parameters; so it is without --fast."),
    ]
    for field in fields(system.options):
        usual, quick = getattr(paper, field.name), getattr(fast, field.name)
        shown = f"(paper: {_text(usual)}" + (f", fast: {_text(quick)})" if quick != usual else ")")
        kind = f"{field.type if field.type in _TYPES else 'str'} | None"
        parameters.append(_parameter(field.name, kind, f"{docs.get(field.name, '')}. {shown}"))
    train.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    train.__annotations__ = {p.name: p.annotation for p in parameters}
    return train


def _converted(options: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Texts of lists ("10,18,25") to the tuples that they stand for.

    Raises:
        OptionsWrong: one is no list of numbers, or not of whole ones where those are wanted.
    """
    from .errors import OptionsWrong

    kinds = {"tuple[int, ...]": (int, "whole numbers"), "tuple[float, ...]": (float, "numbers")}
    found = dict(asked)
    for field in fields(options):
        if field.name not in asked or str(field.type) not in kinds:
            continue
        number, called = kinds[str(field.type)]
        try:
            values = tuple(number(part) for part in asked[field.name].split(",") if part.strip())
        except ValueError as error:
            raise OptionsWrong(
                f"{field.name} is {asked[field.name]!r}: give {called} with commas between them"
            ) from error
        found[field.name] = values
    return found


def _parameter(name: str, kind: str, text: str) -> inspect.Parameter:
    types: dict[str, Any] = {
        "Path | None": Path | None,
        "str | None": str | None,
        "int | None": int | None,
        "float | None": float | None,
    }
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[types[kind], typer.Option(help=text, show_default=False)],
    )


def _flag(name: str, text: str) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option(f"--{name}", help=text)],
    )


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value) if value != "" else "none"


def _tell(run: Any) -> None:
    """The run's figures, where it is this process that measured them."""
    from ferstream.engines.terminal import plain_console

    from .learning.run_folder import REPORT
    from .measuring.report import figure_text

    if not run.finished:
        return
    test = run.metrics()["test"]
    told = ", ".join(
        f"{name.replace('_', ' ')} {figure_text(name, test[name])}"
        for name in ("top1", "macro_recall", "ece")
    )
    plain_console().print(f"{test['n']} test faces: {told}", highlight=False)
    plain_console().print(f"{run.path / REPORT}", highlight=False, soft_wrap=True)
