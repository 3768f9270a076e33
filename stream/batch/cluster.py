"""Workers on a Ray cluster: an actor for each core or GPU, each with a process that scores.

Ray places actors and says when one is lost; the batch itself (its order, its ledger, what is tried
again) is the runner's, as on one machine. What is sent is JSON. Each actor has one clip at a time,
so that nothing piles up. Clips and outputs lie in folders that all machines share; a word in the
ledger shows that they do. Needs Ray (the extra `ray`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import SinkError
from .ledger import Ledger
from .task import Say, Settings, Task
from .worker import ClipFailed, OnProgress, OutputFailed, ProcessWorker, Told, Worker, WorkerLost

_ANSWER_S = 10.0
_NEWS_S = 0.5
_END_S = 20.0
_APPEAR_S = 60.0
"""A file written on another machine may be seen so much later, as network file systems cache."""
_TELL_S = 30.0
_STARTS = 3
"""So often an actor is started anew before its start is given up."""
_STORE_BYTES = 80 * 2**20
"""The least that Ray takes; what is sent is small."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "2",
}
"""Read by Ray when it is imported: nothing is sent anywhere, nothing waits for minutes."""
_ON_GPU = ("tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt")
# The preface of HTTP/2 with empty settings, which every gRPC server answers with its own settings.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_BYTES, _SETTINGS = 9, 4


class Cluster:
    """A Ray cluster, connected to while the block lasts.

    Args:
        address: host and port of its head, "auto" for the one that runs on this machine; "" starts
            one here that ends with the block.
        jobs: workers that are wanted; None: one for each core or GPU that it has.

    Raises `SinkError` where there is none, or no Ray.
    """

    def __init__(self, address: str, jobs: int | None) -> None:
        self._address, self._jobs = address, jobs
        self._folder: Path | None = None

    def __enter__(self) -> Cluster:
        if self._address not in ("", "auto"):
            _greet(self._address)
        ray = _ray()
        options: dict[str, Any] = {"address": self._address or "local"}
        if not self._address:
            # Sockets lie in it, whose names are short.
            short = None if len(tempfile.gettempdir()) < 40 else "/tmp"
            self._folder = Path(tempfile.mkdtemp(prefix="ferstream-ray-", dir=short))
            options |= {
                "num_cpus": self._jobs or os.cpu_count() or 1,
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
                "_temp_dir": str(self._folder),
            }
        try:
            with _elsewhere():
                ray.init(**options, log_to_driver=False, logging_level="ERROR")
        except BaseException as error:
            self.__exit__()
            if not isinstance(error, Exception | SystemExit):
                raise
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SinkError(f"no Ray cluster at {self._address or 'this machine'}: {why}") from None
        _quiet()
        return self

    def __exit__(self, *_: object) -> None:
        _ray().shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def workers(
        self, settings: Settings, about: Mapping[str, Any], ledger: Ledger, say: Say
    ) -> list[Callable[[], Worker]]:
        """What makes the workers. Raises `SinkError`."""
        kind = "GPU" if settings.backend in _ON_GPU else "CPU"
        count = self._jobs or int(_ray().cluster_resources().get(kind, 0))
        if not count:
            raise SinkError(f"the Ray cluster has no {kind}: --backend names what there is")
        token = uuid.uuid4().hex
        ledger.mark(token)
        seen = _Shared(os.getcwd(), os.path.abspath(ledger.path), token)
        needs = {"num_cpus": 1, "num_gpus": 1 if kind == "GPU" else 0}
        return [partial(RayWorker, settings, about, seen, needs, say)] * count


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all machines see."""

    folder: str
    """Where names are meant from."""
    ledger: str
    token: str
    """A word in the ledger."""


class RayWorker:
    """Scores in an actor, wherever Ray puts it; in a new one where that is lost."""

    def __init__(
        self,
        settings: Settings,
        about: Mapping[str, Any],
        shared: _Shared,
        needs: Mapping[str, Any],
        say: Say,
    ) -> None:
        self._ray = _ray()
        self._make = partial(
            self._ray.remote(Scorer).options(max_restarts=0, max_concurrency=3, **needs).remote,
            json.dumps(asdict(settings)),
            json.dumps(dict(about)),
            json.dumps(asdict(shared)),
        )
        self._say = say
        self._actor: Any = None
        self._hello: Any = None
        self._failed_starts = 0
        self._tell_s = time.monotonic() + _TELL_S
        self._stopped_s = float("inf")
        self.process: int | None = None
        """The actor's process, once there is one; on its own machine."""

    def ready(self) -> bool:
        """Wait a moment for the actor."""
        if self.process is not None:
            return True
        if self._actor is None:
            self._actor = self._make()
            self._hello = self._actor.hello.remote()
        done, _ = self._ray.wait([self._hello], timeout=_NEWS_S)
        if not done:
            if time.monotonic() > self._tell_s:
                self._tell_s = float("inf")
                self._say("a worker waits until the Ray cluster has room for it")
            return False
        try:
            told = json.loads(self._ray.get(self._hello))
        except self._ray.exceptions.RayError as error:
            self._let_go()
            self._failed_starts += 1
            if self._failed_starts == _STARTS:
                raise OutputFailed(f"no worker can start: {_why(error)}") from None
            return False
        if "failed" in told:
            raise OutputFailed(told["failed"])
        self._failed_starts, self.process = 0, told["process"]
        return True

    def score(self, task: Task, on_progress: OnProgress) -> Told:
        """Score a clip."""
        errors = self._ray.exceptions.RayError
        answer = self._actor.score.remote(json.dumps(task.to_json()))
        try:
            while not self._ray.wait([answer], timeout=_NEWS_S)[0]:
                if time.monotonic() > self._stopped_s + _END_S:
                    raise ClipFailed(f"{task.source} was not scored: the batch was stopped")
                self._pass_on(on_progress)
            told: dict[str, Any] = json.loads(self._ray.get(answer))
            self._pass_on(on_progress)
        except errors as error:
            self._let_go()
            raise WorkerLost(_why(error)) from None
        if "clip failed" in told:
            raise ClipFailed(told["clip failed"])
        if "output failed" in told:
            raise OutputFailed(told["output failed"])
        for place in task.places:
            if place.is_file and not told["interrupted"]:
                _await(Path(place.target))
        return told

    def stop(self) -> None:
        """End the clip under way soon."""
        self._stopped_s = min(self._stopped_s, time.monotonic())
        if self.process is not None:
            self._actor.stop.remote()

    def close(self) -> None:
        """End the actor."""
        self._let_go()

    def _pass_on(self, on_progress: OnProgress) -> None:
        """What the actor has to tell."""
        with contextlib.suppress(self._ray.exceptions.RayError):  # its answer says so
            news = json.loads(self._ray.get(self._actor.news.remote(), timeout=_ANSWER_S))
            for line in news["said"]:
                self._say(line)
            if news["progress"]:
                on_progress(*news["progress"])

    def _let_go(self) -> None:
        actor, self._actor, self.process = self._actor, None, None
        if actor is not None:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)


