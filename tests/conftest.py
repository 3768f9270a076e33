"""Fixtures shared by all tests, which of them are slow, and how two processes share them out."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if _worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Tests look at what is left in the folder for temporary files: it is this worker's alone.
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix=f"{_worker}-")
    tempfile.tempdir = None
    atexit.register(shutil.rmtree, os.environ["TMPDIR"], ignore_errors=True)

import ferstream.engines.offline  # noqa: F401  before any test imports a library

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent

SLOW = (
    # Networks are trained or exported, or faces are rendered.
    *("training/systems/test_*", "training/exporting/test_*", "calibration/test_data.py"),
    *("training/test_first_command.py", "training/test_own_labels.py"),
    *("training/test_training_cli.py", "training/test_data_cli.py"),
    *("training/networks/test_networks*", "training/networks/test_*_networks.py"),
    *("training/networks/test_msau_sizes.py", "training/measuring/test_evaluate*"),
    *("training/measuring/test_tables.py", "training/measuring/test_clear_view.py"),
    *("training/learning/test_runs.py", "training/learning/test_draws.py"),
    *("training/learning/test_adversarial.py", "training/learning/test_teachers.py"),
    *("training/learning/test_unit_labels.py", "training/datasets/test_word_sets.py"),
    *("training/datasets/test_readers*", "training/datasets/test_synthetic*"),
    *("training/datasets/test_clip_splits.py", "training/datasets/test_front_data.py"),
    *("training/papers/test_contours.py", "training/papers/test_peak_*"),
    *("training/papers/test_pose_pairs.py", "training/papers/test_emo135_chain.py"),
    # Cameras, servers, browsers and processes of their own are started.
    *("demo/test_app_c*", "demo/test_app_login.py", "demo/test_app_page.py", "demo/test_live_*"),
    *("stream/test_serve*", "stream/test_camera.py", "stream/test_gstreamer.py"),
    *("stream/test_rtsp_out.py", "stream/test_redirect.py", "stream/test_sandbox.py"),
    *(
        "stream/test_seccomp.py",
        "stream/test_killed.py",
        "stream/test_mqtt.py",
        "stream/test_mjpeg.py",
    ),
    *("stream/test_network_rows.py", "stream/test_metrics.py", "stream/test_stream_cli.py"),
    *("stream/test_subtitles_in_browser.py", "stream/test_full_disk.py", "stream/test_scarce.py"),
    *("stream/test_live_sources.py", "stream/test_odd_*", "stream/test_process.py"),
    *("stream/test_pipelines.py", "stream/test_library.py", "stream/test_bench.py"),
    *("stream/test_call.py", "stream/test_tables.py", "stream/test_batch.py", "test_examples.py"),
    "stream/test_remote_batch.py",
    *("engines/test_bindings.py", "engines/test_private.py", "engines/test_signal_stack.py"),
    *("engines/test_bench.py", "engines/test_default_plans.py", "stream/test_hls.py"),
    *("calibration/test_calibrate_cli.py", "test_cli.py", "test_readme.py", "test_offline.py"),
    *("test_wheel.py", "test_default_bundle.py", "test_fuzz.py", "test_trials.py"),
    *("test_site.py", "test_deploy.py"),
    # Whole clips are played.
    *("stream/test_one_*", "stream/test_around.py", "stream/test_sources.py"),
    *("stream/test_file_times.py", "stream/test_settled.py", "stream/test_annotated_video.py"),
    *("stream/test_track.py", "stream/test_search.py", "stream/test_faces_found.py"),
    *("stream/test_row_schema.py", "stream/test_recognize.py", "stream/test_claims.py"),
)
"""Files that `make test-fast` does not even import: it has no use for processes and training."""

WITHOUT_MEDIAPIPE = find_spec("mediapipe") is None and (
    sys.version_info >= (3, 13) or "FERSTREAM_WITHOUT_MEDIAPIPE" in os.environ
)
"""Whether it is left out on purpose, or not made for this Python: elsewhere its lack is a fault."""

REAL = ("data_dir", "clips_dir")
"""Whoever asks for these is slow too."""

TOGETHER = {
    # Cameras, browsers and servers whose tests mind each other's load.
    "real time": (
        *("demo/test_live_*", "demo/test_app_page*", "demo/test_app_cameras.py"),
        *("stream/test_camera.py", "stream/test_gstreamer.py", "stream/test_odd_packets.py"),
        *("stream/test_live_sources.py", "stream/test_rtsp_out.py", "stream/test_redirect.py"),
        *("stream/test_serve_live*", "stream/test_serve_doors.py"),
    ),
    # Files that share a costly fixture of the session, by its name.
    "trained": (
        *("training/systems/test_stages.py", "training/exporting/test_export.py"),
        *("training/measuring/test_evaluate_clips.py", "training/test_training_cli.py"),
        "training/systems/test_start.py",
    ),
    "paper_run": (
        *("training/learning/test_runs.py", "training/measuring/test_tables.py"),
        "training/exporting/test_image_bundle.py",
    ),
}
"""Files that one process runs one after the other, as the first of all."""

FIRST = ("training/", "test_", "demo/", "calibration/", "stream/", "engines/")
"""Folders in the order in which workers take them up: short files are last, for an even end."""


def _is_slow(path: Path) -> bool:
    name = path.relative_to(TESTS).as_posix()
    return any(fnmatch(name, pattern) for pattern in SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Slow files are not even imported where slow tests are left out."""
    fast = config.option.markexpr == "not slow"
    if fast and collection_path.name.startswith("test_") and collection_path.suffix == ".py":
        return _is_slow(collection_path) or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests are marked so; in several processes they come in the order of `FIRST`."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if _is_slow(item.path) or not set(REAL).isdisjoint(fixtures):
            item.add_marker("slow")
        if WITHOUT_MEDIAPIPE and item.get_closest_marker("mediapipe"):
            item.add_marker(pytest.mark.skip("MediaPipe is not installed"))
    if _worker:
        items.sort(key=lambda item: _place(item.path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    """See `_without_mediapipe`."""
    return (yield from _without_mediapipe())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """See `_without_mediapipe`."""
    return (yield from _without_mediapipe())


def _without_mediapipe() -> Generator[None, Any, Any]:
    """Tests that open MediaPipe's networks themselves are skipped where it is left out."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if error.name != "mediapipe" or not WITHOUT_MEDIAPIPE:
            raise
        pytest.skip("MediaPipe is not installed")


def _group(name: str) -> str | None:
    for group, patterns in TOGETHER.items():
        if any(fnmatch(name, pattern) for pattern in patterns):
            return group
    return None


def _place(path: Path) -> tuple[int, int]:
    name = path.relative_to(TESTS).as_posix()
    at = next(at for at, start in enumerate(FIRST) if name.startswith(start))
    group = _group(name)
    return len(TOGETHER) if group is None else list(TOGETHER).index(group), at


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole files are handed out, those of `TOGETHER` with each other."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            name = nodeid.partition("::")[0].removeprefix("tests/")
            return _group(name) or name

    return Files(config, log)


def _folder(variable: str, beside: str) -> Path:
    """The folder an environment variable names, or its usual place beside the repository."""
    folder = Path(os.environ.get(variable, REPOSITORY.parent / "shared" / beside))
    if not folder.is_dir():
        pytest.skip(f"no {beside} at {folder}; set {variable} to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Training and test data (FERSTREAM_DATA, else ../shared/data); skips where absent."""
    return _folder("FERSTREAM_DATA", "data")


@pytest.fixture(scope="session")
def clips_dir() -> Path:
    """Real video clips (FERSTREAM_CLIPS, else ../shared/clips); skips where absent."""
    return _folder("FERSTREAM_CLIPS", "clips")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY
