"""The reader of COFW-68: images in a .mat file, 68 points and what hides them in one each."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("h5py")
savemat = pytest.importorskip("scipy.io").savemat

from anymark.canonical import load_layout  # noqa: E402
from anymark.errors import AnymarkError  # noqa: E402
from anymark.evaluate.cofw68 import occlusion_details, read_cofw68  # noqa: E402
from anymark.evaluate.score import Scores  # noqa: E402
from tests.evaluate.public import face, lies_on, write_cofw68  # noqa: E402


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_points_lie_on_their_pixels(version: str, tmp_path: Path):
    benchmark = read_cofw68(write_cofw68(tmp_path, version=version))
    assert [labelled.name for labelled in benchmark.faces] == ["1", "2", "3"]
    for labelled in benchmark.faces:
        assert labelled.load().shape == (300, 320, 3)
        assert lies_on(labelled.points_px, labelled.load())


def test_errors_are_over_the_middles_of_the_eyes(tmp_path: Path):
    write_cofw68(tmp_path, 1)
    pixels = face("ibug68").astype(float)
    pixels[36:42], pixels[42:48] = (100, 100), (130, 140)
    savemat(tmp_path / "test_annotations" / "1_points.mat", {"Points": pixels + 1, "Occ": np.zeros((1, 68))})
    benchmark = read_cofw68(tmp_path)
    assert benchmark.normalisers[0] == "inter-pupil"
    assert benchmark.faces[0].lengths_px["inter-pupil"] == pytest.approx(50)
    assert benchmark.threshold == 0.1


def test_both_downloads_may_lie_below_one_folder(tmp_path: Path):
    write_cofw68(tmp_path / "COFW_color", 2)
    (tmp_path / "cofw68-benchmark").mkdir()
    annotations = tmp_path / "COFW_color" / "test_annotations"
    annotations.rename(tmp_path / "cofw68-benchmark" / "test_annotations")
    assert len(read_cofw68(tmp_path).faces) == 2
    assert len(read_cofw68(write_cofw68(tmp_path / "copy", 2, annotations="cofw68_test_annotations")).faces) == 2


def test_visibility_of_labels_and_heads(tmp_path: Path):
    benchmark = read_cofw68(write_cofw68(tmp_path))
    assert [int(labelled.truth["visible"].sum()) for labelled in benchmark.faces] == [67, 66, 65]
    assert not benchmark.faces[0].truth["visible"][0]
    head = SimpleNamespace(visible=np.linspace(0, 1, 68))
    assert (benchmark.asked["visible"](head) == head.visible).all()  # type: ignore[arg-type]


def test_details_are_those_of_the_authors_main(tmp_path: Path):
    benchmark = read_cofw68(write_cofw68(tmp_path, 4))
    labels = np.stack([labelled.points_px for labelled in benchmark.faces])
    eyes = [labelled.lengths_px["inter-pupil"] for labelled in benchmark.faces]
    found = labels.copy()
    found[0, 0] += (1000, 0)  # an occluded point, which does not count
    found[1] += (0, 0.04 * eyes[1])
    found[2] += (0.2 * eyes[2], 0)
    found[3] = np.nan
    visible = np.ones((4, 68))
    visible[0, [0, 5]] = 0.4  # one rightly, one wrongly
    visible[1, 0] = 0.1  # one of two
    visible[3] = np.nan
    errors = np.array([68 / 68 * 1000 / 68 / eyes[0], 0.04, 0.2, np.inf])
    sigma, answers = np.ones(found.shape[:2]), {"visible": visible}
    scores = Scores(benchmark, load_layout("ibug68"), found, sigma, {"inter-pupil": errors}, (), answers)
    seen, occlusion = occlusion_details(scores, 0.1)
    assert seen.rows["all"]["NME"] == pytest.approx((0 + 0.04 + 0.2) / 3)
    assert seen.rows["all"]["FR"] == pytest.approx(0.5)
    assert occlusion.rows["all"] == {"precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / (1 + 2 + 3))}
    assert "66.67" in occlusion.table()


def test_where_nothing_is_found_occlusion_has_no_number(tmp_path: Path):
    benchmark = read_cofw68(write_cofw68(tmp_path, 1))
    nothing = {"visible": np.full((1, 68), np.nan)}
    found, sigma, errors = np.full((1, 68, 2), np.nan), np.full((1, 68), np.nan), {"inter-pupil": np.array([np.inf])}
    scores = Scores(benchmark, load_layout("ibug68"), found, sigma, errors, (), nothing)
    seen, occlusion = occlusion_details(scores, 0.1)
    assert seen.rows["all"]["FR"] == 1
    assert np.isnan(list(occlusion.rows["all"].values())).all()
    assert occlusion.table().split()[-2:] == ["-", "-"]


def test_calibration_is_never_scored(tmp_path: Path):
    benchmark = read_cofw68(write_cofw68(tmp_path, 5), calibrate=2)
    assert [labelled.name for labelled in benchmark.calibration] == ["1", "5"]
    assert [labelled.name for labelled in benchmark.faces] == ["2", "3", "4"]


def test_damaged_annotations_are_left_out_and_named(tmp_path: Path):
    write_cofw68(tmp_path, 5)
    folder = tmp_path / "test_annotations"
    (folder / "1_points.mat").write_bytes(b"no .mat")
    (folder / "2_points.mat").unlink()
    savemat(folder / "3_points.mat", {"Points": np.zeros((29, 2)), "Occ": np.zeros((1, 29))})
    savemat(folder / "4_points.mat", {"Points": np.full((68, 2), np.nan), "Occ": np.zeros((1, 68))})
    benchmark = read_cofw68(tmp_path)
    assert [labelled.name for labelled in benchmark.faces] == ["5"]
    for i, message in enumerate(("cannot be read", "No such file", r"Points (29, 2)", "not all finite"), 1):
        assert [n for n in benchmark.notes if f"{i}_points.mat: " in n and message in n and n.endswith(": left out")]
    assert "COFW-68 has 507 faces in the protocol, 1 here" in benchmark.notes


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("COFW_test_color.mat", r"no COFW_test_color\.mat or COFW_test\.mat in it or below"),
        ("test_annotations", r"no test_annotations or cofw68_test_annotations in it or below"),
    ],
)
def test_what_is_missing_is_named(missing: str, message: str, tmp_path: Path):
    (write_cofw68(tmp_path) / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(AnymarkError, match=message):
        read_cofw68(tmp_path)
    with pytest.raises(AnymarkError, match="nothing: no such folder"):
        read_cofw68(tmp_path / "nothing")