class Scorer:
    """The actor: a process of its own that scores, so that a clip that brings it down costs
    nothing else, and that Ray's search path for libraries is none of its."""

    def __init__(self, settings: str, about: str, shared: str) -> None:
        self._lock = threading.Lock()
        self._said: list[str] = []
        self._progress: tuple[int, float] | None = None
        self._worker = ProcessWorker(
            Settings.from_json(json.loads(settings)), json.loads(about), None, self._say
        )
        self._shared = _Shared(**json.loads(shared))

    def hello(self) -> str:
        """Its process, or why it cannot work here."""
        shared = self._shared
        try:
            os.chdir(shared.folder)
            known = shared.token in Path(shared.ledger).read_text("utf-8")
        except OSError:
            known = False
        if known:
            return json.dumps({"process": os.getpid()})
        where = f"{shared.folder} and {shared.ledger} are not seen on {socket.gethostname()}"
        return json.dumps({"failed": f"{where}: all machines must share what is read and written"})

    def score(self, task: str) -> str:
        """Score a clip: what its worker told, or what failed."""
        with self._lock:
            self._progress = None
        try:
            told = self._worker.score(Task.from_json(json.loads(task)), self._note)
        except ClipFailed as error:
            told = {"clip failed": str(error)}
        except OutputFailed as error:
            told = {"output failed": str(error)}
        return json.dumps(dict(told))

    def news(self) -> str:
        """What it has to tell since it was asked last."""
        with self._lock:
            said, self._said = self._said, []
            return json.dumps({"said": said, "progress": self._progress})

    def stop(self) -> None:
        """End the clip under way soon."""
        self._worker.stop()

    def _say(self, line: str) -> None:
        with self._lock:
            self._said.append(line)

    def _note(self, frames: int, time_s: float) -> None:
        with self._lock:
            self._progress = (frames, time_s)


def _ray() -> Any:
    """Ray, told what it is not to do. Raises `SinkError` where it is not installed."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError:
        raise SinkError("--on ray needs Ray: pip install 'ferstream[ray]'") from None
    return ray


def _greet(address: str) -> None:
    """Raise `SinkError` where nobody answers as Ray does: Ray itself would ask for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise SinkError(f"--on ray:{address}: ray, ray:auto, or ray:HOST:PORT of its head (6379)")
    why = "what answers is no Ray"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S) as line:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            line.sendall(_HELLO)
            answer = line.recv(_FRAME_BYTES)
            if len(answer) > 3 and answer[3] == _SETTINGS:
                return
    except TimeoutError:
        why = f"it did not answer within {_ANSWER_S:g} s"
    except (OSError, OverflowError) as error:
        why = (getattr(error, "strerror", None) or str(error)).lower()
    raise SinkError(f"no Ray cluster at {address}: {why}; start its head, or name another")


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """From an empty folder: Ray's workers would import from the one that it is started in, where a
    clip's neighbour may have a library's name."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="ferstream-") as empty:
        os.chdir(empty)
        try:
            yield
        finally:
            os.chdir(here)


def _quiet() -> None:
    """A lost worker is told of in a line of ours; Ray prints paragraphs, on standard output, where
    rows may go. They stay in its logs."""
    from ray._private import worker

    def into_nothing(data: Any, ignore_prefix: bool) -> None:
        pass

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = into_nothing


def _why(error: Exception) -> str:
    """A line of Ray's paragraph."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def _await(path: Path) -> None:
    """Until a file that is written is seen here. Raises OutputFailed."""
    end_s = time.monotonic() + _APPEAR_S
    while not path.exists():
        if time.monotonic() > end_s:
            raise OutputFailed(
                f"{path} was written on another machine and is not seen here: all machines must "
                "share what is read and written"
            )
        with contextlib.suppress(OSError):
            os.listdir(path.parent)  # makes a network file system look again
        time.sleep(_NEWS_S)
