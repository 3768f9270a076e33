"""A layout: how one set lies on disk, how it is recognised, and what reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .errors import LayoutError
from .faceset import FaceSet, Item, Kind, Problem, Stack


@dataclass(frozen=True)
class Layout:
    """One set's way of lying on disk."""

    name: str
    about: str
    expected: str
    """What has to be in the folder, for people."""
    recognise: Callable[[Path], bool]
    """Whether a folder looks like it; looks at few files."""
    read: Callable[[Found], None]
    """Fills in what it finds; raises LayoutError where a needed file is missing."""
    kind: Kind = "images"
    folds: int = 1
    """Of how many official train-test splits one is chosen."""


@dataclass
class Found:
    """What a reader is asked for, and what it has found so far."""

    root: Path
    layout: Layout
    fold: int = 1
    labels: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    items: list[Item] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stack: Stack | None = None
    rate_hz: float | None = None
    kind: Kind | None = None
    """Where it is not the layout's."""

    def add(self, path: Path, split: str, label: int | None, **more: object) -> None:
        """One more item, named by its path below the root; `more` are fields of Item."""
        name = str(more.pop("name", None) or self.below(path))
        self.items.append(Item(name, path, split, label, **more))  # type: ignore[arg-type]

    def below(self, path: Path) -> str:
        """A path as it is named in items and messages: below the root."""
        return (
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        )

    def wrong(self, kind: str, where: Path | str, what: str) -> None:
        """One more problem."""
        place = self.below(where) if isinstance(where, Path) else where
        self.problems.append(Problem(kind, place, what))  # type: ignore[arg-type]

    def missing(self, what: Path | str) -> LayoutError:
        """The error to raise where a needed file or folder is not there."""
        place = self.below(what) if isinstance(what, Path) else what
        return LayoutError(
            f"{self.root} is no {self.layout.about}: {place} is missing; "
            f"expected {self.layout.expected}"
        )

    def faceset(self) -> FaceSet:
        """The set. Raises LayoutError where not a single face was found."""
        if not self.items and not self.problems:
            raise LayoutError(
                f"{self.root} holds not one labelled face of {self.layout.about}; "
                f"expected {self.layout.expected}"
            )
        return FaceSet(
            self.layout.name,
            self.root,
            self.kind or self.layout.kind,
            self.labels,
            tuple(self.items),
            self.units,
            tuple(self.problems),
            tuple(self.notes),
            self.stack,
            self.rate_hz,
        )
