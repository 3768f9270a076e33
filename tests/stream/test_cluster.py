"""Batches on a Ray cluster, one of whose workers is killed; and clusters that do not answer."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from ferstream.stream.batch import cluster as clusters
from ferstream.stream.batch.cluster import Cluster, RayWorker
from ferstream.stream.batch.ledger import Ledger
from ferstream.stream.batch.runner import Watcher, run_batch
from ferstream.stream.batch.task import Settings, Task
from ferstream.stream.batch.worker import LocalWorker, OutputFailed, Worker
from ferstream.stream.errors import SinkError
from ferstream.stream.recognize import Recognizer
from ferstream.stream.report import about

from .batches import crew, pictures, rows_of, tasks_in


class Killing(Watcher):
    """Kills the first worker's actor while it scores its second clip."""

    def __init__(self) -> None:
        self.workers: list[RayWorker] = []
        self.begun_clips: list[str] = []
        self.killed: list[int] = []
        self._first = 0

    def begun(self, task: Task) -> None:
        self.begun_clips.append(task.source)
        if threading.current_thread().name == "batch 0":
            self._first += 1
            process = self.workers[0].process
            if self._first == 2 and process is not None:
                self.killed.append(process)
                threading.Timer(0.1, os.kill, (process, signal.SIGKILL)).start()


@pytest.mark.slow
def test_a_killed_worker_loses_and_doubles_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="an extra: ray")
    clips = pictures(tmp_path / "clips")
    for at in range(6):
        shutil.copy(clips[0], tmp_path / "clips" / f"more{at}.png")
    clips = sorted(str(path) for path in (tmp_path / "clips").iterdir())
    said: list[str] = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    with Recognizer(threads=1) as recognizer:
        facts = about(recognizer)
        local = LocalWorker(Settings(), recognizer, facts, said.append)
        here = run_batch(tasks_in(tmp_path / "here", clips), crew(local))
    watcher = Killing()

    def made(make: Any) -> Worker:
        worker: RayWorker = make()
        watcher.workers.append(worker)
        return worker

    with (
        Cluster("", 2) as cluster,
        Ledger(tmp_path / "there" / "all.csv.ledger", {}, resume=False) as ledger,
    ):
        makers = [
            lambda make=make: made(make)
            for make in cluster.workers(Settings(), facts, ledger, said.append)
        ]
        assert len(makers) == 2
        there = run_batch(
            tasks_in(tmp_path / "there", clips), makers, ledger=ledger, watcher=watcher
        )
        # What is not shared with a machine is said, in place of rows that are missing.
        (tmp_path / "gone").mkdir()
        with Ledger(tmp_path / "gone" / "ledger", {}, resume=False) as lost:
            (maker, _) = cluster.workers(Settings(), facts, lost, said.append)
            (tmp_path / "gone" / "ledger").write_text("another machine's")
            with pytest.raises(OutputFailed, match="all machines must share"):
                run_batch(tasks_in(tmp_path / "gone", clips), [maker])
    assert watcher.killed and len(watcher.begun_clips) > len(clips)
    texts = [(tmp_path / name / "all.csv").read_text() for name in ("here", "there")]
    assert texts[0] == texts[1]
    assert len(rows_of(tmp_path / "there" / "all.csv")) == len(clips) - 1
    for name in ("source", "frames", "faces"):
        told = [[one[name] for one in batch.documents] for batch in (here, there)]
        assert told[0] == told[1]
    assert [str(one) for one in there.failures] == [str(one) for one in here.failures]
    assert not [line for line in said if "has room for it" not in line]  # a slow machine
    assert capsys.readouterr().out == ""


def test_an_address_without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with (
            pytest.raises(SinkError, match="did not answer within"),
            Cluster(f"127.0.0.1:{port}", 1),
        ):
            pass
    with pytest.raises(SinkError, match="refused"), Cluster(f"127.0.0.1:{port}", 1):
        pass
    for address in ("foo", "ray://head:10001", ":6379", "head:", "head:99999999"):
        with pytest.raises(SinkError, match=r"on ray:|no Ray cluster at"), Cluster(address, 1):
            pass


def test_something_else_at_the_address() -> None:
    def answer(server: socket.socket) -> None:
        line, _ = server.accept()
        with line:
            line.recv(100)
            line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(SinkError, match="what answers is no Ray"), Cluster(address, 1):
            pass
        thread.join()


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(SinkError, match=r"pip install 'ferstream\[ray\]'"), Cluster("", 1):
        pass
