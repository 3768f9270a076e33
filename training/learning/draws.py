"""Draws: which row is shown when, with which chance, in which batch; sets of rows that are kept.

Batches in which every class has the same share (paper 001, IV-B; Hand et al. 2018).

N samples, K classes.

Which face is shown when, and with which chance: decided by seed and epoch alone.

A draw carries the key of every random choice about its showing, so that a picture is the same
whoever prepares it: one process or several, before or after a stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ferstream.engines.files import written_whole

from ..datasets.learning_faces import LearningFaces
from ..errors import OptionsWrong


def selective_batches(
    label_N: npt.NDArray[np.integer[Any]], classes: int, batch: int, *, seed: int, epoch: int = 0
) -> npt.NDArray[np.int64]:
    """One epoch's batches: indices (batches, batch), batch / classes of each class in each.

    Every class is gone through in an order of its own, and again from the start where it is
    small; an epoch has as many samples as the set, rounded down to whole batches, so of a large
    class each epoch shows another part. Classes that do not occur are left out.

    Raises:
        OptionsWrong: the batch is no multiple of the number of classes that occur.
    """
    occurring = [rows for k in range(classes) if len(rows := np.flatnonzero(label_N == k))]
    if not occurring or batch % len(occurring):
        raise OptionsWrong(
            f"batch is {batch}: to hold as many of every class it must be a multiple of the "
            f"{len(occurring)} classes that occur"
        )
    share = batch // len(occurring)
    batches = max(len(label_N) // batch, 1)
    random = np.random.default_rng((seed, epoch))
    drawn = [_cycled(rows, share * batches, random) for rows in occurring]
    together = np.concatenate([rows.reshape(batches, share) for rows in drawn], axis=1)
    return np.asarray(random.permuted(together, axis=1), np.int64)


def _cycled(
    rows: npt.NDArray[np.int64], count: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """As many rows as asked for, every one once before any comes again."""
    rounds = -(-count // len(rows))
    return np.asarray(np.concatenate([random.permutation(rows) for _ in range(rounds)])[:count])


def class_weights(label_N: npt.NDArray[np.integer[Any]], classes: int) -> npt.NDArray[np.float32]:
    """The ablation's weighted loss (Table VIII): N / (K n) of a class with n samples: (K,).

    Weighed by them every class counts alike, and the mean weight of a sample is 1. A class that
    does not occur has weight 0.
    """
    count = np.bincount(label_N, minlength=classes)[:classes]
    there = count > 0
    weight = np.zeros(classes, np.float32)
    weight[there] = len(label_N) / (there.sum() * count[there])
    return weight


_KEYS = 2**63 - 1
BESIDE = ("wild",)
"""Sets of judged faces without votes, which can stand beside others."""


class Draw(NamedTuple):
    """One showing of one face."""

    row: int
    key: int
    """Seeds `numpy.random.default_rng` for all that is chance about it."""
    counts: bool = True
    """False for one that only fills up the last batch of a validation."""

    def rng(self) -> np.random.Generator:
        """The generator for all that is chance about this showing."""
        return np.random.default_rng(self.key)


class DrawnSet(Protocol):
    """A dataset that is asked by `Draw`; its items hold "counts", the draw's, as a float."""

    weights: torch.Tensor | None
    """(N,) how often each is drawn in training; None: each once an epoch."""

    def __len__(self) -> int: ...

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]: ...


class KeptRows(Dataset[dict[str, torch.Tensor]]):
    """Rows of columns that are made when the first row is asked for, such as features of faces.

    A process that prepares batches would make them for itself: stages that learn from these have
    no ``workers``.
    """

    def __init__(
        self,
        rows: int,
        make: Callable[[], Mapping[str, npt.NDArray[Any]]],
        path: Path | None = None,
        weights: torch.Tensor | None = None,
    ) -> None:
        """``make`` gives columns of N = ``rows`` by name; they are kept in ``path``, an .npz file,
        where one is named, and taken from there if they are there already."""
        self.rows, self.make, self.path, self.weights = rows, make, path, weights

    @cached_property
    def columns(self) -> dict[str, torch.Tensor]:
        """The columns, (N, ...) each."""
        if self.path is None:
            return {name: torch.from_numpy(column) for name, column in self.make().items()}
        if not self.path.exists():
            made = self.make()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(self.path) as fresh, fresh.open("wb") as file:
                np.savez(file, **made)
        with np.load(self.path) as stored:
            return {name: torch.from_numpy(stored[name]) for name in stored.files}

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        row = {name: column[draw.row] for name, column in self.columns.items()}
        return {**row, "counts": torch.tensor(float(draw.counts))}


