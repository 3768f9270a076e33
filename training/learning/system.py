"""A system as the machinery sees it, and the one way in which all of them are trained.

A system is one file in training/systems/ with a `SYSTEM`: its options, its stages, and the network
that they leave behind. Everything else is the same for all: data, loops, checkpoints, figures,
report, export.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ferstream.engines.manifest import Supervision

from ..datasets.face_splits import Splits, load_splits
from ..datasets.label_lists import lists_for
from ..datasets.learning_faces import LearningFaces
from ..errors import RunUnfinished, SystemUnknown
from ..measuring.metrics import classifier_figures, confusion_matrix
from ..networks.slfer import ExpressionOutput
from ..systems import SYSTEMS
from .checkpoint import load_weights
from .draws import DrawBatches, DrawLoader, DrawnSet
from .fit import fit, processes
from .learner import Learner
from .options import PRECISIONS, Options
from .run_folder import REPORT, RunFolder, open_run, start_run

Array = npt.NDArray[np.float32]
N = TypeVar("N", bound=nn.Module)
DONE = "finished"
"""A file of this name in a stage's folder says that it has been trained to its end."""


class ImageNetwork(Protocol):
    """What an image system leaves behind; also an nn.Module."""

    features: int
    """D"""
    head: nn.Module
    """Features (B, D) to logits (B, K), also of a clip's features put together."""

    def recognise(self, crop: Tensor) -> ExpressionOutput:
        """Crops (B, 1, S, S) uint8 to features (B, D) and logits (B, K)."""


@dataclass(frozen=True)
class Stage:
    """One training of one network; the functions are called when its turn has come, so that it
    may build on what the stages before it left."""

    name: str
    learner: Callable[[], Learner]
    train: Callable[[], DrawnSet]
    validation: Callable[[], DrawnSet]
    epochs: int
    """0: the network is kept as the learner brings it."""
    batch: int = 0
    """Instead of the options'; 0: theirs."""
    alike: npt.NDArray[np.int64] | None = None
    """(N,) classes of the training set of which every batch holds as many; None: as they come."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """Values of options that hold for this stage instead of the run's."""


class LabelledData(Protocol):
    """What a system learns from, in splits."""

    @property
    def labels(self) -> tuple[str, ...]:
        """K names."""

    def about(self) -> dict[str, Any]:
        """What a run keeps of it: name, fingerprint, and the sizes train, validation and test."""


Found = tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]
"""Figures for metrics.json, and the predictions behind them."""


def faces_of(options: Options, folder: str | None) -> Splits:
    """The faces that options name: an image system's data."""
    return load_splits(options.faces, folder, limit=options.limit, seed=options.seed)


@dataclass(frozen=True)
class System:
    """The default bundle's system or a paper's; the last arguments are an image system's unless
    it brings its own.

    Args:
        name: of its file in training/systems/ and of its command.
        paper: number and title.
        options: its frozen dataclass.
        crop_px: side of the crops that its options ask for.
        stages: its trainings, in order.
        last_stage: name of the one whose network is measured and exported.
        network: that network, fresh, for K labels.
        data: what the options name, in splits.
        measure: network, options, data and run to figures on validation and test and what is
            behind them, as `measured` gives them, which serves where it is None. It may add
            "tables" ({title: {"head": [...], "rows": [[...]]}}) and "pictures" ({file in the run:
            caption}), which the report shows.
        parts: system, run, options and data to what the run brings to its bundle
            (training.exporting.export.Parts); None: what image systems bring.
        fitted: options and data to values of options that suit these data, which are taken where
            nobody chose others; None: the options suit any.
        units: names of the action units that its network's `look` tells, whether they are trained
            or weakly supervised, and a note on them; None: it tells none.
    """

    name: str
    paper: str
    options: type[Options]
    crop_px: Callable[[Any], int]
    stages: Callable[[Any, Any, RunFolder], Sequence[Stage]]
    last_stage: str
    network: Callable[[Any, int], nn.Module]
    data: Callable[[Any, str | None], LabelledData] = faces_of
    measure: Callable[[nn.Module, Any, Any, RunFolder], Found] | None = None
    parts: Callable[[System, RunFolder, Any, Any], Any] | None = None
    fitted: Callable[[Any, Any], dict[str, Any]] | None = None
    units: Callable[[Any], tuple[tuple[str, ...], Supervision, str]] | None = None


