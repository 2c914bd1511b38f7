"""Photos in: every mode, orientation and array gives the same picture; what is none is named in one line."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from anymark import AnymarkError
from anymark.detect.image import load_image, open_photo

WIDTH, HEIGHT = 60, 40


def grey() -> npt.NDArray[np.uint8]:
    """A picture (H, W) with the full range and no symmetry."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (x * 3 + y * 2).astype(np.uint8)


def rgb() -> npt.NDArray[np.uint8]:
    return grey()[..., None].repeat(3, 2)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def opened(image: Image.Image) -> npt.NDArray[np.int64]:
    return load_image(image).astype(np.int64)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La", "RGBa"])
def test_every_mode_gives_the_same_picture(mode: str) -> None:
    image = Image.fromarray(grey())
    through = {"PA": ("LA",), "La": ("LA",), "RGBa": ("RGBA",), "HSV": ("RGB",), "YCbCr": ("RGB",)}
    for step in (*through.get(mode, ()), mode):
        image = image.convert(step)
    assert image.mode == mode
    assert np.abs(opened(image) - rgb()).max() <= 2


def test_black_and_white_is_zero_and_full() -> None:
    image = Image.fromarray(grey() > 90)
    assert image.mode == "1"
    assert set(np.unique(opened(image))) == {0, 255}


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_sixteen_bits_are_scaled_and_not_clipped(mode: str) -> None:
    values = grey().astype(np.uint16) * 257
    image = Image.fromarray(values) if mode == "I;16" else Image.fromarray(values.astype(np.int32))
    assert image.mode == mode
    assert np.abs(opened(image) - rgb()).max() <= 1


def test_a_sixteen_bit_png_and_tiff_are_scaled(tmp_path: Path) -> None:
    for name in ("photo.png", "photo.tif"):
        path = saved(tmp_path / name, Image.fromarray(grey().astype(np.uint16) * 257))
        assert np.abs(load_image(path).astype(int) - rgb()).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_file_of_a_camera_of_fewer_bits_is_not_black(tmp_path: Path, bits: int) -> None:
    scale = (2**bits - 1) / 255
    values = np.rint(grey() * scale).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    error = np.abs(load_image(saved(tmp_path / "a.png", Image.fromarray(values))).astype(int) - rgb())
    error[0, 0] = 0
    assert error.max() <= 1


def test_frames_of_16_bits_are_scaled_alike_whatever_is_in_them() -> None:
    dark, bright = np.full((20, 30), 4000, np.uint16), np.full((20, 30), 4000, np.uint16)
    bright[3, 4] = 65535
    a, b = load_image(dark), load_image(bright)
    assert np.array_equal(a[10:], b[10:])
    assert b[3, 4].tolist() == [255, 255, 255]
    assert a[0, 0, 0] == round(4000 / 257)


def test_floats_in_files() -> None:
    assert np.abs(opened(Image.fromarray(grey().astype(np.float32) / 255)) - rgb()).max() <= 1
    stretched = opened(Image.fromarray(grey().astype(np.float32) * 40 - 3000))
    assert (stretched.min(), stretched.max()) == (0, 255)
    with_nan = grey().astype(np.float32) / 255
    with_nan[3, 4] = np.nan
    assert opened(Image.fromarray(with_nan)).shape == (HEIGHT, WIDTH, 3)


def test_transparency_is_laid_on_white() -> None:
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[:, :30] = 255
    rgba = Image.fromarray(np.dstack([rgb(), alpha]))
    buffer = io.BytesIO()
    rgba.convert("P").save(buffer, "PNG", transparency=bytes([255] * 255 + [0]))
    for image in (rgba, Image.fromarray(np.dstack([grey(), alpha]), "LA"), rgba.convert("RGBa")):
        out = opened(image)
        assert np.abs(out[:, :30] - rgb()[:, :30]).max() <= 1
        assert (out[:, 30:] == 255).all()


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.fromarray(np.where(np.arange(WIDTH) < 30, 0, 1).astype(np.uint8)[None].repeat(HEIGHT, 0), "P")
    image.putpalette([200, 0, 0, 0, 0, 200])
    for transparency in (1, b"\xff\x00"):
        out = load_image(saved(tmp_path / "p.png", image, transparency=transparency))
        assert (out[0, 0].tolist(), out[0, -1].tolist()) == ([200, 0, 0], [255, 255, 255])


def test_arrays_of_every_kind_give_the_same_picture() -> None:
    same = [
        grey(),
        grey()[..., None],
        rgb(),
        np.dstack([rgb(), np.full((HEIGHT, WIDTH), 255, np.uint8)]),
        grey().astype(np.uint16) * 257,
        grey().astype(np.float32) / 255,
        grey() / 255,
        rgb().astype(np.float16) / 255,
    ]
    for array in same:
        assert np.abs(load_image(array).astype(int) - rgb()).max() <= 1, array.dtype


