"""The trials behind SECURITY.md: each promise's tests are run, and told as held or broken.

    make trials                       all of them
    python tests/trials.py bundle     those whose promise, or whose tests' names, hold the word

The promises are read from SECURITY.md itself, so that it cannot say more than is tried here. What
it says is not promised is listed as weak. Exits with 1 where something is broken.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Outcome:
    """What came of one file of tests."""

    held: int = 0
    skipped: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """Trials that were made."""
        return self.held + len(self.broken)


def promises(text: str) -> dict[str, list[str]]:
    """Each promise of SECURITY.md with the files of its tests, as paths from the root."""
    found: dict[str, list[str]] = {}
    for promise, cell in re.findall(r"^\| ([^|]+) \| (`tests/[^|]+) \|$", text, re.M):
        files: list[str] = []
        for name in re.findall(r"`([^`]+)`", cell):
            folder = PurePosixPath(files[-1]).parent if files and "/" not in name else ""
            files.append(str(PurePosixPath(folder) / name))
        found[promise] = files
    return found


def weak_points(text: str) -> list[str]:
    """What SECURITY.md says is not promised."""
    part = text.partition("## What is not promised")[2]
    return [" ".join(point.split()) for point in re.findall(r"^- (.*(?:\n  .*)*)", part, re.M)]


def outcome_of(report: Path, name: str) -> Outcome:
    """What pytest's report in XML says; a file that could not be run at all is broken."""
    outcome = Outcome()
    try:
        cases = list(ET.parse(report).iter("testcase"))
    except (OSError, ET.ParseError):
        cases = []
    for case in cases:
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            outcome.broken.append(f"{name}::{case.get('name')}")
        elif "skipped" in kinds:
            outcome.skipped += 1
        else:
            outcome.held += 1
    if not cases:
        outcome.broken.append(f"{name} could not be run")
    return outcome


def tried(name: str) -> Outcome:
    """Run one file of tests."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
        subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT, stdout=subprocess.DEVNULL)
        return outcome_of(report, name)


def main(words: list[str]) -> int:
    """Run, print, and give the exit status."""
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    chosen = {
        promise: files
        for promise, files in promises(text).items()
        if not words or any(word in f"{promise} {files}" for word in words)
    }
    outcomes: dict[str, Outcome] = {}
    for promise, files in chosen.items():
        for name in files:
            if name not in outcomes:
                outcomes[name] = tried(name)
        broken = [one for name in files for one in outcomes[name].broken]
        count = sum(outcomes[name].tried for name in files)
        print(f"{'BROKEN' if broken else 'held':<7}{count:4} trials  {promise}", flush=True)
        for one in broken:
            print(f"          {one}", flush=True)
    weak = weak_points(text)
    for point in weak:
        print(f"weak                {point}")
    total = outcomes.values()
    print(
        f"\n{sum(one.tried for one in total)} tried, {sum(one.held for one in total)} held, "
        f"{len(weak)} weak, {sum(len(one.broken) for one in total)} broken; "
        f"{sum(one.skipped for one in total)} skipped for want of something on this machine"
    )
    return int(any(one.broken for one in total))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
