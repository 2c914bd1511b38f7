"""Photos in: every file, Pillow image and array becomes upright RGB uint8 (H, W, 3) here, and nowhere else."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from anymark.errors import AnymarkError

T = TypeVar("T")

MAX_WORKING_PIXELS = 64_000_000
"""Photos with more pixels are worked on at 1/2, 1/4 or 1/8 of their size, which bounds the memory they take."""

MAX_JPEG_PIXELS = 1_000_000_000
"""A JPEG is decoded straight to its working size, so it may be far larger than Pillow's own limit for other formats."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "MPO", "JPEG2000", "TGA", "PSD", "SGI", "ICO", "DDS")
"""Pillow's names of what is opened whatever a file calls itself. Not PostScript: for that Pillow starts a program,
Ghostscript, on the file."""

_NEWER = ("AVIF", "HEIF")  # of some versions of Pillow, and of a package that adds itself to it
_SHRINKS = (1, 2, 4, 8)
_REDUCIBLE = {"L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"}
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Cameras of 10 to 14 bits store their numbers unscaled in 16-bit files; such a picture divided by 65535 would be black.
_FULL_SCALES = (255, 1023, 4095, 16383, 65535)


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo, upright."""

    pixels: npt.NDArray[np.uint8]
    """(H, W, 3) RGB, at the working size."""
    shrink: int
    """Pixels of the photo for each working pixel; 1 but for photos above `MAX_WORKING_PIXELS`."""
    full_size_px: tuple[int, int]
    """(width, height) of the photo itself, upright; all results are in its pixels."""


Source = str | os.PathLike[str] | Image.Image | npt.NDArray[Any] | Photo
"""What a detector takes as a photo."""


def open_photo(source: Source, max_pixels: int = MAX_WORKING_PIXELS) -> Photo:
    """Read a photo: a file, a Pillow image or an array.

    EXIF orientation is applied; transparency is laid on white; of an animation, the first frame is taken. Numbers of 16
    bits are scaled to 8. Grey files of 16 bits are taken as 8, 10, 12 or 14 bits where these hold all their numbers, as
    many cameras use no more; arrays of uint16 are not, so that the frames of a video are all scaled alike.

    Args:
        source: Arrays are (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, of uint8, uint16, bool or floats in 0..1.
        max_pixels: Working size; `Photo.shrink` says how it relates to the photo's own.

    Raises:
        AnymarkError: there is no such file, it is not an image, it is cut short or it is too large.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, np.ndarray):
        pixels = _array_to_rgb(source)
        return Photo(pixels, 1, (pixels.shape[1], pixels.shape[0]))
    if isinstance(source, Image.Image):
        return _decode("image", source, max_pixels)
    if not isinstance(source, str | os.PathLike):
        raise AnymarkError(f"{source!r:.80} is no photo: a file, a Pillow image or an array is")
    path = Path(source)
    return _read(path, lambda image: _decode(str(path), image, max_pixels, draft=True))


def open_picture(path: Path | str) -> Image.Image:
    """A picture file as it is stored, with its transparency; of an animation, the first frame.

    Raises:
        AnymarkError: there is no such file, it is not an image, it is cut short or it is too large.
    """

    def decode(image: Image.Image) -> Image.Image:
        if image.width * image.height > 2 * (Image.MAX_IMAGE_PIXELS or 0):  # Pillow's own limit, of JPEGs too
            raise _too_large(str(path))
        try:
            image.load()
        except Exception as error:  # Pillow's readers raise whatever they stumble over
            raise _damaged(str(path), error) from None
        return image

    return _read(Path(path), decode)


def identified(file: BinaryIO | io.BytesIO) -> Image.Image:
    """A picture, not decoded yet, if it is of one of `FORMATS`.

    Raises:
        PIL.UnidentifiedImageError: it is of none.
        PIL.Image.DecompressionBombError: it has too many pixels.
    """
    Image.init()
    known = [name for name in (*FORMATS, *_NEWER) if name in Image.OPEN]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes above half of the limit, and why formats do not fit
        return Image.open(file, formats=known)


def load_image(source: Source) -> npt.NDArray[np.uint8]:
    """A photo at its full size as RGB uint8 (H, W, 3); see `open_photo`."""
    return open_photo(source, max_pixels=MAX_JPEG_PIXELS).pixels