def test_a_boolean_array_is_black_and_white() -> None:
    assert set(np.unique(load_image(grey() > 90))) == {0, 255}


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5, 2), np.uint8),
        np.zeros((2, 5, 5, 3), np.uint8),
        np.zeros(5, np.uint8),
        np.full((5, 5), 200.0),
        np.full((5, 5), np.nan),
        np.zeros((5, 5), np.int64),
        np.zeros((5, 5), complex),
    ],
)
def test_an_array_that_is_no_image_is_refused(array: npt.NDArray[np.generic]) -> None:
    with pytest.raises(AnymarkError, match="array of shape"):
        load_image(array)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    # What a camera held so stores: the upright picture, moved by the inverse of what a viewer does.
    stored = {
        1: rgb(),
        2: rgb()[:, ::-1],
        3: rgb()[::-1, ::-1],
        4: rgb()[::-1],
        5: rgb().transpose(1, 0, 2),
        6: np.rot90(rgb()),
        7: np.rot90(rgb(), 2).transpose(1, 0, 2),
        8: np.rot90(rgb(), -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {".jpg": {"quality": 100}, ".webp": {"lossless": True}}.get(suffix, {})
    path = saved(tmp_path / f"photo{suffix}", Image.fromarray(np.ascontiguousarray(stored)), exif=exif, **options)
    photo = open_photo(path)
    assert photo.full_size_px == (WIDTH, HEIGHT)
    assert np.abs(photo.pixels.astype(int) - rgb()).max() <= 2
    with Image.open(path) as image:
        np.testing.assert_array_equal(load_image(image), photo.pixels)


def test_damaged_exif_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.jpg", Image.fromarray(rgb()), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about the EXIF
        assert load_image(path).shape == (HEIGHT, WIDTH, 3)


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.fromarray(rgb()), Image.new("RGB", (WIDTH, HEIGHT))]
    path = tmp_path / "photo.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert np.abs(load_image(path).astype(int) - rgb()).max() <= 8


def one_line(source: object) -> str:
    with pytest.raises(AnymarkError) as caught:
        open_photo(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_bad_files_are_named(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.jpg", Image.fromarray(rgb())).read_bytes()
    png = saved(tmp_path / "good.png", Image.fromarray(rgb())).read_bytes()
    files = {
        "missing.jpg": (None, "no such file"),
        "empty.jpg": (b"", "empty file"),
        "text.jpg": (b"hello, this is no image", "not an image"),
        "start.jpg": (good[:30], "damaged|cut|not an image"),
        "half.jpg": (good[: len(good) // 2], "damaged"),
        "half.png": (png[: len(png) // 2], "damaged"),
        "magic.jpg": (b"\xff\xd8\xff" + b"\x00" * 100, "damaged|not an image"),
        "pickle.jpg": (b"\x80\x04\x95\x0f\x00\x00\x00", "not an image"),
    }
    for name, (content, reason) in files.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        message = one_line(path)
        assert message.startswith(f"{path}: ")
        assert any(part in message for part in reason.split("|")), message
    assert "folder" in one_line(tmp_path)


@pytest.mark.parametrize("seed", range(66))
def test_whatever_is_broken_in_a_file_is_one_of_our_errors(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = [".jpg", ".png", ".tif", ".gif", ".webp", ".bmp", ".avif", ".jp2", ".tga", ".mpo", ".ppm"]
    suffix = kinds[seed % len(kinds)]
    content = bytearray(saved(tmp_path / f"a{suffix}", Image.fromarray(rgb())).read_bytes())
    for place in rng.integers(0, len(content), 12):
        content[place] = rng.integers(256)
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content[: rng.integers(10, len(content) + 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about the damage
        with contextlib.suppress(AnymarkError):
            open_photo(path)


def test_a_name_that_no_file_can_have_is_one_of_our_errors() -> None:
    assert "embedded null" in one_line("a\0b.jpg")
    assert "too long" in one_line("a" * 5000 + ".jpg")


def test_a_decompression_bomb_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "bomb.png", Image.new("1", (300, 300)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    assert "too large (20,000 pixels is the limit)" in one_line(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)  # Pillow would warn here
    assert load_image(path).shape == (300, 300, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_large_photo_is_worked_on_at_a_fraction_of_its_size(tmp_path: Path, suffix: str) -> None:
    y, x = np.mgrid[:300, :400]
    big = np.rint(x / 4 + y / 3).astype(np.uint8)[..., None].repeat(3, 2)
    path = saved(tmp_path / f"big{suffix}", Image.fromarray(big))
    photo = open_photo(path, max_pixels=10_000)
    assert (photo.shrink, photo.full_size_px, photo.pixels.shape) == (4, (400, 300), (75, 100, 3))
    centres = (np.mgrid[:75, :100] + 0.5) * 4  # scaling an image scales its coordinates, nothing else
    wanted = (centres[1] - 0.5) / 4 + (centres[0] - 0.5) / 3
    assert abs((photo.pixels[..., 0] - wanted).mean()) < 0.15
    assert open_photo(path, max_pixels=120_000).shrink == 1
    with Image.open(path) as image:  # the caller's own image is not decoded smaller under their hands
        assert open_photo(image, max_pixels=10_000).pixels.shape == (75, 100, 3)
        assert image.size == (400, 300)


def test_a_large_rotated_jpeg(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "big.jpg", Image.new("RGB", (400, 300)), exif=exif)
    photo = open_photo(path, max_pixels=10_000)
    assert (photo.full_size_px, photo.pixels.shape) == ((300, 400), (100, 75, 3))
