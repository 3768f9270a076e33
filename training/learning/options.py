"""What every training is made of; each paper's system adds its own in a frozen subclass.

The default values of a system's options are its paper's. `option` gives each field its help, so
the command line follows from the class.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from typing_extensions import Self

from ..errors import OptionsWrong

PRECISIONS = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}
"""Lightning's names; bf16 and fp16 keep weights in float32 and multiply in fewer bits."""


T = TypeVar("T")
HELP = "help"
"""Key of an option's help in its field's metadata."""


def option(default: T, text: str) -> T:
    """A field of `Options`: its default value, and its help, without a full stop."""
    made: T = field(default=default, metadata={HELP: text})
    return made


@dataclass(frozen=True)
class Options:
    """The part that all systems share.

    Raises:
        OptionsWrong: a value that cannot be.
    """

    faces: str = option(
        "fer2013plus",
        "fer2013plus, synthetic[:WORDS[:poses]] (the 3D face; WORDS are basic8, fg33 or "
        "f2ed54), or a folder that `ferstream data prepare` made",
    )
    taxonomy: str = option(
        "",
        "JSON file that gives each label of the faces a family and, if wanted, a colour: the "
        "bundle speaks in these labels alone; none: labels that no built-in list knows stand "
        "beside the rest",
    )
    limit: int = option(
        0,
        "At most so many training faces, the same share of the validation's; 0: all",
    )
    seed: int = option(0, "Of every random choice")
    epochs: int = option(40, "Times that every face is shown")
    batch: int = option(16, "Faces behind one step of the optimizer, over all processes")
    accumulate: int = option(
        1,
        "Parts in which a process goes through its share of a batch, to fit in memory",
    )
    precision: str = option("bf16", "bf16 (fp32 on a CPU that lacks it) or fp16 (mixed), or fp32")
    average_decay: float = option(
        0.0,
        "Of the moving average of weights that is validated and kept; 0: no average",
    )
    save_every_min: float = option(
        10.0,
        "Minutes between checkpoints within an epoch; one follows each epoch anyway",
    )
    workers: int = option(0, "Processes that prepare pictures, beside each training process")

    ASIDE: ClassVar[tuple[str, ...]] = ("save_every_min", "workers")
    """Options that leave the result as it is: a stopped run may go on with others."""

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Subclasses check their own fields beside these.

        Raises:
            OptionsWrong: a value that cannot be.
        """
        self.at_least(1, "epochs", "batch", "accumulate")
        self.at_least(0, "limit", "workers", "seed", "save_every_min", "average_decay")
        if self.precision not in PRECISIONS:
            raise OptionsWrong(
                f"precision {self.precision!r} is unknown: there are {', '.join(PRECISIONS)}"
            )
        if self.average_decay >= 1:
            raise OptionsWrong(f"average_decay is {self.average_decay}: it must be below 1")
        if self.batch % self.accumulate:
            raise OptionsWrong(
                f"batch {self.batch} cannot be split into accumulate {self.accumulate} equal "
                "parts: choose one that divides it"
            )

    def at_least(self, least: float, *names: str) -> None:
        """Raises OptionsWrong for the first of these fields that is below."""
        for name in names:
            if not getattr(self, name) >= least:
                raise OptionsWrong(f"{name} is {getattr(self, name)}: it must be {least} or more")

    @classmethod
    def paper(cls) -> Self:
        """The paper's hyper-parameters: the default values."""
        return cls()

    @classmethod
    def fast(cls) -> Self:
        """For a look, in minutes on two cores; subclasses choose what that means."""
        return cls(epochs=3, batch=64)

    def to_json(self) -> dict[str, Any]:
        """Plain types, as a run folder keeps them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """What `to_json` wrote; an older file may lack fields.

        Raises:
            OptionsWrong: a field that this version does not know.
        """
        names = {one.name for one in fields(cls)}
        if strange := sorted(values.keys() - names):
            raise OptionsWrong(
                f"{', '.join(strange)}: unknown to {cls.__name__} of this version; train anew"
            )
        plain: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in values.items()
        }
        return cls(**plain)

    def differences(self, other: Options) -> list[str]:
        """Names of fields whose values would give another result."""
        mine, theirs = self.to_json(), other.to_json()
        names = dict.fromkeys([*mine, *theirs])
        return [n for n in names if mine.get(n) != theirs.get(n) and n not in self.ASIDE]


def field_docs(options: type[Options]) -> dict[str, str]:
    """The help of each option, by name."""
    return {one.name: one.metadata.get(HELP, "") for one in fields(options)}
