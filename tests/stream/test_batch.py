"""Batches: nothing lost, doubled or changed, whatever ends them and however many workers."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ferstream.stream.batch.ledger import Ledger
from ferstream.stream.batch.runner import Batch, Watcher, finish_tables, run_batch, with_parts
from ferstream.stream.batch.task import Settings, Task
from ferstream.stream.batch.worker import ClipFailed, LocalWorker, OutputFailed, ProcessWorker
from ferstream.stream.errors import SinkError, StreamError
from ferstream.stream.formats import named
from ferstream.stream.outputs import Outputs
from ferstream.stream.recognize import Recognizer
from ferstream.stream.report import about
from ferstream.stream.sources import open_clip

from .batches import CLIPS, Writing, crew, pictures, rows_of, tasks_in


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_table_is_the_same_whatever_the_number_of_workers(tmp_path: Path, count: int) -> None:
    workers = [Writing() for _ in range(count)]
    batch = run_batch(tasks_in(tmp_path), crew(*workers))
    assert rows_of(tmp_path / "all.csv") == [f"{k},{clip}" for clip in CLIPS for k in (0, 1)]
    assert [document["source"] for document in batch.documents] == CLIPS
    assert sorted(name for worker in workers for name in worker.scored) == CLIPS
    assert [path.name for path in tmp_path.iterdir()] == ["all.csv"]
    assert all(worker.closed for worker in workers)


def test_a_clip_that_fails_stops_nothing_and_is_named(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger", {}, resume=False) as ledger:
        batch = run_batch(tasks_in(tmp_path), crew(Writing(fails="c.mp4")), ledger=ledger)
    assert [str(error) for error in batch.failures] == ["c.mp4 is no clip"]
    assert batch.documents[2] == {
        "source": "c.mp4",
        "frames": 0,
        "faces": [],
        "error": "c.mp4 is no clip",
    }
    assert len(rows_of(tmp_path / "all.csv")) == 10
    states = [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()][1:-1]
    assert [one["source"] for one in states if one["state"] == "failed"] == ["c.mp4"]


def test_an_output_that_fails_ends_the_batch(tmp_path: Path) -> None:
    other = Writing()
    with pytest.raises(OutputFailed, match="disk is full"):
        run_batch(tasks_in(tmp_path), crew(Writing(broken="a.mp4"), other))
    assert other.closed
    assert not (tmp_path / "all.csv").exists()


class Stopping(Watcher):
    """Sets `stop` after some clips."""

    def __init__(self, after: int) -> None:
        self.stop, self._left = threading.Event(), after

    def ended(self, task: Task, told: Mapping[str, Any] | None, error: StreamError | None) -> None:
        self._left -= 1
        if not self._left:
            self.stop.set()


def resumed(folder: Path, **options: Any) -> tuple[Batch, Writing]:
    ledger = Ledger(folder / "ledger", options, resume=True)
    each = Outputs(to=(str(folder / "all.csv"),), overwrite=True).for_sources(CLIPS)
    tasks = with_parts([Task(c, tuple(p)) for c, p in zip(CLIPS, each, strict=True)], keep=True)
    finish_tables(tasks)
    worker = Writing()
    batch = run_batch(tasks, crew(worker), ledger=ledger)
    ledger.close()
    return batch, worker


def test_what_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    ledger, watcher = Ledger(tmp_path / "ledger", {"top": 10}, resume=False), Stopping(2)
    run_batch(
        tasks_in(tmp_path), crew(Writing()), ledger=ledger, stop=watcher.stop, watcher=watcher
    )
    ledger.close()
    assert not (tmp_path / "all.csv").exists()
    batch, worker = resumed(tmp_path, top=10)
    assert worker.scored == CLIPS[2:]
    assert batch.skipped == 2
    assert [document["source"] for document in batch.documents] == CLIPS
    assert rows_of(tmp_path / "all.csv") == [f"{k},{clip}" for clip in CLIPS for k in (0, 1)]
    again, idle = resumed(tmp_path, top=10)
    assert (idle.scored, again.skipped) == ([], 6)
    assert len(rows_of(tmp_path / "all.csv")) == 12


@pytest.mark.parametrize("where", ["join", "rename", "replace", "rmtree"])
def test_killed_while_the_table_is_made(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    ledger = Ledger(tmp_path / "ledger", {}, resume=False)
    with monkeypatch.context() as at:
        if where == "join":
            at.setattr("ferstream.stream.sinks.csv.join", kill)
        elif where == "rmtree":
            at.setattr(shutil, "rmtree", kill)
        else:
            real = getattr(Path, where)

            def moved(path: Path, target: Path) -> Path:
                if path.name in ("all.csv.parts", "all.csv.part"):
                    kill()
                found: Path = real(path, target)
                return found

            at.setattr(Path, where, moved)
        with pytest.raises(Killed):
            run_batch(tasks_in(tmp_path), crew(Writing()), ledger=ledger)
    ledger.close()
    resumed(tmp_path)
    assert rows_of(tmp_path / "all.csv") == [f"{k},{clip}" for clip in CLIPS for k in (0, 1)]
    assert {path.name for path in tmp_path.iterdir()} == {"all.csv", "ledger"}


def test_what_a_killed_batch_left_is_no_part_of_another(tmp_path: Path) -> None:
    for task in tasks_in(tmp_path, ["old.mp4", "a.mp4"])[:1]:
        Writing().score(task, lambda frames, time_s: None)
    run_batch(tasks_in(tmp_path), crew(Writing()))
    assert not any("old" in row for row in rows_of(tmp_path / "all.csv"))


def test_a_ledger_of_other_options_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger", {"top": 10, "bundle": "x"}, resume=False).close()
    with pytest.raises(SinkError, match=r"other options \(bundle 'x', not 'y'\)"):
        Ledger(tmp_path / "ledger", {"top": 10, "bundle": "y"}, resume=True)


@pytest.mark.parametrize("text", ["{}\n", "no json\n", '{"ledger":9,"options":{}}\n', "[]\n"])
def test_what_is_no_ledger_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ledger"
    path.write_text(text)
    with pytest.raises(SinkError, match="no ledger"):
        Ledger(path, {}, resume=True)
    assert path.read_text() == text


def test_a_line_cut_by_a_power_failure_is_written_anew(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"film")
    path = tmp_path / "ledger"
    first = Ledger(path, {}, resume=False)
    first.note(str(clip), "done", {"source": str(clip)})
    first.note("b", "done", {"source": "b"})
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    second = Ledger(path, {}, resume=True)
    assert second.done(str(clip)) and not second.done("b")
    second.note("b", "done", {"source": "b"})
    second.close()
    assert path.read_bytes() == whole
    clip.write_bytes(b"another")
    with Ledger(path, {}, resume=True) as third:
        assert not third.done(str(clip)), "the clip has changed"
        assert third.done("b")


def test_processes_write_what_one_writes(tmp_path: Path) -> None:
    """To the bit; and a process that is killed costs its clip alone."""
    clips = pictures(tmp_path / "clips")
    said: list[str] = []
    told: dict[str, Batch] = {}
    with Recognizer(threads=1) as recognizer:
        facts = about(recognizer)
        local = LocalWorker(Settings(), recognizer, facts, said.append)
        (tmp_path / "one").mkdir()
        told["one"] = run_batch(tasks_in(tmp_path / "one", clips), crew(local))
    made = [ProcessWorker(Settings(), facts, core, said.append) for core in range(2)]
    (tmp_path / "two").mkdir()
    told["two"] = run_batch(tasks_in(tmp_path / "two", clips), crew(*made))
    texts = [(tmp_path / name / "all.csv").read_text() for name in told]
    assert texts[0] == texts[1]
    assert len(rows_of(tmp_path / "one" / "all.csv")) >= 3
    assert all("1b.png" in str(one) for batch in told.values() for one in batch.failures)
    assert "1b.png" in told["two"].documents[2]["error"]
    dying = ProcessWorker(Settings(), facts, 0, said.append)
    task = Task(clips[0])
    dying.score(task, lambda frames, time_s: None)
    assert dying._process is not None
    os.kill(dying._process.pid, signal.SIGKILL)
    with pytest.raises(ClipFailed, match="ended by signal 9"):
        dying.score(task, lambda frames, time_s: None)
    assert dying.score(task, lambda frames, time_s: None)["document"]["frames"] == 1
    dying.close()
    assert not said


def test_a_clip_that_is_done_is_let_go_of(tmp_path: Path) -> None:
    """Python's collector would come once in hundreds of clips, each of which holds a decoder."""
    clips = pictures(tmp_path / "clips")
    with Recognizer(threads=1) as recognizer:
        source = open_clip(clips[0])
        gone = weakref.ref(source)
        local = LocalWorker(Settings(), recognizer, about(recognizer), print, source)
        gc.disable()
        try:
            del source
            local.score(Task(clips[0]), lambda frames, time_s: None)
            assert gone() is None
            assert gc.get_freeze_count()
        finally:
            gc.enable()
            local.close()
        assert not gc.get_freeze_count()


