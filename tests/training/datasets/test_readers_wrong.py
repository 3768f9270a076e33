"""What is wrong with a set: one clear line in training, all of them in a check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from ferstream.training.datasets.readers import LabelError, PictureError, read_set
from ferstream.training.datasets.readers.check import check
from ferstream.training.datasets.readers.pixels import read_picture, video_frames
from tests.media import oriented_jpeg, truncated
from tests.training import layout_files, layouts


def spoil_raf(root: Path) -> None:
    layouts.raf(root)
    path = root / "basic/EmoLabel/list_patition_label.txt"
    path.write_text(path.read_text() + "train_00004.jpg 9\nnonsense\n")


def spoil_classes(root: Path) -> None:
    layouts.classes(root)
    (root / "train/amused").rename(root / "elsewhere")
    (root / "train/amused").mkdir()
    (root / "elsewhere").rename(root.with_name("elsewhere"))


def spoil_disfa(root: Path) -> None:
    layouts.disfa(root)
    path = root / "ActionUnit_Labels/SN001/SN001_au2.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))


def spoil_disfa_frames(root: Path) -> None:
    layouts.disfa(root)
    (root / "Videos_LeftCamera/LeftVideoSN002_comp/SN002_00003.jpg").unlink()


def spoil_disfa_video(root: Path) -> None:
    layouts.disfa(root)
    (root / "Videos_LeftCamera/LeftVideoSN001_comp.avi").unlink()


def spoil_bp4d(root: Path) -> None:
    layouts.bp4d(root)
    (root / "2D+3D/F001/T1/2441.jpg").unlink()


def spoil_bp4d_units(root: Path) -> None:
    layouts.bp4d(root)
    path = root / "AUCoding/AU_OCC/F001_T1.csv"
    path.write_text(path.read_text().replace("\n2441,0", "\n2441,7"))


def spoil_affectnet(root: Path) -> None:
    layouts.affectnet(root)
    path = root / "Manually_Annotated_file_lists/training.csv"
    path.write_text(path.read_text() + "1/x.jpg,1,1,1,1,0;0,11,0,0\n")


def spoil_affectnet_arrays(root: Path) -> None:
    layouts.affectnet_arrays(root)
    (root / "train_set/annotations/1_exp.npy").write_bytes(b"not an array")


def spoil_dfew(root: Path) -> None:
    layouts.dfew(root)
    path = root / "EmoLabel_DataSplit/train(single-labeled)/set_1.csv"
    path.write_text(path.read_text() + "99,1\n")


def spoil_mafw(root: Path) -> None:
    layouts.mafw(root)
    path = root / "Train & Test Set/single/no_caption/set_1/train.txt"
    path.write_text(path.read_text() + "00100.mp4 boredom\n")


def spoil_ferv39k(root: Path) -> None:
    layouts.ferv39k(root)
    for path in (root / "2_ClipsforFaceCrop/Action/Sad/0010").iterdir():
        path.unlink()


def spoil_ck(root: Path) -> None:
    layouts.ck_plus(root)
    layouts.text(root / "Emotion/S005/001/S005_001_00000005_emotion.txt", "   8.0000000e+00")


def spoil_mmi(root: Path) -> None:
    layouts.mmi(root)
    layouts.text(root / "Sessions/1/S001-001.xml", "<annotation><Metatag")


def spoil_jaffe(root: Path) -> None:
    layouts.jaffe(root)
    layouts.picture(root / "KA.XX1.39.tiff")


def spoil_f2ed(root: Path) -> None:
    layouts.f2ed_list(root)
    path = root / "labels.csv"
    path.write_text(path.read_text() + "faces/7.png,7,upside down,calm\n")


def spoil_fer(root: Path) -> None:
    layouts.fer2013(root, votes=False)
    path = root / "fer2013.csv"
    path.write_text(path.read_text() + "3,1 2 3,Training\n")


def spoil_words(root: Path) -> None:
    layouts.words(root, "fg33", "images")
    layouts.picture(root / "images/boredom/0.jpg")


CASES = [
    (spoil_raf, "label", r"list_patition_label\.txt:5: label 9 is not one of 1 to 7"),
    (spoil_classes, "empty", "train/amused: this class folder holds no picture"),
    (spoil_disfa, "length", r"SN001_au2\.txt: 3 frames, but 4 in SN001_au1\.txt"),
    (spoil_disfa_frames, "length", "LeftVideoSN002_comp: 1 of 4 labelled frames have no picture"),
    (spoil_disfa_video, "missing", r"SN001: no video LeftVideoSN001_comp\.avi"),
    (
        spoil_bp4d,
        "length",
        r"F001_T1\.csv: 1 of 2 labelled frames have no picture in 2D\+3D/F001/T1",
    ),
    (spoil_bp4d_units, "label", r"F001_T1\.csv:3: no row of a frame and 0, 1 or 9"),
    (spoil_affectnet, "label", r"training\.csv:7: expression '11' is not one of 0 to 10"),
    (spoil_affectnet_arrays, "label", r"1_exp\.npy: this is no array with one number"),
    (spoil_dfew, "missing", r"set_1\.csv:4: the clip that this line names is not there"),
    (spoil_mafw, "label", r"train\.txt:3: label 'boredom' is not one of anger"),
    (spoil_ferv39k, "empty", "Action/Sad/0010: this clip's folder holds no frame"),
    (spoil_ck, "label", r"_emotion\.txt: emotion '8\.0000000e\+00' is not one of 0 to 7"),
    (spoil_mmi, "label", r"S001-001\.xml: this is no XML"),
    (spoil_jaffe, "label", r"KA\.XX1\.39\.tiff: no name such as"),
    (spoil_f2ed, "label", r"labels\.csv:4: pose 'upside down' is not one of front"),
    (spoil_fer, "label", r"fer2013\.csv:10: no row of emotion, 2304 pixels and Usage"),
    (spoil_words, "label", "images/boredom: no class of FG-Emotions"),
]


@pytest.mark.parametrize(
    ("spoil", "kind", "line"), CASES, ids=lambda value: getattr(value, "__name__", "")
)
def test_one_clear_line(
    spoil: Callable[[Path], None], kind: str, line: str, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    spoil(root)
    with pytest.raises(LabelError, match=line) as caught:
        read_set(root)
    assert "\n" not in str(caught.value) and str(root) in str(caught.value)
    faces = read_set(root, strict=False)
    assert kind in {problem.kind for problem in faces.problems}
    assert len(faces) > 0, "the rest is read"
    assert not check(faces, read=False).ok


def test_several_are_counted(tmp_path: Path) -> None:
    spoil_raf(tmp_path)
    with pytest.raises(LabelError, match=r"and 1 more: ferstream data check .* shows all"):
        read_set(tmp_path)
    assert [p.kind for p in read_set(tmp_path, strict=False).problems] == ["label", "label"]


def test_pixels_of_a_row_that_are_none(tmp_path: Path) -> None:
    layouts.fer2013(tmp_path)
    path = tmp_path / "fer2013.csv"
    head, first, *rest = path.read_text().splitlines(keepends=True)
    for wrong in ("300", "x"):
        path.write_text("".join([head, ",".join(_first_pixel(first, wrong)), *rest]))
        faces = read_set(tmp_path)
        with pytest.raises(LabelError, match=r"fer2013\.csv:2: pixels are numbers from 0 to 255"):
            faces.picture(0)


def _first_pixel(line: str, value: str) -> list[str]:
    """The row's cells, another value for its first pixel."""
    emotion, pixels, usage = line.split(",")
    return [emotion, " ".join([value, *pixels.split()[1:]]), usage]


