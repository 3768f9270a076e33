"""Two networks against each other as Lightning trains them: one makes, the other judges.

FaPE-GAN's generator and discriminator (paper 004, eq. 1 to 3), the decoder and critic of paper 001
(eq. 6 to 8). Checkpoints, logs, seeds and resuming are those of every `Learner`.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from .learner import Batch, Learner, Recipe, optimizer_of, schedule_of
from .options import Options


class AdversarialLearner(Learner):
    """Trains ``network.maker`` by `losses` and ``network.judge`` by `judge_loss`, in turn.

    In every batch the judge learns first, where it is its turn; then the maker does, while the
    judge stays as it is. Gradients are not accumulated over batches.
    """

    def __init__(
        self, network: nn.Module, options: Options, recipe: Recipe, judge_recipe: Recipe
    ) -> None:
        """``network`` has the modules ``maker`` and ``judge``; a recipe for each."""
        super().__init__(network, options, recipe)
        self.automatic_optimization = False
        self.judge_recipe = judge_recipe

    def judge_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What the judge minimises; nothing made may carry gradients to the maker."""
        raise NotImplementedError

    def judge_learns(self, index: int) -> bool:
        """Whether the judge learns from this batch of the epoch: from every one."""
        return True

    def after_judge_step(self) -> None:
        """What follows each of the judge's steps, such as clipping its weights."""

    def training_step(self, batch: Batch, index: int) -> Tensor:
        maker, judge = cast("list[Any]", self.optimizers())
        schedules = cast("list[Any]", self.lr_schedulers())
        found: dict[str, Tensor] = {}
        if self.judge_learns(index):
            judged, parts = self.judge_loss(batch)
            self._step(judge, judged)
            self.after_judge_step()
            found |= {"judge": judged, **parts}
        self.judge.requires_grad_(False)
        loss, parts = self.losses(batch)
        self._step(maker, loss)
        self.judge.requires_grad_(True)
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
    def judge(self) -> nn.Module:
        """The network that judges."""
        return cast("nn.Module", self.network.judge)

    @property
    def maker(self) -> nn.Module:
        """The network that makes."""
        return cast("nn.Module", self.network.maker)

    def configure_optimizers(self) -> Any:
        epochs = self.trainer.max_epochs or 1
        sides = ((self.maker, self.recipe), (self.judge, self.judge_recipe))
        optimizers, schedules = [], []
        for network, recipe in sides:
            wanted = [p for p in network.parameters() if p.requires_grad]
            optimizers.append(optimizer_of(recipe, wanted))
            schedules.append(schedule_of(recipe, optimizers[-1], self.steps, epochs))
        return optimizers, schedules
