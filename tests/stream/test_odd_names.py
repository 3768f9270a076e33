"""Names of files that are no text, or steer a terminal, in every output and on the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests import media

KINDS = ("jsonl", "csv", "vtt", "srt", "eaf", "boris", "mp4", "m3u8")
NAMES = {
    b"esc\x1b[31m\x1b]0;owned\x07.mp4": r"esc\x1b[31m\x1b]0;owned\x07.mp4",
    b"bad\xff\xfe.mp4": r"bad\udcff\udcfe.mp4",
    "c\u009b31m\u202ecod.mp4".encode(): r"c\x9b31m\u202ecod.mp4",
}


def test_every_output_shows_them_as_text(tmp_path: Path, repository: Path) -> None:
    made = media.video(tmp_path / "made.mp4", 4, (160, 120))
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in NAMES:
        try:
            (Path(os.fsdecode(os.fsencode(clips) + b"/" + name))).write_bytes(made.read_bytes())
        except OSError:
            pytest.skip("this disk takes no such names")
    out = tmp_path / "out"
    to = [word for kind in KINDS for word in ("--to", f"{out}/{{source}}.{kind}")]
    done = subprocess.run(
        [sys.executable, "-m", "ferstream", "score", str(clips), *to],
        cwd=repository,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    told = done.stdout.decode("utf-8") + done.stderr.decode("utf-8")
    assert all(c.isprintable() or c in "\n\t" for c in told)
    assert all(shown in told for shown in NAMES.values())
    for kind in KINDS:
        files = list(out.glob(f"*.{kind}"))
        assert len(files) == len(NAMES), kind
        for file in files:
            assert file.name.isprintable()
            if kind in ("eaf", "boris", "jsonl", "csv", "vtt", "srt"):
                text = file.read_text("utf-8")
                assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e"}, file
            if kind == "eaf":
                ET.parse(file)
