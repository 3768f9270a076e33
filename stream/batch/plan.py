"""What a run does of a batch, decided before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SinkError
from ..formats import STANDARD_OUTPUT
from ..options import complain
from ..outputs import Outputs
from .ledger import Ledger, is_open
from .runner import finish_tables, parts_of_others, with_parts
from .shards import Shard, Shards
from .task import Task


@dataclass(frozen=True, slots=True)
class Running:
    """How a batch is run; what comes of it does not depend on that."""

    jobs: int | None = None
    """Processes, or workers on a cluster; None: this process alone, all that the cluster has."""
    resume: bool = False
    shard: Shard | None = None
    """Whose clips are scored; None: all."""
    cluster: str | None = None
    """The Ray cluster's address, "" for one that is started here; None: this machine's work."""

    @property
    def elsewhere(self) -> bool:
        """Whether other processes than this one score."""
        return self.jobs is not None or self.cluster is not None


class Plan:
    """The clips that a run scores, their outputs, and what is known of the batch already.

    Raises `SinkError` for what does not go together, or would destroy what another run made.
    """

    def __init__(self, names: Sequence[str], outputs: Outputs, running: Running) -> None:
        self._running = running
        wanted = running.elsewhere or running.resume or running.shard is not None
        self._ledger = outputs.beside("ledger") if wanted or len(names) > 1 else None
        self._clips = list(names)
        asked = {
            "--resume": running.resume,
            "--shard": running.shard is not None,
            "--on ray": running.cluster is not None,
        }
        if self._ledger is None:
            for option in (option for option, wanted in asked.items() if wanted):
                raise SinkError(
                    f"{option} is for what is written to files: name one, such as --csv x.csv"
                )
            self._shards = None
            self.going_on = False
        else:
            self._shards = Shards(self._ledger.with_suffix(".shards"))
            self.going_on = self._looked_at(self._ledger, self._shards, outputs.overwrite)
        share = running.shard.share if running.shard else slice(None)
        each = outputs.for_sources(
            self._clips, again=self.going_on, share=share if running.shard else None
        )
        self.names = self._clips[share]
        """Clips of this run."""
        self.tasks = [Task(name, tuple(own)) for name, own in zip(self.names, each, strict=True)]
        """The same with their outputs."""
        for place in {place for task in self.tasks for place in task.places}:
            if running.elsewhere and (place.target == STANDARD_OUTPUT or place.format.served):
                option = "--jobs" if running.cluster is None else "--on ray"
                raise SinkError(f"{place.name} is one process's to write: leave {option} out")
        if running.shard and self._shards and not self.going_on:
            left = parts_of_others(self.tasks)
            # Another shard may have begun in this moment.
            if left is not None and not Shards(self._shards.folder).begun:
                raise SinkError(f"{left} is of another batch: delete it, or write elsewhere")

    @property
    def single(self) -> bool:
        """Whether one clip is all that was asked for."""
        return len(self._clips) == 1

    @property
    def resumable(self) -> bool:
        """Whether a run that is stopped can be gone on with."""
        return self._ledger is not None

    def open_ledger(self, options: Mapping[str, Any]) -> Ledger | None:
        """The ledger of this run, with what other runs have done, and the tables' parts.

        None where there is none. Raises `SinkError`.
        """
        shard, shards, ledger = self._running.shard, self._shards, None
        if shards is not None and self._ledger is not None:
            if shard is not None:
                shards.join_in(shard, self._clips, options)
                ledger = shards.ledger(shard.number, options)
            elif self._running.resume and shards.begun:
                shards.check_ended(self._clips, options)
                ledger = Ledger(self._ledger, options, resume=True)
                shards.hand_over(ledger, options)
            else:
                ledger = Ledger(self._ledger, options, self._running.resume)
                shards.remove()
        self.tasks = with_parts(self.tasks, keep=self.going_on or shard is not None)
        if self.going_on and shard is None:
            finish_tables(self.tasks)
        return ledger

    def end(self) -> None:
        """What is to be told and deleted once all of this run is done."""
        if self._running.shard is not None:
            complain(
                f"shard {self._running.shard} is done; once all are, --resume without --shard "
                "puts them together"
            )
        elif self._shards is not None:
            self._shards.remove()

    def _looked_at(self, ledger: Path, shards: Shards, overwrite: bool) -> bool:
        """Whether there is something of this batch that is gone on with. Raises `SinkError` where
        something is there that would be destroyed."""
        shard, resume = self._running.shard, self._running.resume
        if shard is None:
            begun = shards.folder if shards.begun else ledger if is_open(ledger) else None
            if begun is not None and not (resume or overwrite):
                raise SinkError(
                    f"{begun} is of a batch that was not ended: --resume goes on with it, "
                    "--overwrite begins anew"
                )
            return resume and (ledger.is_file() or shards.begun)
        if overwrite:
            raise SinkError(
                "--overwrite would delete what other shards write: delete their outputs first"
            )
        if ledger.is_file():
            raise SinkError(
                f"{ledger} is of a batch without shards, or of one that was put together: leave "
                "--shard out, or write elsewhere"
            )
        if not shards.begun:
            return False
        shards.check(shard)
        if shards.path_of(shard.number).is_file() and not resume:
            raise SinkError(f"shard {shard} was begun: --resume goes on with it")
        known, found = shards.clips, set(self._clips)
        new = found.difference(known)
        if len(new) == len(found):
            raise SinkError(
                f"{shards.folder} is of other clips ({known[0]}, not {self._clips[0]}): name them "
                "alike on all machines"
            )
        if new:
            complain(f"{len(new)} clips are new: they are scored when all is put together")
        self._clips = known
        return True
