"""Pictures in texture coordinates: read, sampled, and laid out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.apps.head_pixels import HeadPixels
from anymark.apps.uv import UvPicture, template, unwrapped
from anymark.canonical import CanonicalHead
from anymark.errors import AnymarkError
from tests.apps.heads import SIZE, camera, landmarks


def ramp(size: int, tiles: int = 1) -> UvPicture:
    """Red is u of all tiles, green is v."""
    u, v = np.meshgrid((np.arange(size * tiles) + 0.5) / size, 1 - (np.arange(size) + 0.5) / size)
    return UvPicture(np.rint(np.dstack([255 * u / tiles, 255 * v, 0 * u, 0 * u + 255])).astype(np.uint8))


@pytest.mark.parametrize("size", [64, 1024])
def test_each_pixel_takes_the_colour_of_its_texture_coordinates(size: int) -> None:
    pixels = HeadPixels.of(landmarks(camera(15)), SIZE)
    uv = pixels.raster.of_corners(CanonicalHead.load().uv)
    on_face = (pixels.raster.triangle >= 0) & (uv[..., 0] < 1)
    smooth, near = ramp(size).smooth(pixels.raster), ramp(size).nearest(pixels.raster) / 255
    assert on_face.sum() > 3000
    inner = on_face & (np.abs(uv[..., 0] - 0.5) < 0.45)
    np.testing.assert_allclose(smooth[inner][:, :2], uv[inner], atol=0.012)
    np.testing.assert_allclose(near[inner][:, :2], uv[inner], atol=0.012)
    assert (smooth[~on_face] == 0).all()


def test_several_tiles() -> None:
    pixels = HeadPixels.of(landmarks(camera(180)), SIZE)  # from behind
    one, two = ramp(128).smooth(pixels.raster), ramp(128, 2).smooth(pixels.raster)
    assert (two[..., 3] > 0.5).sum() > 1.2 * (one[..., 3] > 0.5).sum()
    uv = pixels.raster.of_corners(CanonicalHead.load().uv)
    back = (uv[..., 0] > 1.05) & (uv[..., 0] < 1.95)
    assert back.sum() > 1000
    np.testing.assert_allclose(two[back][:, 0], uv[back][:, 0] / 2, atol=0.012)


def test_transparent_colours_do_not_bleed() -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., 1] = 255  # green that is not there
    rgba[20:44, 20:44] = 255, 0, 0, 255
    found = UvPicture(rgba).smooth(HeadPixels.of(landmarks(camera()), SIZE).raster)
    assert found[..., 1].max() == 0
    np.testing.assert_allclose(found[..., 0], found[..., 3], atol=1e-6)


def test_painted_triangles_are_those_that_show_paint() -> None:
    rgba = np.zeros((128, 128, 4), np.uint8)
    rgba[60:64, 30:34] = 255
    picture = UvPicture(rgba)
    pixels = HeadPixels.of(landmarks(camera()), SIZE, 3)
    shown = np.unique(pixels.raster.triangle[picture.smooth(pixels.raster)[..., 3] > 0])
    assert 0 < len(shown) <= len(picture.painted) < 200
    assert np.isin(shown, picture.painted).all()


def test_unwrapped_finds_every_triangle_s_place() -> None:
    raster = unwrapped(512, 2)
    uv = raster.of_corners(CanonicalHead.load().uv)
    rows, columns = np.nonzero(raster.triangle >= 0)
    expected = np.column_stack([(columns + 0.5) / 512, 1 - (rows + 0.5) / 512])
    np.testing.assert_allclose(uv[rows, columns], expected, atol=1e-4)
    assert len(rows) > 0.5 * raster.triangle.size


def test_the_template_shows_the_tiles() -> None:
    one, all_ = template(128), template(64, 6)
    assert (one.size, all_.size) == ((128, 128), (384, 64))
    alpha = np.asarray(one)[..., 3]
    assert 0.5 < (alpha > 0).mean() < 1


def test_bad_pictures(tmp_path: Path) -> None:
    Image.new("RGBA", (100, 64)).save(tmp_path / "odd.png")
    Image.new("CMYK", (64, 64)).save(tmp_path / "print.jpg")
    (tmp_path / "text.png").write_text("no picture")
    for name, said in (
        ("odd.png", "100 x 64; a picture on the head is square, or 2 to 6 tiles wide"),
        ("print.jpg", "a picture of mode CMYK"),
        ("text.png", "not an image"),
        ("none.png", "no such file"),
    ):
        with pytest.raises(AnymarkError, match=said):
            UvPicture.load(tmp_path / name)
