"""OpenEXR pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from anymark import AnymarkError
from anymark.video import open_video
from anymark.video.exr import developed, read_exr


def write(path: Path, channels: dict[str, np.ndarray], **header: object) -> Path:
    plain = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(plain | header, channels) as file:
        file.write(str(path))
    return path


def test_dark_and_middle_values_are_plain_srgb() -> None:
    # 18 % grey is 118 in sRGB; 0.5 is 188
    np.testing.assert_array_equal(developed(np.array([0, 0.001, 0.18, 0.5])), [0, 3, 118, 188])


def test_highlights_come_nearer_to_white_and_keep_their_order() -> None:
    values = developed(np.array([0.8, 1.0, 1.5, 2.0, 8.0, 60000.0])).astype(int)
    assert (np.diff(values) >= 0).all()
    assert values[0] < values[1] < values[2] < 255
    assert values[-1] == 255


def test_brighter_light_is_never_darker() -> None:
    light = np.sort(np.random.default_rng(0).uniform(0, 4, 2000))
    assert (np.diff(developed(light).astype(int)) >= 0).all()


def test_numbers_that_are_none_have_a_place() -> None:
    np.testing.assert_array_equal(developed(np.array([np.nan, -1, -np.inf, np.inf, 1e30])), [0, 0, 0, 255, 255])


@pytest.mark.parametrize("stops", [-3.0, -0.5, 2.0])
def test_a_stop_doubles_the_light(stops: float) -> None:
    light = np.random.default_rng(0).uniform(0, 1, 500).astype(np.float16)
    difference = developed(light, stops).astype(int) - developed(light.astype(np.float64) * 2**stops)
    assert np.abs(difference).max() <= 1  # half precision


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("channels", ["RGB", "RGBA"])
def test_half_and_float(tmp_path: Path, kind: type, channels: str) -> None:
    pixels = np.zeros((27, 33, len(channels)), kind)
    pixels[5, 7, :3] = (0.18, 0.5, 0)
    shown = read_exr(write(tmp_path / "a.exr", {channels: pixels}))
    assert shown.shape == (27, 33, 3)
    np.testing.assert_array_equal(shown[5, 7], [118, 188, 0])
    assert np.count_nonzero(shown) == 2


def test_grey_and_layers(tmp_path: Path) -> None:
    grey = np.full((4, 5), 0.18, np.float16)
    np.testing.assert_array_equal(read_exr(write(tmp_path / "y.exr", {"Y": grey})), np.full((4, 5, 3), 118))
    layer = {
        f"beauty.{name}": np.full((4, 5), value, np.float16) for name, value in zip("RGB", (0, 0.18, 0.5), strict=True)
    }
    shown = read_exr(write(tmp_path / "l.exr", {"Z": grey, **layer}))
    np.testing.assert_array_equal(shown[0, 0], [0, 118, 188])
    with pytest.raises(AnymarkError, match=r"z\.exr: no colours among its channels \(Z\)"):
        read_exr(write(tmp_path / "z.exr", {"Z": grey}))


def test_pixels_are_those_of_the_display_window(tmp_path: Path) -> None:
    pixels = np.full((10, 20, 3), 0.18, np.float16)
    pixels[4, 6] = 0.5
    windows = {
        "dataWindow": (np.array([-3, 5], np.int32), np.array([16, 14], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([29, 11], np.int32)),
    }
    shown = read_exr(write(tmp_path / "a.exr", {"RGB": pixels}, **windows))
    assert shown.shape == (12, 30, 3)
    assert tuple(np.argwhere(shown[..., 0] == 188)[0]) == (4 + 5, 6 - 3)
    assert (shown[:5] == 0).all()
    assert (shown[:, 17:] == 0).all()
    assert (shown[5:, :17] > 0).all()
    windows["displayWindow"] = (np.array([100, 100], np.int32), np.array([101, 101], np.int32))
    assert not read_exr(write(tmp_path / "b.exr", {"RGB": pixels}, **windows)).any()


def test_a_sequence_with_its_exposure(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / f"{number}.exr", {"RGB": np.full((4, 4, 3), 0.09 * number, np.float16)})
    levels = [int(frame.pixels[0, 0, 0]) for frame in open_video(tmp_path / "#.exr", exposure_stops=1)]
    assert levels == developed(np.array([0.18, 0.36])).tolist()


def test_broken_files(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.exr", {"RGB": np.random.default_rng(0).random((40, 40, 3)).astype(np.float16)})
    content = whole.read_bytes()
    for name, part in {"half": content[: len(content) // 2], "text": b"no picture", "empty": b""}.items():
        (tmp_path / f"{name}.exr").write_bytes(part)
        with pytest.raises(AnymarkError, match=rf"{name}\.exr: not a whole OpenEXR file"):
            read_exr(tmp_path / f"{name}.exr")


def test_without_openexr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "1.exr", {"Y": np.zeros((2, 2), np.float16)})
    monkeypatch.setattr("anymark.video.exr.find_spec", lambda name: None)
    with pytest.raises(AnymarkError, match=r"1\.exr: .exr files need OpenEXR: pip install 'anymark\[vfx\]'"):
        open_video(tmp_path)
