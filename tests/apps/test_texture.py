"""Textures: colours of the photo at the head's own texture coordinates, completed where it shows none."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.apps.head_pixels import HeadPixels
from anymark.apps.texture import TextureMaker
from anymark.apps.uv import UvPicture, unwrapped
from anymark.canonical import CanonicalHead
from anymark.errors import AnymarkError
from tests.apps.heads import SIZE, camera, landmarks

SMALL = 128


def rendered(yaw_deg: float, picture: UvPicture) -> np.ndarray:
    """A photo of the canonical head with a texture."""
    head = landmarks(camera(yaw_deg))
    pixels = HeadPixels.of(head, SIZE, 2)
    photo = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    x0, y0, x1, y1 = pixels.box_px
    colour = pixels.averaged(picture.smooth(pixels.raster))
    photo[y0:y1, x0:x1] = np.rint(255 * colour[..., :3] + 90 * (1 - colour[..., 3:]))
    return photo


def coarse() -> UvPicture:
    """A smooth picture of two tiles, its left half unlike its right one."""
    u, v = np.meshgrid(np.linspace(0, 2, 2 * SMALL), np.linspace(0, 1, SMALL))
    rgb = np.dstack([60 + 90 * (u % 1), 60 + 120 * v, 120 + 40 * np.cos(6 * u)])
    return UvPicture(np.dstack([rgb, 0 * u + 255]).astype(np.uint8))


def test_the_texture_of_a_rendered_head_comes_back() -> None:
    truth = coarse()
    maker = TextureMaker(SMALL)
    for yaw in (-50, 0, 50):
        maker.add(rendered(yaw, truth), landmarks(camera(yaw)))
    found = maker.texture()
    assert found.rgb.shape == (SMALL, 2 * SMALL, 3)
    sure = found.confidence > 0.9
    assert sure[:, :SMALL].mean() > 0.25
    off = np.abs(found.rgb.astype(float) - truth.rgba[..., :3])[sure]
    assert np.median(off) < 6


def test_the_front_counts_more_than_the_side() -> None:
    red, blue = (np.tile(np.array(colour, np.uint8), (SIZE[1], SIZE[0], 1)) for colour in ([200, 0, 0], [0, 0, 200]))
    maker = TextureMaker(SMALL)
    maker.add(red, landmarks(camera(60)))  # shows the subject's right cheek
    maker.add(blue, landmarks(camera(-60)))
    rgb = maker.texture().rgb.astype(int)
    raster = unwrapped(SMALL, 1)
    x = raster.of_vertices(CanonicalHead.load().vertices_mm[:, 0], CanonicalHead.load().triangles)
    cheek = (raster.triangle >= 0) & (np.abs(np.abs(x) - 50) < 8)
    front = rgb[:, :SMALL]
    assert (front[cheek & (x < 0)][:, 0] > 150).mean() > 0.9
    assert (front[cheek & (x > 0)][:, 2] > 150).mean() > 0.9


def test_the_other_side_completes_what_is_not_seen() -> None:
    truth = coarse()
    truth = UvPicture(np.maximum(truth.rgba, truth.rgba[:, ::-1]))  # alike on both sides of each tile
    maker = TextureMaker(SMALL)
    maker.add(rendered(55, truth), landmarks(camera(55)))
    found = maker.texture()
    left, right = found.confidence[:, : SMALL // 2].mean(), found.confidence[:, SMALL // 2 : SMALL].mean()
    assert left > 2 * right  # the subject's right side lies left in the tile
    assert found.mirrored[:, SMALL // 2 : SMALL].mean() > found.mirrored[:, : SMALL // 2].mean()
    borrowed = found.mirrored > 0.9
    assert borrowed.sum() > 100
    np.testing.assert_array_less(found.confidence[borrowed], 0.1 + 1e-6)


def test_covered_skin_is_not_believed() -> None:
    maker = TextureMaker(SMALL)
    maker.add(np.full((SIZE[1], SIZE[0], 3), 200, np.uint8), landmarks(camera(), uncovered=0.0))
    with pytest.raises(AnymarkError, match="no photo shows anything of the head"):
        maker.texture()


def test_gaps_are_filled_and_nothing_is_left_black() -> None:
    maker = TextureMaker(SMALL)
    maker.add(np.full((SIZE[1], SIZE[0], 3), 150, np.uint8), landmarks(camera()))
    rgb = maker.texture().rgb
    assert rgb.min() > 130
    assert rgb.max() < 170


def test_sizes_have_bounds() -> None:
    for size in (10, 10_000):
        with pytest.raises(AnymarkError, match="64 to 8192"):
            TextureMaker(size)
