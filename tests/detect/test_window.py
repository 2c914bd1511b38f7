"""Window and crop: their coordinates obey the laws of affine maps, and cropping samples exactly where they say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymark import AnymarkError, Crop, Window
from anymark.detect.window import crop

windows = st.builds(
    lambda x, y, side, roll: Window(np.array([x, y]), side, roll),
    st.floats(-500, 500),
    st.floats(-500, 500),
    st.floats(1, 1000),
    st.floats(-np.pi, np.pi),
)
POINTS = np.random.default_rng(0).uniform(-2, 2, (3, 5, 2))

linears = st.builds(
    lambda scale, roll, stretch, shear: (
        scale * turn(roll) @ np.array([[np.exp(stretch), shear], [0, np.exp(-stretch)]])
    ),
    st.floats(0.1, 500),
    st.floats(-3.1, 3.1),
    st.floats(-0.3, 0.3),
    st.floats(-0.3, 0.3),
)
crops = st.builds(
    lambda linear, x, y: Crop(np.column_stack([linear, [x, y]])), linears, st.floats(-500, 500), st.floats(-500, 500)
)


def turn(angle: float) -> npt.NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@given(windows)
def test_there_and_back_is_where_one_was(window: Window) -> None:
    np.testing.assert_allclose(window.to_window(window.to_image(POINTS)), POINTS, atol=1e-9)
    np.testing.assert_allclose(window.to_image(window.to_window(POINTS)), POINTS, atol=1e-9)


@given(windows, st.floats(-100, 100), st.floats(-100, 100))
def test_moving_the_window_moves_its_points(window: Window, dx: float, dy: float) -> None:
    step = np.array([dx, dy])
    moved = Window(window.centre_px + step, window.side_px, window.roll_rad)
    np.testing.assert_allclose(moved.to_image(POINTS), window.to_image(POINTS) + step, atol=1e-9)


@given(windows, st.floats(-np.pi, np.pi))
def test_turning_the_window_turns_its_points(window: Window, angle: float) -> None:
    turned = Window(turn(angle) @ window.centre_px, window.side_px, window.roll_rad + angle)
    np.testing.assert_allclose(turned.to_image(POINTS), window.to_image(POINTS) @ turn(angle).T, atol=1e-9)


@given(windows, st.floats(0.1, 10))
def test_scaling_the_image_scales_coordinates_and_nothing_else(window: Window, factor: float) -> None:
    np.testing.assert_allclose(window.scaled(factor).to_image(POINTS), factor * window.to_image(POINTS), atol=1e-8)


@given(windows)
def test_the_affine_map_of_a_window_is_the_window(window: Window) -> None:
    whole = Crop(window.affine())
    np.testing.assert_allclose(whole.to_image(POINTS), window.to_image(POINTS), atol=1e-9)
    np.testing.assert_allclose(whole.centre_px, window.centre_px)
    assert whole.side_px == pytest.approx(window.side_px)
    assert np.exp(1j * whole.roll_rad) == pytest.approx(np.exp(1j * window.roll_rad))


@given(crops)
def test_into_a_crop_and_back(crop: Crop) -> None:
    np.testing.assert_allclose(crop.to_crop(crop.to_image(POINTS)), POINTS, atol=1e-7)
    np.testing.assert_allclose(crop.to_image(crop.to_crop(POINTS)), POINTS, atol=1e-7)
    assert crop.to_image(POINTS.astype(np.float32)).dtype == np.float32
    assert crop.to_crop(POINTS.astype(np.float32)).dtype == np.float32


@given(windows, linears, st.floats(-2, 2), st.floats(-2, 2))
def test_a_crop_inside_a_window_goes_through_it(window: Window, linear: np.ndarray, x: float, y: float) -> None:
    theta = np.column_stack([linear, [x, y]])
    inside = Crop.inside(window, theta)
    want = window.to_image(POINTS @ linear.T + (x, y))
    np.testing.assert_allclose(inside.to_image(POINTS), want, rtol=1e-9, atol=1e-7)
    assert Crop.inside(window, np.eye(2, 3)).affine == pytest.approx(window.affine())


@given(crops, st.floats(0.1, 10))
def test_scaling_the_image_scales_a_crop(crop: Crop, factor: float) -> None:
    scaled = crop.scaled(factor)
    np.testing.assert_allclose(scaled.to_image(POINTS), factor * crop.to_image(POINTS), rtol=1e-9, atol=1e-7)
    assert scaled.side_px == pytest.approx(factor * crop.side_px)
    assert scaled.roll_rad == pytest.approx(crop.roll_rad)


@given(windows, crops)
def test_side_and_roll_are_those_of_the_square_of_the_same_area(window: Window, crop: Crop) -> None:
    corners = crop.corners_px()
    area = np.linalg.det([corners[1] - corners[0], corners[3] - corners[0]])
    assert crop.side_px**2 == pytest.approx(area, rel=1e-6)
    turned = Crop(np.column_stack([turn(0.5) @ crop.affine[:, :2], crop.centre_px]))
    assert np.exp(1j * turned.roll_rad) == pytest.approx(np.exp(1j * (crop.roll_rad + 0.5)))


@pytest.mark.parametrize(
    "affine",
    [
        np.zeros((2, 3)),
        np.eye(2),
        np.diag([1.0, -1.0]) @ np.eye(2, 3),  # a mirror
        np.eye(2, 3) * np.nan,
        np.eye(2, 3) * 1e8,
    ],
)
def test_a_crop_that_is_none_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(AnymarkError, match="crop"):
        Crop(affine)


def test_corners_of_an_upright_window_are_its_outer_corners() -> None:
    window = Window(np.array([30.0, 20.0]), 20.0)
    np.testing.assert_allclose(window.corners_px(), [[20, 10], [40, 10], [40, 30], [20, 30]])


def test_a_positive_roll_is_clockwise_on_screen() -> None:
    window = Window(np.array([0.0, 0.0]), 2.0, np.pi / 2)
    np.testing.assert_allclose(window.to_image([1, 0]), [0, 1], atol=1e-12)  # y is down


def test_single_precision_stays_single() -> None:
    window = Window(np.array([1.0, 2.0]), 3.0, 0.1)
    assert window.to_image(POINTS.astype(np.float32)).dtype == np.float32
    assert window.to_window(POINTS.astype(np.float32)).dtype == np.float32
    assert window.to_image([[1, 0]]).dtype == np.float64


def test_from_box_is_about_the_middle_and_as_wide_as_the_longer_side() -> None:
    window = Window.from_box([10, 20, 30, 60], 1.5, 0.2)
    assert window.centre_px.tolist() == [20, 40]
    assert (window.side_px, window.roll_rad) == (60, 0.2)


@pytest.mark.parametrize("box", [[0, 0, 0, 1], [0, 5, 1, 4], [0, 0, np.nan, 1], [0, 0, 1], [0, 0, np.inf, 1]])
def test_a_box_that_is_none_is_refused(box: list[float]) -> None:
    with pytest.raises(AnymarkError, match="box"):
        Window.from_box(box, 1.5)


@pytest.mark.parametrize(
    ("centre", "side", "roll"),
    [([0, 0], 0.0, 0.0), ([0, 0], -1.0, 0.0), ([0, np.nan], 1.0, 0.0), ([0, 0, 0], 1.0, 0.0), ([0, 0], 1.0, np.inf)],
)
def test_a_window_that_is_no_square_is_refused(centre: list[float], side: float, roll: float) -> None:
    with pytest.raises(AnymarkError, match="window"):
        Window(np.array(centre, float), side, roll)


# A plane of grey levels: whatever is averaged about a point, symmetrically, gives the value at that point.
WIDTH, HEIGHT = 640, 480
A, B, C = 0.237, 0.203, 2.0


def plane(xy: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Grey level at pixels (..., 2)."""
    return A * xy[..., 0] + B * xy[..., 1] + C


