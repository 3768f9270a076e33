"""Files that appear whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferstream.engines.files import written_whole


@pytest.mark.parametrize("shared", [False, True])
def test_the_old_file_stays_until_the_new_one_is_whole(shared: bool, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), written_whole(path, shared=shared) as fresh:
        fresh.write_text("hal")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with written_whole(path, shared=shared) as fresh:
        fresh.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".o.part").write_text("longer than what comes")
    with written_whole(tmp_path / "o") as fresh:
        fresh.write_text("new")
    assert [file.name for file in tmp_path.iterdir()] == ["o"]
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "none" / "o"):
        pass
