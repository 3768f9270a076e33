"""A batch in shards: nothing lost or doubled, whatever comes first, stops or is named otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ferstream.stream.batch.plan import Plan, Running
from ferstream.stream.batch.runner import run_batch
from ferstream.stream.batch.shards import shard_of
from ferstream.stream.batch.worker import OutputFailed
from ferstream.stream.errors import PartInvalid, SinkError
from ferstream.stream.outputs import Outputs

from .batches import CLIPS, Writing, crew, rows_of

ROWS = [f"{at},{clip}" for clip in CLIPS for at in (0, 1)]


def run(
    folder: Path,
    shard: str = "",
    *,
    resume: bool = False,
    clips: Sequence[str] = CLIPS,
    options: Mapping[str, Any] | None = None,
    worker: Writing | None = None,
    overwrite: bool = False,
) -> list[str]:
    """What `score --to all.csv [--shard] [--resume]` does; the clips that it scored."""
    outputs = Outputs(to=(str(folder / "all.csv"),), overwrite=overwrite)
    running = Running(resume=resume, shard=shard_of(shard) if shard else None)
    worker = worker or Writing()
    plan = Plan(clips, outputs, running)
    ledger = plan.open_ledger(options or {})
    assert ledger is not None
    with ledger:
        run_batch(plan.tasks, crew(worker), ledger=ledger, join=not shard)
        plan.end()
    return worker.scored


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_shards_at_once_are_put_together(tmp_path: Path, count: int) -> None:
    with ThreadPoolExecutor(count) as pool:
        each = list(pool.map(lambda at: run(tmp_path, f"{at + 1}/{count}"), range(count)))
    assert sorted(clip for scored in each for clip in scored) == CLIPS
    assert max(map(len, each)) - min(map(len, each)) <= 1
    assert not (tmp_path / "all.csv").exists()
    assert run(tmp_path, resume=True) == []
    assert rows_of(tmp_path / "all.csv") == ROWS
    assert {path.name for path in tmp_path.iterdir()} == {"all.csv", "all.csv.ledger"}
    assert run(tmp_path, resume=True, clips=[*CLIPS, "g.mp4"]) == ["g.mp4"]
    assert len(rows_of(tmp_path / "all.csv")) == 14


def test_a_single_clip_is_a_batch_where_one_is_asked_for(tmp_path: Path) -> None:
    assert run(tmp_path, resume=True, clips=CLIPS[:1]) == CLIPS[:1]
    assert run(tmp_path, resume=True, clips=CLIPS[:1]) == []
    assert rows_of(tmp_path / "all.csv") == ROWS[:2]
    assert run(tmp_path, resume=True, clips=CLIPS[:2]) == CLIPS[1:2]
    assert rows_of(tmp_path / "all.csv") == ROWS[:4]


def test_a_shard_that_broke_goes_on(tmp_path: Path) -> None:
    run(tmp_path, "2/2")
    with pytest.raises(OutputFailed, match="disk is full"):
        run(tmp_path, "1/2", worker=Writing(broken="c.mp4"))
    with pytest.raises(SinkError, match="shard 1/2 has not ended: --shard 1/2 --resume"):
        run(tmp_path, resume=True)
    with pytest.raises(SinkError, match="shard 1/2 was begun: --resume"):
        run(tmp_path, "1/2")
    # A clip that came in the meantime is scored at the end.
    assert run(tmp_path, "1/2", resume=True, clips=["a0.mp4", *CLIPS]) == ["c.mp4", "e.mp4"]
    assert run(tmp_path, resume=True, clips=["a0.mp4", *CLIPS]) == ["a0.mp4"]
    assert rows_of(tmp_path / "all.csv") == ["0,a0.mp4", "1,a0.mp4", *ROWS]


def test_a_clip_that_failed_in_a_shard_is_tried_once_more(tmp_path: Path) -> None:
    run(tmp_path, "1/2", worker=Writing(fails="c.mp4"))
    run(tmp_path, "2/2")
    assert run(tmp_path, resume=True) == ["c.mp4"]
    assert rows_of(tmp_path / "all.csv") == ROWS


def test_a_clip_that_fails_anew_has_no_rows_of_before(tmp_path: Path) -> None:
    clips = [str(tmp_path / clip) for clip in CLIPS]
    for clip in clips:
        Path(clip).write_text("a clip")
    run(tmp_path, "1/2", clips=clips)
    run(tmp_path, "2/2", clips=clips)
    Path(clips[2]).write_text("another")
    run(tmp_path, resume=True, clips=clips, worker=Writing(fails=clips[2]))
    assert len(rows_of(tmp_path / "all.csv")) == 10


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "-1/3", "1/3/3", "1.5/3", "a/b", "1/"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(PartInvalid, match="I/N"):
        shard_of(text)


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "1/3")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refused: dict[str, dict[str, Any]] = {
        "in 3 shards, not 4": {"shard": "2/4"},
        r"other options \(top None, not 10\)": {
            "shard": "2/3",
            "options": {"top": 10},
        },
        "would delete what other shards write": {"shard": "2/3", "overwrite": True},
        "not ended: --resume goes on": {},
        "shard 2/3 has not ended": {"resume": True},
        "is of other clips": {"shard": "2/3", "clips": [f"x/{clip}" for clip in CLIPS]},
    }
    for match, asked in refused.items():
        with pytest.raises(SinkError, match=match):
            run(tmp_path, **asked)
    kept = {path: path.read_bytes() for path in before}
    assert kept == before
    run(tmp_path, "2/3")
    run(tmp_path, "3/3")
    renamed = [f"x/{clip}" for clip in CLIPS]
    with pytest.raises(SinkError, match="name them as the shards did"):
        run(tmp_path, resume=True, clips=renamed)
    run(tmp_path, resume=True)
    with pytest.raises(SinkError, match="was put together"):
        run(tmp_path, "1/3", resume=True)
    assert rows_of(tmp_path / "all.csv") == ROWS


def test_two_runs_of_one_shard(tmp_path: Path) -> None:
    outputs = Outputs(to=(str(tmp_path / "all.csv"),))
    plan = Plan(CLIPS, outputs, Running(shard=shard_of("1/2")))
    with plan.open_ledger({}) as _:  # type: ignore[union-attr]
        with pytest.raises(SinkError, match=r"1\.ledger is being written by another run"):
            run(tmp_path, "1/2", resume=True)
        assert run(tmp_path, "2/2") == CLIPS[1::2]
    assert run(tmp_path, "1/2", resume=True) == CLIPS[::2]
    assert run(tmp_path, resume=True) == []
    assert rows_of(tmp_path / "all.csv") == ROWS


def test_parts_of_another_batch_are_not_mixed_in(tmp_path: Path) -> None:
    (tmp_path / "all.csv.parts").mkdir()
    with pytest.raises(SinkError, match="of another batch: delete it"):
        run(tmp_path, "1/2")
    assert not (tmp_path / "all.csv.shards").exists()
