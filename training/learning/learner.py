"""One stage's training as Lightning runs it, by one optimizer or by two networks in turn.

One stage's training as Lightning runs it: what every stage of every system shares.

B batch, K classes.

A generator and a discriminator as Lightning trains them, in turn.

FaPE-GAN's generator and discriminator (paper 004, eq. 1 to 3), the decoder and critic of paper 001
(eq. 6 to 8). Checkpoints, logs, seeds and resuming are those of every `Learner`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import lightning
import torch
from torch import Tensor, nn

from ..measuring.metrics import Tally
from .checkpoint import MARK, with_present_names
from .options import Options

Batch = dict[str, Tensor]
CLIMB = 0.3
"""Share of a short training's steps in which its rate climbs."""


@dataclass(frozen=True)
class Recipe:
    """An optimizer and how its rate goes.

    Args:
        kind: sgd has Nesterov momentum ``betas[0]``; rmsprop has none.
        rate: the highest.
        decay_epochs: the rate falls to ``decay`` of itself after each of these.
        one_cycle: instead, climb for this share of all steps and fall to nothing; 0: no.
    """

    kind: Literal["adam", "adamw", "sgd", "rmsprop"]
    rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    decay_epochs: tuple[int, ...] = ()
    decay: float = 0.1
    one_cycle: float = 0.0


class Learner(lightning.LightningModule):
    """Trains ``network``; a subclass gives `losses`, and `scores` where it classifies.

    Rates are set step by step, never epoch by epoch, so that a checkpoint holds the next one.
    """

    classes: int = 0
    """K, where validation tells a classifier's figures."""

    def __init__(self, network: nn.Module, options: Any, recipe: Recipe) -> None:
        """``options``: what the subclass's `losses` ask for."""
        super().__init__()
        self._trained: dict[str, tuple[Tensor, int]] = {}
        self.network, self.options, self.recipe = network, options, recipe
        self.mark: dict[str, Any] = {}
        """What a checkpoint says of itself; `training.learning.system` sets it."""
        self.steps = 1
        """Of the optimizer, over all epochs; set with it. Asking the Trainer would load the data
        before a checkpoint can say where in it to go on."""

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised, a scalar, and its named parts for the log."""
        raise NotImplementedError

    def scores(self, batch: Batch) -> Tensor:
        """Logits (B, K) of the label that ``batch["target"]`` (B, K) gives."""
        raise NotImplementedError

    def extra_figures(self, batch: Batch) -> dict[str, Tensor]:
        """Other figures of a validation batch by name, (B,) each; not a number where a row has
        none. Their means are logged beside a classifier's."""
        return {}

    def on_train_epoch_start(self) -> None:
        self._trained = {}

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss, parts = self.losses(batch)
        self.log("loss_step", loss, prog_bar=True, on_step=True, on_epoch=False, batch_size=1)
        self.tally_losses({"": loss, **parts})
        return loss

    def tally_losses(self, parts: dict[str, Tensor]) -> None:
        """Adds a batch's losses to those whose means are logged with the epoch; "" is the sum."""
        for name, part in parts.items():
            key = f"loss_{name}" if name else "loss"
            total, batches = self._trained.get(key, (0.0, 0))
            self._trained[key] = (total + part.detach().double(), batches + 1)

    def on_validation_epoch_start(self) -> None:
        self.tally = Tally(self.classes, self.device)
        self._loss = torch.zeros(2, dtype=torch.float64, device=self.device)
        self._extra: dict[str, Tensor] = {}

    def validation_step(self, batch: Batch, index: int) -> None:
        if self.classes:
            self.tally.add(self.scores(batch), batch["target"], batch["counts"])
            for name, value_B in self.extra_figures(batch).items():
                counts_B = batch["counts"] * ~value_B.isnan()
                found = torch.stack([(value_B.nan_to_num() * counts_B).sum(), counts_B.sum()])
                self._extra[name] = self._extra.get(name, 0) + found.double()
            return
        count = batch["counts"].sum()
        self._loss += torch.stack([self.losses(batch)[0] * count, count]).double()

    def on_validation_epoch_end(self) -> None:
        strategy = self.trainer.strategy
        if self.classes:
            self.tally.confusion = strategy.reduce(self.tally.confusion, reduce_op="sum")
            self.tally.sums = strategy.reduce(self.tally.sums, reduce_op="sum")
            found = self.tally.figures()
            for name, sums in self._extra.items():
                total, rows = strategy.reduce(sums, reduce_op="sum").tolist()
                found[name] = total / max(rows, 1.0)
        else:
            loss, count = strategy.reduce(self._loss, reduce_op="sum").tolist()
            found = {"validation_loss": loss / max(count, 1.0)}
        for name, (total, batches) in self._trained.items():
            found[name] = float(strategy.reduce(total / batches, reduce_op="mean"))
        # Lightning would put together what each process logs when the first one alone draws its
        # progress bar, and wait for ever: it is put together here.
        self.log_dict(found, prog_bar=True, rank_zero_only=True)

    def configure_optimizers(self) -> Any:
        return optimized(self, self.recipe, self.steps, self.trainer.max_epochs or 1)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        with_present_names(checkpoint)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[MARK] = self.mark


