"""Both kinds of .mat files, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("h5py")
savemat = pytest.importorskip("scipy.io").savemat

from anymark.errors import AnymarkError  # noqa: E402
from anymark.evaluate.mat_files import MatImages, read_arrays  # noqa: E402
from tests.evaluate.mat_writer import cells_v5, write_v73  # noqa: E402

POINTS = np.arange(136.0).reshape(68, 2)
COLOUR = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
GREY = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4)


def write(version: str, path: Path) -> Path:
    if version == "7.3":
        write_v73(path, {"IsT": [COLOUR, GREY]}, Points=POINTS, Occ=np.ones((1, 68)))
    else:
        content = {"IsT": cells_v5([COLOUR, GREY]), "Points": POINTS, "Occ": np.ones((1, 68), bool)}
        savemat(path, content, do_compression=version == "7")
    return path


@pytest.fixture(params=["5", "7", "7.3"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(request.param, tmp_path / "a.mat")


def test_arrays_have_matlabs_axes(path: Path):
    arrays = read_arrays(path, ["Points", "Occ"])
    assert (arrays["Points"] == POINTS).all()
    assert arrays["Occ"].shape == (1, 68)


def test_images_are_rgb_rows_first(path: Path):
    images = MatImages(path, "IsT")
    assert len(images) == 2
    assert (images.pixels(0) == COLOUR).all()
    assert (images.pixels(1) == GREY[..., None]).all()
    assert images.pixels(1).shape == (6, 4, 3)


def test_what_is_missing_is_named(path: Path):
    with pytest.raises(AnymarkError, match=r"a\.mat: lacks 'phisT'"):
        read_arrays(path, ["Points", "phisT"])
    with pytest.raises(AnymarkError, match=r"a\.mat: lacks the images 'IsTr'"):
        MatImages(path, "IsTr")
    with pytest.raises(AnymarkError, match=r"a\.mat: lacks the images 'Points'"):
        MatImages(path, "Points")
    with pytest.raises(AnymarkError, match=r"a\.mat: 'IsT' is not all finite numbers"):
        read_arrays(path, ["IsT"])


@pytest.mark.parametrize("kept", [0.0, 0.05, 0.2])
def test_damaged_files_are_named(path: Path, kept: float):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    for read in (lambda: read_arrays(path, ["Points"]), lambda: MatImages(path, "IsT")):
        with pytest.raises(AnymarkError, match=r"a\.mat: ") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_no_file_is_named(tmp_path: Path):
    with pytest.raises(AnymarkError, match=r"none\.mat: cannot be read \(No such file"):
        read_arrays(tmp_path / "none.mat", ["Points"])


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_cells_without_images_are_named(version: str, tmp_path: Path):
    cells = [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)]
    if version == "5":
        savemat(tmp_path / "a.mat", {"IsT": cells_v5(cells)})
    else:
        write_v73(tmp_path / "a.mat", {"IsT": cells})
    images = MatImages(tmp_path / "a.mat", "IsT")
    for i in range(3):
        with pytest.raises(AnymarkError, match=rf"IsT\{{{i + 1}\}} is no image"):
            images.pixels(i)
