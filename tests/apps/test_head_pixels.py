"""What each pixel shows of a head: its own point, in the camera that it was drawn in."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.apps.head_pixels import HeadPixels
from anymark.canonical import CanonicalHead, load_layout
from anymark.errors import AnymarkError
from tests.apps.heads import SIZE, camera, landmarks


@pytest.mark.parametrize("factor", [1, 3])
def test_the_point_under_a_pixel_projects_to_it(factor: int) -> None:
    seen_by = camera(30)
    pixels = HeadPixels.of(landmarks(seen_by), SIZE, factor)
    points = pixels.raster.of_vertices(CanonicalHead.load().vertices_mm, CanonicalHead.load().triangles)
    rows, columns = np.nonzero(pixels.raster.triangle >= 0)
    assert len(rows) > 3000 * factor**2
    at = np.column_stack([columns, rows]) + 0.5
    expected = at / factor + pixels.box_px[:2]
    np.testing.assert_allclose(seen_by.project(points[rows, columns]), expected, atol=5e-3)


def test_only_the_photo_is_drawn_unless_all_is_wanted() -> None:
    aside = landmarks(camera(0, shift_mm=(-170.0, 0.0)))
    within, whole = (HeadPixels.of(aside, SIZE, within=each) for each in (True, False))
    assert within.box_px[0] == 0 > whole.box_px[0]
    shown = within.raster.triangle >= 0
    rows = slice(within.box_px[1] - whole.box_px[1], within.box_px[3] - whole.box_px[1])
    columns = slice(-whole.box_px[0], within.box_px[2] - whole.box_px[0])
    np.testing.assert_array_equal(shown, whole.raster.triangle[rows, columns] >= 0)


def test_a_box_about_some_triangles_shows_the_same() -> None:
    head = landmarks(camera())
    whole = HeadPixels.of(head, SIZE)
    nose = HeadPixels.of(head, SIZE, about=CanonicalHead.load().triangles_of("nose"), margin_px=2)
    x0, y0, x1, y1 = np.array(nose.box_px) - np.tile(whole.box_px[:2], 2)
    np.testing.assert_array_equal(nose.raster.triangle, whole.raster.triangle[y0:y1, x0:x1])
    assert nose.raster.triangle.size < whole.raster.triangle.size / 10


def test_the_nearest_place_of_the_head() -> None:
    pixels = HeadPixels.of(landmarks(camera()), SIZE, within=False)
    rows, columns = np.nonzero(pixels.raster.triangle >= 0)
    inside = np.array([columns[40], rows[40]]) + 0.5 + pixels.box_px[:2]
    beside = np.array([columns.max() + 0.5 + 7, rows[columns.argmax()] + 0.5]) + pixels.box_px[:2]
    row, column, off = pixels.nearest(np.stack([inside, beside]))
    assert (row[0], column[0], off[0]) == (rows[40], columns[40], 0)
    assert off[1] == pytest.approx(7, abs=0.5)


def test_means_over_pixels() -> None:
    pixels = HeadPixels.of(landmarks(camera()), SIZE, 2)
    shown = (pixels.raster.triangle >= 0).astype(np.float32)
    mean = pixels.averaged(shown)
    assert mean.shape == tuple(side // 2 for side in shown.shape)
    assert mean.sum() == pytest.approx(shown.sum() / 4)
    assert set(np.unique(mean)) <= {0, 0.25, 0.5, 0.75, 1}


def test_other_layouts_and_giants_are_refused() -> None:
    with pytest.raises(AnymarkError, match="this needs the layout 'head', not 'ibug68'"):
        HeadPixels.of(landmarks(camera(), load_layout("ibug68")), SIZE)
    with pytest.raises(AnymarkError, match="too large to draw"):
        HeadPixels.of(landmarks(camera()), SIZE, factor=200)