def test_settings_and_tasks_travel_as_json(tmp_path: Path) -> None:
    settings = Settings(columns=("words",), top=3, faces={**Settings().faces, "max_faces": 2})
    assert Settings.from_json(json.loads(json.dumps(asdict(settings)))) == settings
    assert settings.face_options().max_faces == 2
    assert settings.outputs().top == 3
    (task, *_) = tasks_in(tmp_path)
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task
    assert task.places[0].format is named("csv")


def test_killed_at_any_moment_and_resumed_as_typed(tmp_path: Path) -> None:
    """The command as it is, killed again and again until a run ends by itself."""
    clips = pictures(tmp_path / "clips")
    Path(clips[2]).unlink()
    for at in range(3):
        shutil.copy(clips[0], tmp_path / "clips" / f"more{at}.png")
    words = ["--csv", "all.csv", "--to", "{source}.jsonl", "--jobs", "2"]
    start = "import sys; sys.path[:1] = []; from ferstream import main; main()"
    command = [sys.executable, "-c", start, "score", "clips", *words]
    whole = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    wanted = {path.name: path.read_text() for path in tmp_path.glob("*.*") if path.is_file()}
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "numpy.py").write_text("raise SystemExit('not from here')")
    shutil.move(tmp_path / "clips", tmp_path / "again" / "clips")
    for wait_s in (3.0, 5.0, 7.0, None):
        resume = ["--resume"] if list((tmp_path / "again").glob("*.ledger")) else []
        run = subprocess.Popen(
            [*command, *resume],
            cwd=tmp_path / "again",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, error = run.communicate(timeout=wait_s)
        except subprocess.TimeoutExpired:
            run.kill()
            run.communicate()
            continue
        assert run.returncode == 0, error
    (tmp_path / "again" / "numpy.py").unlink()
    found = {path.name: path.read_text() for path in (tmp_path / "again").glob("*.*")}
    for name in ("all.csv", "0.jsonl", "more2.jsonl"):
        assert found[name] == wanted[name]
    assert found.keys() == wanted.keys()
    refused = subprocess.run(
        [*command, "--resume", "--top", "3"], cwd=tmp_path / "again", capture_output=True, text=True
    )
    assert refused.returncode != 0 and "other options (top 10, not 3)" in refused.stderr