def open_system(name: str) -> System:
    """The system of this name.

    Raises:
        SystemUnknown: there is none.
    """
    if name not in SYSTEMS:
        raise SystemUnknown(f"there is no system {name!r}: there are {', '.join(SYSTEMS)}")
    system: System = importlib.import_module(f"ferstream.training.systems.{name}").SYSTEM
    return system


def train_system(
    system: System,
    options: Options,
    path: Path,
    folder: str | None,
    free: Collection[str] = (),
) -> RunFolder:
    """Train all stages, or go on where they were stopped; then measure and report.

    Whatever is refused of a first stage is refused before anything is written.

    Args:
        free: names of the options that nobody chose, which may be fitted to the data.

    Raises:
        RunMismatch: the folder holds another training.
        OptionsWrong: options and data do not go together.
        LossNotFinite, DoesNotFit: see `training.learning.fit`.
    """
    data = system.data(options, folder)
    if system.fitted is not None:
        fitted = system.fitted(options, data)
        options = replace(options, **{n: value for n, value in fitted.items() if n in free})
    if options.taxonomy:
        lists_for(data.labels, options.taxonomy)
    run = start_run(path, system.name, options, data.about())
    stages = system.stages(options, data, run)
    left = [stage for stage in stages if not (run.stage(stage.name) / DONE).exists()]
    fill = "batch" in free
    # The first one's learner and batches are made before anything is written.
    ready = StageTraining(left[0], options, fill=fill) if left else None
    if first := processes()[1] == 0:
        run.begin()
    for stage in left:
        (ready or StageTraining(stage, options, fill=fill)).fit(run)
        ready = None
    if not first:
        return run
    if not run.finished:
        network = trained_network(system, run, len(data.labels))
        measure = system.measure or partial(_measured_faces, system)
        metrics, predictions = measure(network, options, data, run)
        run = run.finish({**metrics, "parameters": _parameters(network)}, predictions)
    if not (run.path / REPORT).exists():
        from ..measuring.report import write_report

        write_report(run, [stage.name for stage in stages])
    return run