def plane_photo() -> npt.NDArray[np.uint8]:
    """The plane and its negative: their difference is free of how a resampler rounds (Pillow's rotation cuts off)."""
    values = plane(np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), -1))
    # Rounded up or down by chance, so that rounding has no mean whatever is averaged.
    dither = np.random.default_rng(0).uniform(0, 1, (2, HEIGHT, WIDTH))
    positive, negative = np.floor(values + dither[0]), np.floor(255 - values + dither[1])
    return np.stack([positive, negative, np.zeros_like(positive)], -1).astype(np.uint8)


def measured(photo_crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Grey levels of the plane in a crop of `plane_photo`."""
    return (photo_crop[..., 0].astype(float) - photo_crop[..., 1] + 255) / 2


def pixel_centres(size: int) -> npt.NDArray[np.float64]:
    """(size, size, 2) window coordinates of the centres of a crop's pixels."""
    line = (np.arange(size) + 0.5) / size * 2 - 1
    return np.stack(np.meshgrid(line, line), -1)


ROLLS = [0.0, 0.01, 0.3, -0.7, np.pi / 2, 2.5]


@pytest.mark.parametrize("roll", ROLLS)
@pytest.mark.parametrize(("side", "size"), [(40.0, 64), (65.2, 64), (91.7, 64), (200.0, 128), (290.3, 64), (310.0, 50)])
def test_a_crop_samples_where_the_window_says(side: float, size: int, roll: float) -> None:
    window = Window(np.array([317.37, 236.81]), side, roll)
    out = crop(plane_photo(), window, size)
    error = measured(out) - plane(window.to_image(pixel_centres(size)))
    assert abs(error.mean()) < 0.04  # half a pixel would be 0.1 or more
    assert np.sqrt((error**2).mean()) < 0.5
    slopes = [np.polyfit(pixel_centres(size)[..., axis].ravel(), error.ravel(), 1)[0] for axis in (0, 1)]
    assert np.abs(slopes).max() < 0.05  # a window one pixel too wide would show as 0.1 or more
    assert (out[..., 2] == 0).all()


@pytest.mark.parametrize("size", [64, 128])
def test_a_stretched_crop_samples_where_it_says(size: int) -> None:
    linear = 100.0 * turn(0.4) @ np.array([[1.2, 0.2], [0, 1 / 1.2]])
    square = Crop(np.column_stack([linear, [317.37, 236.81]]))
    error = measured(crop(plane_photo(), square, size)) - plane(square.to_image(pixel_centres(size)))
    assert abs(error.mean()) < 0.04
    slopes = [np.polyfit(pixel_centres(size)[..., axis].ravel(), error.ravel(), 1)[0] for axis in (0, 1)]
    assert np.abs(slopes).max() < 0.05


@pytest.mark.parametrize("roll", [0.0, 0.3])
def test_a_window_and_the_crop_of_all_of_it_show_the_same(roll: float) -> None:
    window = Window(np.array([300.0, 240.0]), 220.0, roll)
    np.testing.assert_array_equal(crop(smooth_photo(), Crop(window.affine()), 64), crop(smooth_photo(), window, 64))


def test_a_window_of_whole_pixels_is_copied() -> None:
    out = crop(plane_photo(), Window(np.array([232.0, 132.0]), 64.0), 64)
    np.testing.assert_array_equal(out, plane_photo()[100:164, 200:264])


@pytest.mark.parametrize("roll", ROLLS)
@pytest.mark.parametrize("axis", [0, 1])
def test_the_test_above_would_notice_half_a_pixel(axis: int, roll: float) -> None:
    window = Window(np.array([317.37, 236.81]), 200.0, roll)
    wanted = plane(window.to_image(pixel_centres(128)) + np.eye(2)[axis] / 2)
    assert abs((measured(crop(plane_photo(), window, 128)) - wanted).mean()) > 0.08


def smooth_photo() -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.rint(128 + 100 * np.sin(x / 30) * np.cos(y / 25))[..., None].repeat(3, 2).astype(np.uint8)


@pytest.mark.parametrize("side", [60.0, 130.0, 280.0])
def test_a_hair_of_roll_changes_hardly_anything(side: float) -> None:
    # The upright and the turned window are resampled by different code: a video must not jump between the two.
    centre = np.array([300.0, 240.0])
    upright, turned = (crop(smooth_photo(), Window(centre, side, roll), 64).astype(int) for roll in (0.0, 1e-6))
    assert np.abs(upright - turned).max() <= 3


def test_scaling_down_does_not_alias() -> None:
    checkers = np.indices((400, 400)).sum(0) % 2 * 255
    photo = checkers[..., None].repeat(3, 2).astype(np.uint8)
    for roll in (0.0, 0.5):
        out = crop(photo, Window(np.array([200.0, 200.0]), 260.0, roll), 64).astype(int)
        assert np.abs(out - 127.5).max() < 16


@pytest.mark.parametrize("roll", [0.0, 0.4])
def test_outside_of_the_photo_is_black(roll: float) -> None:
    photo = np.full((50, 80, 3), 200, np.uint8)
    window = Window(np.array([0.0, 25.0]), 40.0, roll)
    xy = window.to_image(pixel_centres(64))
    out = crop(photo, window, 64)
    assert np.abs(out[((xy > 1) & (xy < (79, 49))).all(-1)].astype(int) - 200).max() <= 1
    assert (out[((xy < -1) | (xy > (81, 51))).any(-1)] == 0).all()


@pytest.mark.parametrize("centre", [(-500.0, 20.0), (1e7, 1e7), (40.0, -30.0)])
def test_a_window_beside_the_photo_is_all_black(centre: tuple[float, float]) -> None:
    assert not crop(np.full((50, 80, 3), 200, np.uint8), Window(np.array(centre), 40.0), 16).any()


def test_a_window_far_larger_than_the_photo_shows_it_small() -> None:
    out = crop(np.full((50, 80, 3), 200, np.uint8), Window(np.array([40.0, 25.0]), 100_000.0), 16)
    assert out.shape == (16, 16, 3)


def test_the_photo_is_not_changed_and_may_be_read_only() -> None:
    photo = plane_photo()
    photo.flags.writeable = False
    crop(photo, Window(np.array([100.0, 100.0]), 50.0, 0.1), 16)
    crop(photo[:, ::-1], Window(np.array([100.0, 100.0]), 50.0), 16)
