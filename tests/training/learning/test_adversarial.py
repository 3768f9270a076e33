"""Two networks against each other: who moves when, by which rate, and taken up after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from ferstream.training.learning.checkpoint import read_checkpoint, with_present_names
from ferstream.training.learning.draws import Draw
from ferstream.training.learning.fit import fit
from ferstream.training.learning.learner import AdversarialLearner, Batch, Recipe
from ferstream.training.learning.options import Options
from ferstream.training.learning.system import loader_of
from tests.training.conftest import lightning_warns

MAKER, JUDGE = Recipe("sgd", 0.1, decay_epochs=(1,)), Recipe("sgd", 0.01)


class Numbers(Dataset[dict[str, Tensor]]):
    weights: Tensor | None = None

    def __len__(self) -> int:
        return 32

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        value = torch.tensor([float(draw.rng().normal(2.0, 0.5))])
        return {"value": value, "counts": torch.tensor(float(draw.counts))}


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator = nn.Linear(1, 1), nn.Linear(1, 1)


class Toy(AdversarialLearner):
    """A line that should make numbers like those of the set."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(Two(), Options(batch=4, precision="fp32"), MAKER, JUDGE)
        self.seen: list[tuple[bool, bool]] = []
        self.clipped = 0

    def made(self, batch: Batch) -> Tensor:
        found: Tensor = self.generator(torch.randn_like(batch["value"]))
        return found

    def discriminator_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        false = F.softplus(self.discriminator(self.made(batch).detach())).mean()
        return F.softplus(-self.discriminator(batch["value"])).mean() + false, {"false": false}

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss = F.softplus(-self.discriminator(self.made(batch))).mean()
        return loss, {"fooling": loss}

    def discriminator_learns(self, index: int) -> bool:
        return index % 2 == 0

    def after_discriminator_step(self) -> None:
        self.clipped += 1

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.before = [p.detach().clone() for p in self.network.parameters()]

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        moved = [
            not torch.equal(a, b)
            for a, b in zip(self.before, self.network.parameters(), strict=True)
        ]
        self.seen.append((any(moved[:2]), any(moved[2:])))


def trained(run: Path, epochs: int, stop_after: int = 0) -> Toy:
    toy = Toy()
    options = toy.options
    toy.steps = 8 * epochs
    train = loader_of(Numbers(), options, training=True)
    if stop_after:

        def stop(*_: Any) -> None:
            if len(toy.seen) >= stop_after:
                raise KeyboardInterrupt

        toy.after_discriminator_step = stop  # type: ignore[method-assign]
    with lightning_warns():
        fit(
            toy,
            train,
            loader_of(Numbers(), options, training=False),
            run=run,
            epochs=epochs,
            seed=0,
            average_decay=0.0,
            precision="32-true",
            save_every_min=0,
        )
    return toy


def test_the_maker_moves_always_and_the_judge_when_it_is_its_turn(tmp_path: Path) -> None:
    toy = trained(tmp_path, 2)
    assert toy.seen == [(True, True), (True, False)] * 8
    assert toy.clipped == 8
    assert all(p.requires_grad for p in toy.network.parameters())
    rates = [optimizer.param_groups[0]["lr"] for optimizer in toy.trainer.optimizers]
    assert rates == pytest.approx([0.01, 0.01]), "the generator's fell after the first epoch"


def test_parts_are_logged_over_the_batches_that_had_them(tmp_path: Path) -> None:
    toy = trained(tmp_path, 1)
    logged = toy.trainer.logged_metrics
    assert {"loss", "loss_discriminator", "loss_false", "loss_fooling", "validation_loss"} <= set(
        logged
    )
    assert toy._trained["loss_discriminator"][1] == 4 and toy._trained["loss_fooling"][1] == 8
    assert logged["loss"] == pytest.approx(float(logged["loss_fooling"]))


def test_a_stopped_contest_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    alone = trained(tmp_path / "alone", 2)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trained(tmp_path / "stopped", 2, stop_after=3)
    state = read_checkpoint(tmp_path / "stopped" / "last.ckpt")
    assert 0 < state["global_step"] < 24
    resumed = trained(tmp_path / "stopped", 2)
    assert len(resumed.seen) == 16 - 4
    for a, b in zip(alone.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_checkpoints_under_the_former_names_are_read() -> None:
    old = {
        "network.maker.weight": 1,
        "network.judge.judge.bias": 2,
        "maker.code": 3,
        "network.judged.a": 4,
    }
    read = with_present_names({"state_dict": old, "epoch": 1})
    assert list(read["state_dict"]) == [
        *("network.generator.weight", "network.discriminator.judge.bias", "generator.code"),
        "network.judged.a",
    ]
