"""OpenEXR pictures as 8-bit sRGB, at one exposure for a whole sequence.

Scene-linear values are multiplied by 2^stops. Up to 0.8 they are kept; above, they run smoothly towards 1 and never
reach it, so that highlights keep their drawing: 1 becomes 0.93, 2 becomes 0.9995. Then comes the sRGB curve.
Nothing depends on what a picture shows, so a sequence does not flicker. Primaries are taken as they are.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError
from anymark.files import atomic

MOST_PIXELS = 200_000_000
"""Of a display window: a few bytes may ask for any number, all black."""

_SHOULDER = 0.8
_GROUPS = ("RGB", "RGBA", "Y", "YA")  # as OpenEXR joins channels of the top layer


def read_exr(path: Path, exposure_stops: float = 0.0) -> npt.NDArray[np.uint8]:
    """RGB (H, W, 3) of the display window, black where the file has no data.

    R, G and B of the top layer or else of the first layer that has them; or Y, as grey.

    Raises:
        AnymarkError: OpenEXR is not installed, or the file cannot be read or has no colours.
    """
    check_openexr(path)
    import OpenEXR

    try:
        with OpenEXR.File(str(path)) as file:
            header, channels = file.header(), {name: each.pixels for name, each in file.channels().items()}
            pixels = _colours(channels)
            (x0, y0), (x1, y1) = np.array(header["displayWindow"]).tolist()
            left, top = np.array(header["dataWindow"])[0].tolist()
    except (RuntimeError, ValueError, OSError):  # OpenEXR says what is wrong on stderr
        raise AnymarkError(f"{path}: not a whole OpenEXR file") from None
    if pixels is None:
        raise AnymarkError(f"{path}: no colours among its channels ({', '.join(channels)})")
    shown = developed(pixels, exposure_stops)
    if (left, top, *shown.shape[1::-1]) == (x0, y0, x1 - x0 + 1, y1 - y0 + 1):
        return shown
    if (y1 - y0 + 1) * (x1 - x0 + 1) > MOST_PIXELS:
        raise AnymarkError(f"{path}: a display window of more than {MOST_PIXELS:,} pixels")
    canvas = np.zeros((y1 - y0 + 1, x1 - x0 + 1, 3), np.uint8)
    _paste(canvas, shown, left - x0, top - y0)
    return canvas


def write_exr(path: Path, rgba: npt.NDArray[np.float32]) -> None:
    """Write (H, W, 4) as they are, 32-bit floats, losslessly compressed; whole or not at all.

    Raises:
        AnymarkError: OpenEXR is not installed, or the file cannot be written.
    """
    check_openexr(path)
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with atomic(path, "wb") as file:
        try:
            OpenEXR.File(header, {"RGBA": np.ascontiguousarray(rgba, np.float32)}).write(file.name)
        except (RuntimeError, OSError, ValueError) as error:
            raise AnymarkError(f"{path}: cannot write ({error})") from None


def check_openexr(wanted: Path | str) -> None:
    """That .exr files can be read and written, such as the one at a path, or those of an option.

    Raises:
        AnymarkError: OpenEXR is not installed.
    """
    if find_spec("OpenEXR") is None:
        raise AnymarkError(f"{wanted}: .exr files need OpenEXR: pip install 'anymark[vfx]'")


def developed(linear: npt.NDArray[np.floating], exposure_stops: float = 0.0) -> npt.NDArray[np.uint8]:
    """Linear values of any shape -> sRGB 0..255; below 0 and NaN become 0, infinity 255."""
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(linear, np.float16)  # eleven bits are enough for eight
    return _table(exposure_stops)[halves.view(np.uint16)]


@lru_cache(maxsize=4)
def _table(exposure_stops: float) -> npt.NDArray[np.uint8]:
    """(65536,) what each half-precision number becomes."""
    with np.errstate(over="ignore", invalid="ignore"):
        x = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float64) * 2.0**exposure_stops
        x = np.nan_to_num(np.maximum(x, 0), nan=0.0)
        room = 1 - _SHOULDER
        x = np.where(x <= _SHOULDER, x, 1 - room * np.exp(-(x - _SHOULDER) / room))
        srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.rint(255 * srgb).astype(np.uint8)


def _colours(channels: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
    """(H, W, 3) of the channels of a file, which OpenEXR gives in groups (H, W, 3 or 4) or single (H, W)."""
    groups = [channels[name] for name in _GROUPS if name in channels]
    groups += [pixels for pixels in channels.values() if pixels.ndim == 3 and pixels.shape[2] in (3, 4)]
    for pixels in groups:
        if pixels.ndim == 2:
            return np.repeat(pixels[..., None], 3, axis=2)
        return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] == 2 else pixels[..., :3]
    return None


def _paste(canvas: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8], x: int, y: int) -> None:
    height, width = picture.shape[:2]
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + width, canvas.shape[1]), min(y + height, canvas.shape[0])
    if x0 < x1 and y0 < y1:
        canvas[y0:y1, x0:x1] = picture[y0 - y : y1 - y, x0 - x : x1 - x]