class StageTraining:
    """A stage with its learner and its batches, made of what the stages before it left.

    Raises:
        OptionsWrong: options and data do not go together.
    """

    def __init__(self, stage: Stage, options: Options, *, fill: bool = False) -> None:
        """``fill``: see `loader_of`."""
        self.stage, self.learner = stage, stage.learner()
        options = replace(options, **stage.own)
        if not self.learner.automatic_optimization:
            # Two optimizers in turn: Lightning accumulates for none of them.
            options = replace(options, accumulate=1)
        self.options = options
        self.train = loader_of(
            stage.train(),
            options,
            training=True,
            batch=stage.batch,
            alike=stage.alike,
            fill=fill,
        )
        self.validation = loader_of(stage.validation(), options, training=False, batch=stage.batch)

    def fit(self, run: RunFolder) -> None:
        """Train it to its end, or go on where it was stopped, in a folder of the run.

        Raises:
            LossNotFinite, DoesNotFit, CheckpointDamaged: see `training.learning.fit`.
        """
        stage, options, learner = self.stage, self.options, self.learner
        learner.mark = {"system": run.system, "stage": stage.name, "options": options.to_json()}
        learner.steps = max(1, len(self.train) // options.accumulate * stage.epochs)
        run.stage(stage.name).mkdir(parents=True, exist_ok=True)
        fit(
            learner,
            self.train,
            self.validation,
            run=run.stage(stage.name),
            epochs=stage.epochs,
            seed=options.seed,
            average_decay=options.average_decay,
            precision=PRECISIONS[options.precision],
            accumulate=options.accumulate,
            save_every_min=options.save_every_min,
        )
        (run.stage(stage.name) / DONE).touch()


def loader_of(
    faces: DrawnSet,
    options: Options,
    *,
    training: bool,
    batch: int = 0,
    alike: npt.NDArray[np.int64] | None = None,
    fill: bool = False,
) -> DrawLoader:
    """Batches of a set for this process, shuffled by seed and epoch where training; ``fill`` makes
    a batch of a whole set that is smaller than one."""
    world, rank = processes()
    size, parts = batch or options.batch, options.accumulate * world
    if fill and training and alike is None and parts <= len(faces) < size:
        size = len(faces) // parts * parts
    batches = DrawBatches(
        len(faces),
        size,
        seed=options.seed,
        training=training,
        weights=faces.weights if training else None,
        alike=alike,
        parts=options.accumulate,
        rank=rank,
        processes=world,
    )
    return DrawLoader(faces, batches, options.workers)


def trained_network(system: System, run: RunFolder, classes: int) -> nn.Module:
    """The network that `System.last_stage` of a run left, in evaluation mode.

    Raises:
        RunUnfinished, CheckpointForeign, CheckpointDamaged: see `training.learning.run_folder`.
    """
    options = system.options.from_json(run.about["options"])
    network = system.network(options, classes)
    return with_weights(network, run, system.last_stage)


def with_weights(network: N, run: RunFolder, stage: str) -> N:
    """A network with the weights that a finished stage of a run left, in evaluation mode.

    Raises:
        RunUnfinished, CheckpointForeign, CheckpointDamaged: see `training.learning.run_folder`.
    """
    if not (run.stage(stage) / DONE).exists():
        raise RunUnfinished(
            f"{run.path} has not finished its stage {stage}: let `ferstream train {run.system} "
            f"--run {run.path}` go on to its end"
        )
    load_weights(network, run.checkpoint(stage), run.system, stage)
    return network.eval()


def finished_run(path: str | Path) -> tuple[System, RunFolder]:
    """A run that was trained to its end, and its system.

    Raises:
        RunUnfinished: it was not, or is no run.
    """
    run = open_run(path)
    run.metrics()
    return open_system(run.system), run


def _measured_faces(
    system: System, network: nn.Module, options: Any, data: Any, run: RunFolder
) -> Found:
    return measured(network, data, system.crop_px(options))


def measured(network: nn.Module, data: Splits, crop_px: int) -> Found:
    """Figures on validation and test, and the logits and targets behind them."""
    metrics: dict[str, Any] = {"labels": list(data.labels)}
    predictions: dict[str, npt.NDArray[Any]] = {}
    for split, faces in (("validation", data.validation), ("test", data.test)):
        logits = logits_of(network, faces, crop_px)
        metrics[split] = classifier_figures(logits, faces.target, data.labels)
        matrix = confusion_matrix(faces.label, logits.argmax(axis=1), len(data.labels))
        metrics[split]["confusion"] = matrix.tolist()
        predictions |= {f"{split}_logits": logits, f"{split}_target": faces.target}
    return metrics, predictions


@torch.no_grad()
def logits_of(network: Any, faces: LearningFaces, crop_px: int, batch: int = 128) -> Array:
    """Logits (N, K) in float32, on the crops of run time."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device).eval()
    parts = []
    for start in range(0, len(faces), batch):
        rows = range(start, min(start + batch, len(faces)))
        crops = np.stack([faces.crop(row, crop_px) for row in rows])[:, None]
        parts.append(network.recognise(torch.from_numpy(crops).to(device)).logits.float().cpu())
    network.cpu()
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
