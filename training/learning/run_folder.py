"""The folder of one training: what it was made of, and all that came out.

run.json            system, options, data and its fingerprint, commit, versions, state
STAGE/last.ckpt     weights of each stage, and how to go on from there
STAGE/log/          CSV logs, one version a start
metrics.json        figures on validation and test
predictions.npz     logits and targets behind them
*.png, report.html  to look at
"""

from __future__ import annotations

import csv
import datetime
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.files import written_whole

from ..errors import RunMismatch, RunUnfinished
from .checkpoint import LAST
from .fit import LOG
from .options import Options

RUN, METRICS, PREDICTIONS, REPORT = "run.json", "metrics.json", "predictions.npz", "report.html"
SCHEMA = 1
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class RunFolder:
    """A run on disk; `about` is the content of run.json."""

    path: Path
    about: dict[str, Any]

    @property
    def system(self) -> str:
        """The name of the system that it trains."""
        return str(self.about["system"])

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end and measured."""
        return self.about["finished"] is not None

    def begin(self) -> None:
        """Make the folder and its run.json where they are not there yet."""
        if not (self.path / RUN).is_file():
            self.path.mkdir(parents=True, exist_ok=True)
            _write_json(self.path / RUN, self.about)

    def stage(self, name: str) -> Path:
        """The folder of one stage."""
        return self.path / name

    def checkpoint(self, stage: str) -> Path:
        """A stage's weights."""
        return self.stage(stage) / LAST

    def metrics(self) -> dict[str, Any]:
        """The figures of a finished run.

        Raises:
            RunUnfinished: it is not finished.
        """
        if not self.finished:
            raise RunUnfinished(
                f"{self.path} is not finished: let `ferstream train {self.system} --run "
                f"{self.path}` go on to its end"
            )
        content: dict[str, Any] = json.loads((self.path / METRICS).read_text("utf-8"))
        return content

    def predictions(self) -> Arrays:
        """Logits and targets by split, such as test_logits (N, K)."""
        self.metrics()
        with np.load(self.path / PREDICTIONS) as stored:
            return dict(stored)

    def finish(self, metrics: dict[str, Any], predictions: Arrays) -> RunFolder:
        """Write the figures down, then that the run is finished."""
        with written_whole(self.path / PREDICTIONS) as fresh, fresh.open("wb") as file:
            np.savez_compressed(file, **predictions)
        _write_json(self.path / METRICS, metrics)
        return self._rewritten(finished=_now())

    def curves(self, stage: str) -> dict[str, list[tuple[int, float]]]:
        """What a stage logged: for each name its (step, value), each step as last trained.

        A run that was stopped has a version of the log for each start; where it went over the
        same steps again, the later version stands.
        """
        found: dict[str, dict[int, float]] = {}
        versions = sorted(self.stage(stage).glob(f"{LOG}/version_*/metrics.csv"), key=_version)
        for file in versions:
            with file.open(newline="") as lines:
                for row in csv.DictReader(lines):
                    step = int(float(row.pop("step")))
                    row.pop("epoch", None)
                    for name, value in row.items():
                        if value:
                            found.setdefault(name, {})[step] = float(value)
        return {name: sorted(points.items()) for name, points in found.items()}

    def _rewritten(self, **changes: Any) -> RunFolder:
        about = {**self.about, **changes}
        _write_json(self.path / RUN, about)
        return RunFolder(self.path, about)


def open_run(path: str | os.PathLike[str]) -> RunFolder:
    """A run that is there, finished or not.

    Raises:
        RunUnfinished: no run is there, or its run.json cannot be read.
    """
    file = Path(path) / RUN
    if not file.is_file():
        raise RunUnfinished(
            f"{path} is no run: {file} is not there; make one with `ferstream train SYSTEM --run "
            f"{path}`"
        )
    try:
        about = json.loads(file.read_text("utf-8"))
        about["system"], about["options"], about["finished"], about["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunUnfinished(f"{file} cannot be read ({error}): train into a new folder") from error
    return RunFolder(Path(path), about)


def start_run(path: Path, system: str, options: Options, data: dict[str, Any]) -> RunFolder:
    """A new run, of which nothing is written before `begin`, or the one that is there if it is
    the same training.

    Args:
        data: name, sizes and fingerprint of what it learns from.

    Raises:
        RunMismatch: another system, other options or other data are at work there.
    """
    if (path / RUN).is_file():
        run = open_run(path)
        _compare(run, system, options, data)
        return run
    about = {
        "schema": SCHEMA,
        "system": system,
        "options": json.loads(json.dumps(options.to_json())),
        "data": data,
        "commit": current_commit(),
        "versions": _versions(),
        "device": _device(),
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
        "started": _now(),
        "finished": None,
    }
    return RunFolder(path, about)


def _compare(run: RunFolder, system: str, options: Options, data: dict[str, Any]) -> None:
    new = "name a new folder with --run, or remove this one"
    if run.system != system:
        raise RunMismatch(f"{run.path} holds a training of {run.system}, not of {system}: {new}")
    before = type(options).from_json(run.about["options"])
    if names := options.differences(before):
        told = ", ".join(f"{n} {getattr(before, n)!r}, not {getattr(options, n)!r}" for n in names)
        raise RunMismatch(f"{run.path} was started with {told}: {new}")
    was, now = run.about["data"]["fingerprint"], data["fingerprint"]
    if was != now:
        raise RunMismatch(
            f"{run.path} was started on other data (fingerprint {was}, now {now}): {new}"
        )


def _versions() -> dict[str, str]:
    import lightning
    import torch

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "numpy": np.__version__,
    }


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return f"CPU, {torch.get_num_threads()} threads"


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _version(file: Path) -> int:
    return int(file.parent.name.removeprefix("version_"))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with written_whole(path) as fresh:
        fresh.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def current_commit() -> str:
    """The commit that the code is from; empty outside a repository."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip()