def _read(path: Path, decode: Callable[[Image.Image], T]) -> T:
    """What `decode` makes of a file's picture, which it must have read to its end.

    Raises:
        AnymarkError: there is no such file, or it is not an image.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # to open a pipe would wait for whoever writes to it
            raise AnymarkError(f"{path}: {'a folder' if stat.S_ISDIR(mode) else 'a pipe or device'}, not an image")
        with path.open("rb") as file:
            return decode(_open_file(str(path), file))
    except AnymarkError:
        raise
    except (OSError, ValueError) as error:  # a name may hold what no name can
        said = (isinstance(error, OSError) and error.strerror) or str(error)
        raise AnymarkError(
            f"{str(path)!r:.200}: {said.lower()}" if "\0" in str(path) else f"{path}: {said.lower()}"
        ) from None


def _open_file(name: str, file: BinaryIO) -> Image.Image:
    start = file.read(3)
    file.seek(0)
    if not start:
        raise AnymarkError(f"{name}: empty file")
    try:
        if start == b"\xff\xd8\xff":
            image = JpegImageFile(file)  # Image.open refuses them above its limit, though `draft` makes them harmless
            return identified(file) if "progressive" in image.info else image  # all of it lies in memory, coefficients
        return identified(file)
    except UnidentifiedImageError:
        raise AnymarkError(f"{name}: not an image (cannot identify)") from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except Exception as error:  # Pillow's readers raise whatever they stumble over
        raise _damaged(name, error) from None


def _too_large(name: str) -> AnymarkError:
    return AnymarkError(f"{name}: too large ({2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels is the limit)")


def _damaged(name: str, error: Exception) -> AnymarkError:
    return AnymarkError(f"{name}: damaged image ({' '.join(str(error).split())[:100] or type(error).__name__})")


def _decode(name: str, image: Image.Image, max_pixels: int, draft: bool = False) -> Photo:
    """Pixels of an opened image. `draft`: a JPEG may be decoded at a fraction of its size, which changes `image`."""
    width, height = image.size
    if width * height == 0:
        raise AnymarkError(f"{name}: an image without pixels")
    if width * height > MAX_JPEG_PIXELS:
        raise AnymarkError(f"{name}: {width} x {height} is too large ({MAX_JPEG_PIXELS:,} pixels is the limit)")
    fitting = [shrink for shrink in _SHRINKS if width * height <= max_pixels * shrink**2]
    shrink = fitting[0] if fitting else _SHRINKS[-1]
    try:
        if draft and shrink > 1 and isinstance(image, JpegImageFile):
            image.draft(None, (width // shrink, height // shrink))
        image.load()
        orientation = _orientation(image)  # only now: a PNG may end with it, and a TIFF has been turned upright
        rgb = _to_rgb(image, shrink if image.size == (width, height) else 1)
        if orientation in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[orientation])
        pixels = np.asarray(rgb)
    except MemoryError:
        raise AnymarkError(f"{name}: {width} x {height} does not fit into memory") from None
    except Exception as error:
        raise _damaged(name, error) from None
    return Photo(pixels, shrink, (height, width) if orientation >= 5 else (width, height))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8."""
    try:
        orientation = int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        return 1  # damaged EXIF is no reason to refuse a sound picture
    return orientation if orientation in _UPRIGHT else 1


def _to_rgb(image: Image.Image, shrink: int) -> Image.Image:
    """An image of any mode -> RGB, `shrink` times smaller."""
    if image.mode == "La":
        image = image.convert("LA")  # the only mode that Pillow converts it to
    if shrink > 1 and image.mode in _REDUCIBLE:
        image, shrink = image.reduce(shrink), 1
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = Image.fromarray(_integers_to_uint8(np.asarray(image)))
    elif image.mode == "F":
        image = Image.fromarray(_stretched(np.asarray(image)))
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    elif image.mode != "RGB":
        image = image.convert("RGB")
    return image.reduce(shrink) if shrink > 1 else image


def _integers_to_uint8(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > _FULL_SCALES[-1]:
        return _stretched(values)
    scale = next(full for full in _FULL_SCALES if high <= full)
    return np.rint(values * np.float32(255 / scale)).astype(np.uint8)


def _stretched(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Floats in 0..1 by 255; anything else from its darkest to its brightest finite value."""
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return np.rint((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def _array_to_rgb(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    what = f"array of shape {array.shape} and type {array.dtype}"
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise AnymarkError(f"{what}: an image is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    if array.dtype == np.uint16:
        array = np.rint(array / np.float32(257)).astype(np.uint8)
    elif array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= -0.01 and high <= 1.01):  # also catches NaN; resampling may overshoot a little
            raise AnymarkError(f"{what}: floats must lie in 0..1, not in {low:g}..{high:g}")
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise AnymarkError(f"{what}: pixels must be uint8, uint16, bool or floats in 0..1")
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if array.shape[2] == 4:
        return np.asarray(_to_rgb(Image.fromarray(array), 1))
    return array
