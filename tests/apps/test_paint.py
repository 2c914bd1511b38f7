"""Paint: where it lies, what hides it, and what light it takes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anymark.apps.paint import alpha_of, composited, paint, paint_all, st_map
from anymark.apps.uv import UvPicture
from anymark.canonical import CanonicalHead
from anymark.detect.landmarks import Landmarks
from tests.apps.heads import SIZE, camera, landmarks

GREY = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)


def spot(colour: tuple[int, int, int, int] = (200, 30, 30, 255), left: bool = True) -> UvPicture:
    """A square on the subject's left cheek, or on the right one."""
    rgba = np.zeros((256, 256, 4), np.uint8)
    columns = slice(160, 190) if left else slice(66, 96)
    rgba[100:130, columns] = colour
    return UvPicture(rgba)


def painted(photo: np.ndarray, head: Landmarks, picture: UvPicture, **options: float) -> tuple[np.ndarray, np.ndarray]:
    """The photo with paint, and the alpha."""
    found = [paint(photo, head, picture, **options)]
    return composited(photo, found), alpha_of(SIZE, found)


def test_paint_lies_where_the_skin_is() -> None:
    head = landmarks(camera())
    out, alpha = painted(GREY, head, spot())
    rows, columns = np.nonzero(alpha > 128)
    # the vertices whose texture coordinates the square covers
    canonical = CanonicalHead.load()
    corner_uv = canonical.uv.reshape(-1, 2)
    inside = (np.abs(corner_uv[:, 0] - 175 / 256) < 14 / 256) & (np.abs(1 - corner_uv[:, 1] - 115 / 256) < 14 / 256)
    xy = head.xy_px[canonical.triangles.ravel()[inside & (corner_uv[:, 0] < 1)]]
    assert len(xy) > 5
    np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], xy.mean(0), atol=4)
    assert columns.mean() > SIZE[0] / 2  # the subject's left is right in the picture
    assert (out[alpha == 0] == 128).all()
    np.testing.assert_allclose(out[alpha == 255].mean(0), [200, 30, 30], atol=3)


def test_it_is_hidden_where_the_head_is() -> None:
    for yaw, more in ((40, False), (-40, True)):
        left = painted(GREY, landmarks(camera(yaw)), spot(left=True))[1]
        right = painted(GREY, landmarks(camera(yaw)), spot(left=False))[1]
        assert (left.sum() > 2 * right.sum()) == more
    covered = painted(GREY, landmarks(camera(), uncovered=0.0), spot())[1]
    assert covered.max() == 0
    assert painted(GREY, landmarks(camera(180)), spot())[1].max() == 0


def test_it_takes_the_light_of_the_photo() -> None:
    photo = np.empty_like(GREY)
    photo[:] = np.where(np.arange(SIZE[0]) < SIZE[0] / 2, 60, 180)[None, :, None]  # the subject's right is in the shade
    head = landmarks(camera())
    both = UvPicture(np.maximum(spot().rgba, spot(left=False).rgba))
    out, alpha = painted(photo, head, both)
    flat, _ = painted(photo, head, both, shading=0.0)
    inside = alpha == 255
    dark, bright = inside.copy(), inside.copy()
    dark[:, SIZE[0] // 2 :], bright[:, : SIZE[0] // 2] = False, False
    assert out[dark][:, 0].mean() < 0.6 * out[bright][:, 0].mean()
    np.testing.assert_allclose(flat[inside][:, 0], 200, atol=1)


def test_alpha_and_opacity() -> None:
    head = landmarks(camera())
    full = painted(GREY, head, spot())[1]
    half = painted(GREY, head, spot(), opacity=0.5)[1]
    np.testing.assert_allclose(half, full / 2, atol=1)
    thin = painted(GREY, head, spot((200, 30, 30, 102)))[1]
    np.testing.assert_allclose(thin, 0.4 * full, atol=1)
    nothing = paint(GREY, head, UvPicture(np.zeros((64, 64, 4), np.uint8)))
    np.testing.assert_array_equal(composited(GREY, [nothing]), GREY)


def test_the_uv_pass_warps_the_picture_onto_the_head() -> None:
    """Looking the picture up at each pixel's u and v gives what was painted."""
    head = landmarks(camera(10))
    st = st_map([head], SIZE)
    assert st.shape == (SIZE[1], SIZE[0], 4)
    alpha = painted(GREY, head, spot())[1]
    x, y = st[..., 0] * 256, (1 - st[..., 1]) * 256
    there = (st[..., 3] > 0) & (st[..., 0] < 1)
    looked_up = np.where(there, spot().rgba[y.astype(int).clip(0, 255), x.astype(int).clip(0, 255), 3], 0)
    assert (np.abs(looked_up.astype(int) - alpha) > 128).sum() < 0.2 * (alpha > 128).sum()
    assert (st[~there][:, 3] >= 0).all()
    assert st[0, 0].tolist() == [0, 0, 0, 0]


def test_light_of_a_tiny_head_is_none() -> None:
    far = camera()
    far = type(far)(far.focal_px / 40, far.principal_px, far.R_camera_head, far.t_camera_head_mm)
    found = paint(GREY, landmarks(far), spot())
    assert np.isfinite(found.rgb).all()
    assert found.rgb.max() == pytest.approx(found.alpha.max() * (200 / 255) ** 2.2, rel=0.2)


def test_nearer_heads_hide_the_paint_of_farther_ones() -> None:
    near, far = camera(), camera(0, shift_mm=(60.0, 20.0))
    far = replace(far, t_camera_head_mm=far.t_camera_head_mm + np.array([0, 0, 400.0]))
    alone = alpha_of(SIZE, paint_all(GREY, [landmarks(far)], spot(left=False)))
    both = alpha_of(SIZE, paint_all(GREY, [landmarks(far), landmarks(near)], spot(left=False)))
    own = alpha_of(SIZE, paint_all(GREY, [landmarks(near)], spot(left=False)))
    hidden = (alone > 200) & (own < 10)
    assert hidden.sum() > 50
    assert (both[hidden] < 20).mean() > 0.95  # the near cheek lies over it
    assert (both[own > 200] > 190).all()