def optimized(module: nn.Module, recipe: Recipe, steps: int, epochs: int = 1) -> dict[str, Any]:
    """What Lightning asks of a module: a recipe's optimizer of the parameters that learn, and its
    rates over ``steps`` steps in ``epochs`` epochs."""
    optimizer = optimizer_of(recipe, [p for p in module.parameters() if p.requires_grad])
    schedule = schedule_of(recipe, optimizer, steps, epochs)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def optimizer_of(recipe: Recipe, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's optimizer."""
    if recipe.kind == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=recipe.rate,
            momentum=recipe.betas[0],
            nesterov=True,
            weight_decay=recipe.weight_decay,
        )
    if recipe.kind == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=recipe.rate, weight_decay=recipe.weight_decay)
    kind = torch.optim.Adam if recipe.kind == "adam" else torch.optim.AdamW
    return kind(parameters, lr=recipe.rate, betas=recipe.betas, weight_decay=recipe.weight_decay)


def schedule_of(
    recipe: Recipe, optimizer: torch.optim.Optimizer, steps: int, epochs: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The recipe's rates over ``steps`` steps in ``epochs`` epochs."""
    if recipe.one_cycle:
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=recipe.rate,
            total_steps=steps,
            pct_start=recipe.one_cycle,
            cycle_momentum=False,
            final_div_factor=1e3,
        )
    milestones = [epoch * steps // epochs for epoch in recipe.decay_epochs]
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, recipe.decay)


class AdversarialLearner(Learner):
    """Trains ``network.generator`` by `losses`, ``network.discriminator`` by `discriminator_loss`.

    In every batch the discriminator learns first, where it is its turn; then the generator does,
    while the discriminator stays as it is. Gradients are not accumulated over batches.
    """

    def __init__(
        self, network: nn.Module, options: Options, recipe: Recipe, discriminator_recipe: Recipe
    ) -> None:
        """``network`` has the modules ``generator`` and ``discriminator``; a recipe for each."""
        super().__init__(network, options, recipe)
        self.automatic_optimization = False
        self.discriminator_recipe = discriminator_recipe

    def discriminator_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What the discriminator minimises; it gives the generator no gradients."""
        raise NotImplementedError

    def discriminator_learns(self, index: int) -> bool:
        """Whether the discriminator learns from this batch of the epoch: from every one."""
        return True

    def after_discriminator_step(self) -> None:
        """What follows each of the discriminator's steps, such as clipping its weights."""

    def training_step(self, batch: Batch, index: int) -> Tensor:
        generator, discriminator = cast("list[Any]", self.optimizers())
        schedules = cast("list[Any]", self.lr_schedulers())
        found: dict[str, Tensor] = {}
        if self.discriminator_learns(index):
            told, parts = self.discriminator_loss(batch)
            self._step(discriminator, told)
            self.after_discriminator_step()
            found |= {"discriminator": told, **parts}
        self.discriminator.requires_grad_(False)
        loss, parts = self.losses(batch)
        self._step(generator, loss)
        self.discriminator.requires_grad_(True)
        for schedule in schedules:
            schedule.step()
        self.tally_losses({**found, "": loss, **parts})
        self.log("loss_step", loss, prog_bar=True, on_step=True, on_epoch=False, batch_size=1)
        return loss.detach()

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        optimizer.step()

    @property
    def discriminator(self) -> nn.Module:
        """It tells what was generated."""
        return cast("nn.Module", self.network.discriminator)

    @property
    def generator(self) -> nn.Module:
        """It generates."""
        return cast("nn.Module", self.network.generator)

    def configure_optimizers(self) -> Any:
        epochs = self.trainer.max_epochs or 1
        sides = ((self.generator, self.recipe), (self.discriminator, self.discriminator_recipe))
        optimizers, schedules = [], []
        for network, recipe in sides:
            wanted = [p for p in network.parameters() if p.requires_grad]
            optimizers.append(optimizer_of(recipe, wanted))
            schedules.append(schedule_of(recipe, optimizers[-1], self.steps, epochs))
        return optimizers, schedules