def sampling_weights(votes: npt.NDArray[np.float32], balance: float) -> torch.Tensor:
    """How often each photograph is shown, (N,): the rarer its emotions, the more often; ``balance``
    0 shows them as they are, 1 shows every emotion as often."""
    share = votes.mean(axis=0)
    per_class = (1 / np.maximum(share, 1e-6)) ** balance
    return torch.from_numpy(votes @ per_class).double()


def shown_weights(faces: LearningFaces, balance: float, beside_share: float) -> torch.Tensor | None:
    """How often each face is drawn, (N,): rarer expressions more often; faces that stand beside
    others make up ``beside_share`` of what is shown. None: all alike."""
    beside = np.array([name.split("/")[0] in BESIDE for name in faces.names])
    if not balance and not beside.any():
        return None
    weights = torch.zeros(len(faces), dtype=torch.float64)
    shares = ((~beside, 1 - beside_share * bool(beside.any())), (beside, beside_share))
    for rows, share in shares:
        if rows.any():
            drawn = sampling_weights(faces.target[rows], balance)
            weights[torch.from_numpy(rows)] = drawn / drawn.sum() * share
    return weights


class DrawBatches(Sampler[list[Draw]]):
    """Batches of draws for one of `processes`; all of them together make up each whole batch.

    Training leaves out what does not fill a last batch; validation fills it with draws that do
    not count, so that every process has as many batches.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        *,
        seed: int,
        training: bool,
        weights: torch.Tensor | None = None,
        alike: npt.NDArray[np.int64] | None = None,
        parts: int = 1,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        """``parts``: of a process's share of a batch, as gradients are accumulated; ``alike``:
        classes (count,) of which every batch of training holds as many.

        Raises:
            OptionsWrong: the batch cannot be shared out, or there are too few faces for one.
        """
        if batch % (parts * processes):
            raise OptionsWrong(
                f"a batch of {batch} cannot be shared by {processes} processes in {parts} parts: "
                "choose another --batch or --accumulate"
            )
        if training and count < batch:
            raise OptionsWrong(
                f"{count} training faces do not fill one batch of {batch}: choose a smaller "
                "--batch or take more faces"
            )
        if not count:
            raise OptionsWrong("there are no faces to validate on: take more with --limit")
        self.count, self.batch, self.seed, self.training = count, batch, seed, training
        self.alike = alike if training else None
        if self.alike is not None:
            self._alike(0)
        self.weights, self.parts, self.rank, self.processes = weights, parts, rank, processes
        self.epoch = self.start = 0
        self.sampler = self
        """Where Lightning looks for set_epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch comes; a resumed one begins where it was left."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def __len__(self) -> int:
        whole = self.count // self.batch if self.training else -(-self.count // self.batch)
        return whole * self.parts

    def __iter__(self) -> Iterator[list[Draw]]:
        draws, share = self._draws(), self.batch // self.processes
        part = share // self.parts
        for number in range(self.start, len(self)):
            whole, piece = divmod(number, self.parts)
            low = whole * self.batch + self.rank * share + piece * part
            yield draws[low : low + part]
        self.start = 0

    def _draws(self) -> list[Draw]:
        size = len(self) // self.parts * self.batch
        if not self.training:
            return [Draw(at % self.count, at, at < self.count) for at in range(size)]
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.alike is not None:
            order = self._alike(self.epoch).ravel()
        elif self.weights is None:
            order = rng.permutation(self.count)[:size]
        else:
            weight = self.weights.numpy().astype(np.float64)
            order = rng.choice(self.count, size, p=weight / weight.sum())
        keys = rng.integers(0, _KEYS, size)
        return [Draw(i, key) for i, key in zip(order.tolist(), keys.tolist(), strict=True)]

    def _alike(self, epoch: int) -> npt.NDArray[np.int64]:
        """Rows (batches, batch) of an epoch, as many of every class in each batch."""
        assert self.alike is not None
        classes = int(self.alike.max()) + 1
        return selective_batches(self.alike, classes, self.batch, seed=self.seed, epoch=epoch)


class DrawLoader(DataLoader[Any]):
    """A loader that a checkpoint can take up in the middle of an epoch."""

    def __init__(self, dataset: DrawnSet, batches: DrawBatches, workers: int = 0) -> None:
        assert isinstance(dataset, Dataset)
        super().__init__(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            persistent_workers=False,
            pin_memory=torch.cuda.is_available(),
        )
        self.batches = batches
        self.place = (0, 0)
        """Epoch, and batches of it that the optimizer has seen; the checkpoint's writer sets it."""

    def state_dict(self) -> dict[str, int]:
        """Where training is."""
        return {"epoch": self.place[0], "batch": self.place[1]}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on there."""
        self.place = (state["epoch"], state["batch"])
        self.batches.epoch, self.batches.start = self.place
