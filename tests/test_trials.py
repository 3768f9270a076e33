"""SECURITY.md promises what its trials show."""

from __future__ import annotations

from pathlib import Path

from .trials import outcome_of, promises, weak_points


def test_each_promise_names_tests_that_are_there(repository: Path) -> None:
    text = (repository / "SECURITY.md").read_text("utf-8")
    found = promises(text)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(found) == len(rows) - 1, "a row that is read as no promise"
    for promise, files in found.items():
        assert files, promise
        for name in files:
            assert (repository / name.partition("::")[0]).is_file(), name
    assert len(weak_points(text)) == text.partition("## What is not promised")[2].count("\n- ")


def test_what_fails_or_cannot_run_is_broken(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert outcome_of(report, "t.py").broken == ["t.py could not be run"]
    cases = "".join(
        f'<testcase name="{name}">{inner}</testcase>'
        for name, inner in (
            *(("a", ""), ("b", "<failure/>"), ("c", "<error/>")),
            *(("d", "<skipped/>"), ("e", "<system-out/>")),
        )
    )
    report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    outcome = outcome_of(report, "t.py")
    assert (outcome.held, outcome.skipped, outcome.broken) == (2, 1, ["t.py::b", "t.py::c"])
    assert outcome.tried == 4
