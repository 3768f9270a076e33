"""Dockerfile, compose.yaml, deploy/ and the forms for issues: what they call is there, what they
draw is measured."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import yaml

from ferstream.stream.sources.specs import is_known, own_names

from .commands import parsed
from .stream.receivers import free_port, until

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"] == "ferstream"}
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/ferstream.json").read_text("utf-8"))


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line]


def test_what_the_image_copies_is_there_and_is_all() -> None:
    let_in = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = {
        name
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for name in rest.split()[:-1]
    }
    assert copied == {line[1:] for line in let_in if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    folders = re.findall(r'^"ferstream\.\w+" = "(\w+)"', settings, re.MULTILINE)
    assert copied >= {"ferstream", *folders}


def test_the_image_runs_ours_as_nobody_in_particular() -> None:
    last = dict(instructions())
    assert last["USER"] == "ferstream" and json.loads(last["ENTRYPOINT"]) == ["ferstream"]
    called = parsed(json.loads(last["CMD"]))
    assert called["host"] == "0.0.0.0" and not called["without_token"]
    assert str(called["port"]) == last["EXPOSE"]
    assert f":{called['port']}/readyz" in last["HEALTHCHECK"]
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", " ".join(rest for _, rest in instructions()))
    assert extras.split(",") == [
        "mediapipe",
        "serve",
        "mqtt",
        "metrics",
    ]  # what compose.yaml's commands need


def test_compose_files_are_there_and_nothing_is_open() -> None:
    assert set(OURS) == {"film", "faces", "service"}
    for name, one in SERVICES.items():
        assert ":" in one["image"] or one.get("build") == ".", f"{name}: which release?"
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", ()))
        assert set(one.get("depends_on", ())) <= set(SERVICES)
        for volume in one.get("volumes", ()):
            place = volume.partition(":")[0]
            if place.startswith("."):
                assert (ROOT / place).is_file() or (ROOT / place).is_dir(), place
                assert volume.endswith(":ro")
            else:
                assert place in COMPOSE["volumes"]


def test_compose_calls_commands() -> None:
    faces, service = parsed(SERVICES["faces"]["command"]), parsed(SERVICES["service"]["command"])
    (camera,) = faces["sources"]
    path = camera.removeprefix("rtsp://camera:8554/")
    settings = yaml.safe_load((DEPLOY / "mediamtx.yml").read_text("utf-8"))
    (film,) = SERVICES["film"]["command"]
    assert f" -i {film} " in settings["paths"][path]["runOnInit"]
    assert (
        "camera" in SERVICES
        and list(faces["to"]) == ["mqtt://broker/faces"]
        and "broker" in SERVICES
    )
    assert service["without_token"]
    targets = {
        target
        for job in prometheus()["scrape_configs"]
        for one in job["static_configs"]
        for target in one["targets"]
    }
    places = {"faces": faces["metrics"].rpartition(":")[2], "service": service["port"]}
    assert targets == {f"{name}:{port}" for name, port in places.items()}
    for target in targets:  # the names under which metrics are told
        name = SERVICES[target.partition(":")[0]]["hostname"]
        assert is_known(target, own_names([name]))


def prometheus() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))
    return settings


def test_the_film_plays_the_sample(tmp_path: Path) -> None:
    main = runpy.run_path(str(DEPLOY / "film.py"))["main"]
    main(str(tmp_path / "new" / "sample.mp4"))
    with av.open(str(tmp_path / "new" / "sample.mp4")) as film:
        keys = [packet.is_keyframe for packet in film.demux(video=0) if packet.size]
    assert len(keys) == 108 and keys[0] and keys[30]


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")))
def test_forms_ask(form: Path) -> None:
    """As the host wants them: it shows no form that lacks one of these."""
    told = yaml.safe_load(form.read_text("utf-8"))
    assert {"name", "description", "body"} <= set(told) <= {"name", "description", "body", "labels"}
    asking = [one for one in told["body"] if one["type"] != "markdown"]
    assert asking and all(one["type"] in ("textarea", "input", "dropdown") for one in asking)
    assert len({one["id"] for one in asking}) == len(asking)
    for one in told["body"]:
        assert one["attributes"]["value" if one["type"] == "markdown" else "label"]
        assert one["type"] != "dropdown" or len(set(one["attributes"]["options"])) > 1


def expressions() -> list[str]:
    """What the dashboard asks for, and what the alerts do."""
    drawn = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text("utf-8"))
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(drawn) > 20 and len(alerts) > 3
    return [one.replace("$source", ".*") for one in drawn] + alerts


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real `ferstream serve` that watches the sample."""
    pytest.importorskip("fastapi", reason="an extra: serve")
    pytest.importorskip("prometheus_client", reason="an extra: metrics")
    port = free_port()
    command = [sys.executable, "-m", "ferstream", "serve", "sample", "--port", str(port)]
    with (
        (tmp_path_factory.mktemp("service") / "log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as ours,
    ):
        yield f"127.0.0.1:{port}"
        ours.terminate()


def told(address: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
            return str(answer.read().decode())
    except urllib.error.URLError:
        return ""


def test_what_is_drawn_is_measured(service: str) -> None:
    """Every metric, and every label, of the dashboard and of the alerts."""
    from prometheus_client.parser import text_string_to_metric_families

    until(lambda: re.search(r"ferstream_faces_seen_total\{.*\} [1-9]", told(service)))
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(told(service)):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    # Told only where there is an output, or where a camera failed.
    labels["ferstream_output_up"] = {"source", "output"}
    labels["ferstream_source_failures_total"] = {"source", "code"}
    for expression in expressions():
        names = set(re.findall(r"\b(?:ferstream|process)_\w+", expression))
        assert names and names <= set(labels), expression
        known = set().union(*(labels[name] for name in names))
        asked = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
        asked += re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)
        assert {one.strip() for group in asked for one in group.split(",")} <= known, expression


def test_prometheus_takes_its_settings(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool: apt-get install prometheus")
    command = [promtool, "check", "config", str(DEPLOY / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "4 rules found" in done.stdout, done.stdout + done.stderr
    asked = "\n".join(
        f"  - {{record: 'x:{number}', expr: {json.dumps(one)}}}"
        for number, one in enumerate(expressions())
    )
    rules = tmp_path / "rules.yml"
    rules.write_text(f"groups:\n- name: drawn\n  rules:\n{asked}\n")
    command = [promtool, "check", "rules", str(rules)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
