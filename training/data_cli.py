"""`ferstream data`: look through a labelled set, prepare it, draw it, count what is found in it;
judge a rating study."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ferstream.engines.terminal import plain_console

from .datasets.readers import LAYOUTS, read_set
from .datasets.readers.check import Report
from .datasets.readers.check import check as check_set

app = typer.Typer(no_args_is_help=True, help="Labelled sets: check, prepare, contact sheet.")

Root = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the set.")]
LayoutName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="How the set lies on disk; recognised where left out."),
]
Fold = Annotated[int, typer.Option(min=1, help="Which official split, where a set has several.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, nothing else.")]

_LISTED = 20


@app.command()
def check(
    root: Root,
    layout: LayoutName = None,
    fold: Fold = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="Labels and folders only: no picture is read.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Count classes; find unreadable files, wrong labels, empty classes, twins across splits.

    Ends with 1 where something is wrong. Near twins and classes without a picture are shown for
    people to judge.
    """
    faces = read_set(root, layout, fold=fold, strict=False)
    with _progress("reading", len(faces)) as progress:
        report = check_set(faces, read=not quick, progress=progress)
    if as_json:
        print(jsonlib.dumps(report.to_json()))
    else:
        _show(report)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def prepare(
    root: Root,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the prepared faces.")],
    layout: LayoutName = None,
    fold: Fold = 1,
    crop_px: Annotated[int, typer.Option(min=16, max=512, help="Side of the crops.")] = 64,
    clip_frames: Annotated[int, typer.Option(min=1, help="Frames of a clip, at most.")] = 32,
    keep_twins: Annotated[
        bool, typer.Option("--keep-twins", help="Keep exact twins across splits.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the faces, align them as at run time, cache them. A stopped run goes on."""
    from .datasets.readers.prepare import PrepareOptions
    from .datasets.readers.prepare import prepare as prepare_set

    options = PrepareOptions(crop_px, clip_frames, drop_twins=not keep_twins)
    faces = read_set(root, layout, fold=fold, strict=False)
    with _progress("finding faces", len(faces)) as progress:
        facts = prepare_set(faces, out, options, progress=progress).facts
    if as_json:
        print(jsonlib.dumps(facts))
        return
    console = plain_console()
    table = Table("left out because", "items", title=f"{facts['faces']} of {facts['items']} faces")
    for why, count in facts["dropped"].items():
        table.add_row(why, f"{count}")
    if facts["dropped"]:
        console.print(table)
        console.print(f"Each of them stands in {out / 'dropped.csv'}.", soft_wrap=True)
    console.print(
        f"{out}: {facts['faces']} faces, fingerprint {facts['fingerprint'][:16]}", soft_wrap=True
    )


@app.command()
def sheet(
    root: Root,
    out: Annotated[Path, typer.Argument(metavar="OUT.png", help="The picture to write.")],
    layout: LayoutName = None,
    fold: Fold = 1,
    split: Annotated[str | None, typer.Option(help="One split only.")] = None,
    faces: Annotated[int, typer.Option(min=1, max=100, help="Faces of each class.")] = 12,
    tile_px: Annotated[int, typer.Option(min=24, max=256, help="Side of each.")] = 72,
    seed: Annotated[int, typer.Option(help="Which faces are picked.")] = 0,
) -> None:
    """Draw a contact sheet: classes in rows. DIR may be a set or prepared faces."""
    from .datasets.readers.sheet import SheetOptions, draw_sheet, row_count, write_sheet

    found = read_set(root, layout, fold=fold, strict=False)
    if split is not None:
        found = found.split(split)
    options = SheetOptions(faces, tile_px, seed)
    with _progress("drawing", row_count(found)) as progress:
        drawn = draw_sheet(found, options, progress=progress)
    write_sheet(out, drawn)
    plain_console().print(f"{out}: {drawn.shape[1]} x {drawn.shape[0]} pixels", soft_wrap=True)


@app.command()
def found(
    data: Annotated[Path | None, typer.Option(help="Folder of wild and fairface.")] = None,
    as_json: Json = False,
) -> None:
    """Count the faces found in the judged photographs, by group, and where none is."""
    from .measuring.detector_figures import found_rates

    report = found_rates(data)
    if as_json:
        print(jsonlib.dumps(report))
        return
    table = Table("pictures", "faces", "found")
    for name, part in report.items():
        if "false_faces" in part:
            table.add_row(f"{part['pictures']} {name}", "0", f"{part['false_faces']}")
            continue
        table.add_row(name, f"{part['faces']}", f"{part['found']}")
        for group in sorted(part.keys() - {"faces", "found", "missed"}):
            for value, (seen, count) in part[group].items():
                table.add_row(f"  {group} {value}", f"{count}", f"{seen}")
    plain_console().print(table)


@app.command()
def clear(
    out: Annotated[Path, typer.Argument(metavar="OUT.npy", help="The line to write.")],
    data: Annotated[Path | None, typer.Option(help="Folder of wild.")] = None,
) -> None:
    """Learn what tells a face in plain view from a covered or drawn one, for a view's quality."""
    from .measuring.clear_view import learned

    new, now = learned(out, data)
    plain_console().print(
        f"{out}: gives {100 * new:.1f} % of pairs of a face in plain view and a spoiled one more "
        f"for the first (validation); the line in use {100 * now:.1f} %",
        soft_wrap=True,
        highlight=False,
    )


@app.command()
def landmarks(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the three splits.")],
    data: Annotated[
        str | None, typer.Option(help="Data folder; else FERSTREAM_DATA, else ../shared/data.")
    ] = None,
    clips: Annotated[Path, typer.Option(help="Folder of the real clips.")] = Path(
        "../shared/clips"
    ),
) -> None:
    """Faces with 106 landmarks each, for `ferstream train landmarks`: photographs and clips with
    what a teacher and MediaPipe's mesh say of them, and the rendered 3D face."""
    from .datasets.point_faces import ORIGINS, made
    from .datasets.synthetic import load_synthetic_head

    table = Table("split", *ORIGINS)
    for split, faces in made(data, clips, load_synthetic_head(data)):
        faces.save(out / f"{split}.npz")
        table.add_row(split, *(f"{len(faces.of(origin))}" for origin in ORIGINS))
    plain_console().print(table)


@app.command()
def eyes(
    data: Annotated[
        str | None, typer.Option(help="Data folder; else FERSTREAM_DATA, else ../shared/data.")
    ] = None,
    clips: Annotated[Path, typer.Option(help="Folder of the real clips.")] = Path(
        "../shared/clips"
    ),
    split: Annotated[
        Literal["validation", "test"], typer.Option(help="Of photographs and rendered people.")
    ] = "test",
    count: Annotated[int, typer.Option(min=12, help="Rendered faces of each kind.")] = 240,
    learn: Annotated[
        Path | None,
        typer.Option(metavar="OUT.npy", help="Learn the line for gaze anew first; write it there."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how well opening of the eyes, blinks and gaze are read, with every front end."""
    import numpy as np

    from .measuring.eye_figures import eye_figures, learned_line, line_in_use

    console = plain_console(stderr=True)
    line = line_in_use()
    if learn is not None:
        line = learned_line(data)
        np.save(learn, line.astype(np.float32))
    report = eye_figures(line, data, clips, split=split, count=count, told=console.print)
    if as_json:
        print(jsonlib.dumps(report))
        return
    for name, figures in report.items():
        table = Table(name, "what", "figures")
        for part, of_part in figures.items():
            for what, told in of_part.items():
                shown = told.items() if isinstance(told, dict) else [("", told)]
                table.add_row(part, what, ", ".join(f"{of} {_short(one)}" for of, one in shown))
        plain_console().print(table)


def _short(value: float | list[float]) -> str:
    """To three digits."""
    values = value if isinstance(value, list) else [value]
    return " / ".join(f"{one:.3g}" if isinstance(one, float) else f"{one}" for one in values)


@app.command()
def layouts(as_json: Json = False) -> None:
    """List the layouts that are read, and what each expects."""
    rows = {name: (known.about, known.expected) for name, known in LAYOUTS.items()}
    if as_json:
        print(jsonlib.dumps({name: {"about": a, "expected": e} for name, (a, e) in rows.items()}))
        return
    table = Table("name", "set", "expected in the folder")
    for name, (about, expected) in rows.items():
        table.add_row(name, about, expected)
    plain_console().print(table)


@app.command()
def agreement(
    ratings: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="Columns rater, unit, value; a rating a row.")
    ],
    level: Annotated[
        Literal["nominal", "ordinal", "interval"],
        typer.Option(help="What values are: names, ranks, or numbers."),
    ] = "nominal",
    as_json: Json = False,
) -> None:
    """How far raters of a study agree beyond chance: Krippendorff's alpha."""
    from .measuring.agreement import krippendorff_alpha, read_ratings

    given = read_ratings(ratings)
    alpha = krippendorff_alpha(given, level)
    count = sum(value is not None for row in given for value in row)
    if as_json:
        facts = {"alpha": alpha, "level": level, "raters": len(given), "units": len(given[0])}
        print(jsonlib.dumps({**facts, "ratings": count}))
        return
    plain_console().print(
        f"alpha {alpha:.3f} ({level}): {count} ratings of {len(given[0])} units by {len(given)} "
        "raters. 1 is full agreement, 0 chance.",
        soft_wrap=True,
        highlight=False,
    )


@app.command()
def meaning(
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="The matrix to write.")],
    data: Annotated[
        str | None, typer.Option(help="Data folder; else FERSTREAM_DATA, else ../shared/data.")
    ] = None,
) -> None:
    """How near the 135 words are: which a judge names together, and norms of their meaning."""
    from .datasets.word_meaning import meaning_of_data, write_meaning

    write_meaning(out, meaning_of_data(data))
    plain_console().print(f"{out}: similarities of 135 words", soft_wrap=True, highlight=False)


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Told how many are done; draws a bar where standard error is a terminal."""
    console = plain_console(stderr=True)
    if not console.is_terminal:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _show(report: Report) -> None:
    console = plain_console()
    names = report.labels or report.units
    title = f"{report.root} ({report.layout}): {report.items} {report.kind}"
    table = Table("class" if report.labels else "on", *report.counts, title=title)
    for name in names:
        table.add_row(name, *(f"{counts[name]}" for counts in report.counts.values()))
    if report.labels:
        totals = (sum(counts.values()) for counts in report.counts.values())
        table.add_row("all", *(f"{total}" for total in totals), style="bold")
    console.print(table)
    for line in _lines(report):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _lines(report: Report) -> Iterator[str]:
    if report.subjects:
        yield f"{report.subjects} people"
    yield from report.notes
    if report.shared_people:
        yield f"{len(report.shared_people)} people are in more than one split"
    if report.absent:
        yield f"no item at all of: {', '.join(report.absent)}"
    yield from _few("wrong", [str(problem) for problem in report.problems], len(report.problems))
    if not report.read:
        yield "no picture was read (--quick): unreadable files and twins were not looked for"
        return
    exact = [f"{p.first} = {p.second} ({p.across})" for p in report.exact]
    yield from _few("exact twins across splits or labels", exact, report.exact_count)
    near = [f"{p.first} ~ {p.second} ({p.across}, {p.bits} bits)" for p in report.near]
    yield from _few("near twins across splits or labels", near, report.near_count)
    if report.twins_in_a_split:
        yield f"{report.twins_in_a_split} exact twins within a split"
    if report.ok:
        yield "nothing wrong"


def _few(what: str, lines: list[str], count: int) -> Iterator[str]:
    if count:
        yield f"{count} {what}:"
        yield from (f"  {line}" for line in lines[:_LISTED])
        if count > _LISTED:
            yield f"  ... and {count - _LISTED} more (--json lists up to 1000)"