def damaged(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no pictures, and what is said of each."""
    found = {}
    for ending in (".jpg", ".png", ".bmp", ".tiff"):
        path = layouts.picture(folder / f"whole{ending}")
        data = path.read_bytes()
        cut = folder / f"cut{ending}"
        cut.write_bytes(data[: len(data) // 3])
        found[f"cut{ending}"] = (cut, "cut" if ending in (".jpg", ".png") else "damaged")
    found["text"] = (layouts.text(folder / "text.jpg", "hello"), "no JPEG, PNG or WebP")
    (folder / "nothing.png").write_bytes(b"")
    found["nothing"] = (folder / "nothing.png", "is empty")
    found["gone"] = (folder / "gone.png", "is missing")
    (folder / "folder.jpg").mkdir()
    found["folder"] = (folder / "folder.jpg", "cannot be read")
    return found


def test_damaged_pictures_are_named(tmp_path: Path) -> None:
    for name, (path, said) in damaged(tmp_path).items():
        with pytest.raises(PictureError) as caught:
            read_picture(path)
        message = str(caught.value)
        assert str(path) in message and said in message and "\n" not in message, name


def test_pictures_stand_upright(tmp_path: Path) -> None:
    upright = read_picture(oriented_jpeg(tmp_path / "turned.jpg", 6))
    plain = read_picture(oriented_jpeg(tmp_path / "plain.jpg", 1))
    assert upright.shape[:2] == plain.shape[1::-1]


def test_deep_and_grey_pictures_become_rgb(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    for name in ("deep.png", "deep.tiff"):
        assert cv2.imwrite(str(tmp_path / name), ramp)
        pixels = read_picture(tmp_path / name)
        assert pixels.shape == (48, 64, 3) and pixels.dtype == np.uint8
        assert pixels[0, 0, 0] < 5 and pixels[-1, -1, 0] > 250


def test_videos_that_break_are_named(tmp_path: Path) -> None:
    for path in (truncated(tmp_path / "cut.mp4", 0.1), layouts.text(tmp_path / "text.avi", "no")):
        with pytest.raises(PictureError, match="cannot be played") as caught:
            list(video_frames(path))
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_video_with_too_few_frames_spoils_only_those(tmp_path: Path) -> None:
    layouts.disfa(tmp_path)
    video = tmp_path / "Videos_LeftCamera/LeftVideoSN001_comp.avi"
    video.unlink()
    layout_files.clip(video, 2)
    seen = [pixels for _, pixels in read_set(tmp_path).pictures()]
    assert [isinstance(pixels, np.ndarray) for pixels in seen] == [
        True,
        True,
        *[False] * 2,
        *[True] * 4,
    ]
    assert "has no frame 2" in str(seen[2])
