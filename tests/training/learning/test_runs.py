"""Runs: stopped at any moment and taken up again, refused where they cannot go on, shared out."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ferstream.training.errors import (
    CheckpointDamaged,
    CheckpointForeign,
    DoesNotFit,
    LossNotFinite,
    OptionsWrong,
    RunMismatch,
    RunUnfinished,
    SystemUnknown,
)
from ferstream.training.learning.checkpoint import MARK, load_weights, read_checkpoint
from ferstream.training.learning.run_folder import RunFolder, open_run
from ferstream.training.learning.system import open_system, trained_network
from ferstream.training.networks.backbones import ResNet18, load_pretrained
from ferstream.training.systems.slfer import SlferLearner, slfer_network
from tests.training.conftest import lightning_warns
from tests.training.toy_runs import one_thread, python, toy_command, toy_options, train_toy

PATIENCE_S = 300


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(run / "joint" / "last.ckpt")["state_dict"]
    return state


def step_of(run: Path) -> int:
    path = run / "joint" / "last.ckpt"
    return int(read_checkpoint(path)["global_step"]) if path.exists() else 0


def killed_at(run: Path, data: str, step: int) -> int:
    """Train by the command line and kill -9 it at a step or after; returns the step kept."""
    command = [python(), "-m", *toy_command(run, data, save_every_min=0)]
    with subprocess.Popen(
        command, env=one_thread(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        begun_s = time.monotonic()
        while step_of(run) < step:
            if process.poll() is not None or time.monotonic() - begun_s > PATIENCE_S:
                process.kill()
                assert process.stderr is not None
                pytest.fail(process.stderr.read().decode(errors="replace")[-2000:])
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    return step_of(run)


def test_a_killed_run_ends_as_if_it_had_never_been_stopped(
    paper_run: RunFolder, tiny_dir: Path, tmp_path: Path
) -> None:
    """Killed within the first epoch, taken up, and equal in every bit to one left alone."""
    run = tmp_path / "run"
    step = killed_at(run, str(tiny_dir), step=2)
    assert 2 <= step < 6, "stopped in the middle of the first epoch"
    assert not open_run(run).finished
    with pytest.raises(RunUnfinished, match="is not finished"):
        open_run(run).metrics()
    with lightning_warns():
        done = train_toy(run, str(tiny_dir))
    assert done.finished and step_of(run) == 12
    alone, stopped = weights_of(paper_run.path), weights_of(run)
    assert alone.keys() == stopped.keys()
    for name, value in alone.items():
        assert torch.equal(value, stopped[name]), name
    assert done.metrics() == paper_run.metrics()
    np.testing.assert_array_equal(
        done.predictions()["test_logits"], paper_run.predictions()["test_logits"]
    )


def test_two_processes_validate_every_face_once(tiny_dir: Path, tmp_path: Path) -> None:
    """By torchrun with gloo: what both tallied together is what one process measures after."""
    run = tmp_path / "run"
    command = toy_command(
        run, str(tiny_dir), precision="fp32", average_decay=0, accumulate=1, epochs=1
    )
    launcher = [python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with subprocess.Popen(
        [*launcher, "-m", "--", *command],
        env={**one_thread(), "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            errors = process.communicate(timeout=PATIENCE_S)[1]
        except subprocess.TimeoutExpired:
            process.terminate()  # it ends those that it started, which are sessions of their own
            process.wait(60)
            raise
    assert process.returncode == 0, errors[-2000:]
    found = open_run(run)
    assert found.about["processes"] == 2 and step_of(run) == 6
    logged = found.curves("joint")
    for name, value in found.metrics()["validation"].items():
        if name in logged:
            assert logged[name][-1][1] == pytest.approx(value, abs=2e-4), name
    assert {"top1", "nll", "macro_recall"} <= logged.keys()


def test_a_finished_run_stays_as_it_is(paper_run: RunFolder, tiny_dir: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in paper_run.path.rglob("*")}
    train_toy(paper_run.path, str(tiny_dir), save_every_min=3, workers=1)
    assert {file: file.stat().st_mtime_ns for file in paper_run.path.rglob("*")} == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rate": 0.1}, r"rate 0\.001, not 0\.1: name a new folder"),
        ({"seed": 5, "variant": "st"}, "seed 0, not 5, variant 'proposed', not 'st'"),
    ],
)
def test_a_run_does_not_go_on_as_another(
    paper_run: RunFolder, tiny_dir: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(RunMismatch, match=said):
        train_toy(paper_run.path, str(tiny_dir), **changes)


def test_a_run_does_not_go_on_with_other_data(
    paper_run: RunFolder, tiny_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_dir, tmp_path / "data")
    place = tmp_path / "data" / "fer2013plus" / "labels.npz"
    with np.load(place) as stored:
        labels = dict(stored)
    labels["votes"][0] = labels["votes"][0][::-1]
    np.savez(place, **labels)
    with pytest.raises(RunMismatch, match="other data"):
        train_toy(paper_run.path, str(tmp_path / "data"))


def test_a_lost_loss_ends_in_one_line(
    tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = SlferLearner.losses

    def lost(self: SlferLearner, batch: Any) -> Any:
        loss, parts = losses(self, batch)
        return (loss * float("nan") if self.global_step == 2 else loss), parts

    monkeypatch.setattr(SlferLearner, "losses", lost)
    with lightning_warns(), pytest.raises(LossNotFinite, match="nan in epoch 1, step 3") as caught:
        train_toy(tmp_path / "run", str(tiny_dir), variant="baseline", accumulate=1)
    assert "\n" not in str(caught.value) and "--rate" in str(caught.value)
    assert step_of(tmp_path / "run") == 0, "nothing was kept of it"


def test_too_little_memory_ends_in_one_line(
    tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: SlferLearner, batch: Any) -> Any:
        torch.empty(2**55)

    monkeypatch.setattr(SlferLearner, "losses", full)
    with lightning_warns(), pytest.raises(DoesNotFit, match="--accumulate") as caught:
        train_toy(tmp_path / "run", str(tiny_dir), variant="baseline")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_runs_nothing(paper_run: RunFolder, tiny_dir: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "boom").touch, ())

    run = tmp_path / "run"
    shutil.copytree(paper_run.path, run)
    (run / "joint" / "finished").unlink()
    about = {**paper_run.about, "finished": None}
    (run / "run.json").write_text(json.dumps(about))
    torch.save({"state_dict": Bomb()}, run / "joint" / "last.ckpt")
    with pytest.raises(CheckpointDamaged, match="cannot be read as a checkpoint"):
        train_toy(run, str(tiny_dir))
    with pytest.raises(CheckpointDamaged, match="cannot be read as weights"):
        load_pretrained(ResNet18(excite=True), run / "joint" / "last.ckpt")
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"state_dict": 1}, 2)])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(CheckpointDamaged, match=r"last\.ckpt") as caught:
        read_checkpoint(tmp_path / "last.ckpt")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_system_is_refused(paper_run: RunFolder, tmp_path: Path) -> None:
    network = slfer_network(toy_options(), 8)
    path = paper_run.checkpoint("joint")
    load_weights(network, path, "slfer", "joint")
    with pytest.raises(CheckpointForeign, match="of slfer/joint, not of msau/coarse"):
        load_weights(network, path, "msau", "coarse")
    with pytest.raises(CheckpointForeign, match="does not fit this network"):
        load_weights(slfer_network(toy_options(), 7), path, "slfer", "joint")
    unmarked = read_checkpoint(path)
    del unmarked[MARK]
    torch.save(unmarked, tmp_path / "old.ckpt")
    with pytest.raises(CheckpointForeign, match="of unknown/unknown"):
        load_weights(network, tmp_path / "old.ckpt", "slfer", "joint")


def test_the_network_of_a_run_comes_back(paper_run: RunFolder) -> None:
    network = trained_network(open_system("slfer"), paper_run, 8)
    stored = weights_of(paper_run.path)
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, stored[f"network.{name}"]), name


def test_pretrained_weights_go_into_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    given = ResNet18(excite=False).state_dict()
    kept = {f"module.{name}": value for name, value in given.items()}
    torch.save({"state_dict": {**kept, "module.fc.weight": torch.zeros(9, 512)}}, tmp_path / "w")
    backbone = ResNet18(excite=True)
    load_pretrained(backbone, tmp_path / "w")
    found = backbone.state_dict()
    assert all(torch.equal(found[name], value) for name, value in given.items())
    torch.save({"layers.0.weight": torch.zeros(3)}, tmp_path / "w")
    with pytest.raises(CheckpointForeign, match="another network than ResNet18"):
        load_pretrained(backbone, tmp_path / "w")
    with pytest.raises(CheckpointDamaged, match="none"):
        load_pretrained(backbone, tmp_path / "none")


def test_no_run_and_no_system(tmp_path: Path) -> None:
    with pytest.raises(RunUnfinished, match="is no run"):
        open_run(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunUnfinished, match="cannot be read"):
        open_run(tmp_path)
    with pytest.raises(SystemUnknown, match=r"'slfre': there are default, compact, .*slfer"):
        open_system("slfre")


def test_too_few_faces_for_a_batch(tiny_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionsWrong, match="do not fill one batch of 128"):
        train_toy(tmp_path / "run", str(tiny_dir), batch=128)
    assert not (tmp_path / "run").exists(), "refused before anything is written"


def test_logs_of_every_start_make_one_curve(tmp_path: Path) -> None:
    """Steps that a stopped run went over again stand once, as last trained."""
    rows = ("loss,step,epoch\n3,1,0\n2,2,0\n9,3,0\n", "loss,step,epoch,top1\n1,3,0,\n,4,1,0.5\n")
    for version, text in enumerate(rows):
        folder = tmp_path / "joint" / "log" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(text)
    curves = RunFolder(tmp_path, {}).curves("joint")
    assert curves == {"loss": [(1, 3.0), (2, 2.0), (3, 1.0)], "top1": [(4, 0.5)]}
