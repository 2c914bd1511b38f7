"""Paint on the head: a picture in its texture coordinates, laid over a photo as if it were on the skin (Continuous
Landmark Detection, section 4.4).

The paint follows pose and expression, is hidden where the head is, and takes its light from the photo: where the skin
is in the shade, so is the paint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anymark.apps.head_pixels import HeadPixels
from anymark.apps.pixels import photo_to_linear, spread, to_display, to_linear
from anymark.apps.uv import UvPicture
from anymark.canonical import CanonicalHead
from anymark.canonical.head import SKIN
from anymark.detect.landmarks import Landmarks

Floats = npt.NDArray[np.float32]

SAMPLES = 2
"""Places along a side that each pixel is looked at in."""

_BLUR = 0.012  # of the longer side of the face's box: what is shading, and what is texture
_AROUND = 10.0  # so many times the blur, of the skin around the paint, its light is told from
_FULL = 0.9  # of the skin around the paint is in less than full light
_DARKEST, _BRIGHTEST = 0.1, 1.5  # that shading makes paint
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_LEAST_SKIN = 50  # pixels; of fewer, the light cannot be told


@dataclass(frozen=True, eq=False)
class Painted:
    """Paint on one head of a photo, in a box of it."""

    box_px: tuple[int, int, int, int]
    """x0, y0, x1, y1: the first column and row, and the first ones beyond."""
    rgb: Floats
    """(h, w, 3) linear, in the photo's light, multiplied by alpha."""
    alpha: Floats
    """(h, w) 0..1, less where the head is hidden or covered."""


def paint(
    photo: npt.NDArray[np.uint8], head: Landmarks, picture: UvPicture, opacity: float = 1.0, shading: float = 1.0
) -> Painted:
    """Lay a picture over a head.

    Args:
        photo: (H, W, 3) RGB.
        head: The layout "head" in the pixels of this photo.
        picture: What to paint.
        opacity: 0..1 of all of it.
        shading: 0..1 how much of the photo's light the paint takes on; 0 leaves its colours as they are.

    Raises:
        AnymarkError: landmarks of another layout, or a head too large to be drawn.
    """
    radius = _BLUR * float((head.box_px[2:] - head.box_px[:2]).max())
    size_px = photo.shape[1], photo.shape[0]
    pixels = HeadPixels.of(head, size_px, SAMPLES, about=picture.painted, margin_px=_AROUND * radius)
    rgba = picture.smooth(pixels.raster)
    colour = np.divide(rgba[..., :3], rgba[..., 3:], out=np.zeros_like(rgba[..., :3]), where=rgba[..., 3:] > 0)
    alpha = rgba[..., 3] * pixels.uncovered * np.float32(opacity)
    linear = pixels.averaged(to_linear(colour) * alpha[..., None])
    if shading > 0:
        linear *= 1 + shading * (_light(photo, pixels, radius)[..., None] - 1)
    return Painted(pixels.box_px, linear, pixels.averaged(alpha))


def paint_all(
    photo: npt.NDArray[np.uint8],
    heads: Sequence[Landmarks],
    picture: UvPicture,
    opacity: float = 1.0,
    shading: float = 1.0,
) -> list[Painted]:
    """The same on all heads of a photo; what nearer ones hide of farther ones is left out.

    Raises:
        AnymarkError: as `paint`.
    """
    nearest_first = sorted(heads, key=lambda each: each.camera.t_camera_head_mm[2])
    done = [paint(photo, head, picture, opacity, shading) for head in nearest_first]
    if len(heads) < 2:
        return done
    free = np.ones(photo.shape[:2], np.float32)
    out = []
    for head, each in zip(nearest_first, done, strict=True):
        x0, y0, x1, y1 = each.box_px
        here = free[y0:y1, x0:x1].copy()
        out.append(Painted(each.box_px, each.rgb * here[..., None], each.alpha * here))
        pixels = HeadPixels.of(head, (photo.shape[1], photo.shape[0]), SAMPLES)
        x0, y0, x1, y1 = pixels.box_px
        free[y0:y1, x0:x1] *= 1 - pixels.averaged(pixels.uncovered)
    return out


def composited(photo: npt.NDArray[np.uint8], painted: Sequence[Painted]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) a photo with what was painted on its heads, one after another."""
    out = photo.copy()
    for each in painted:
        x0, y0, x1, y1 = each.box_px
        under = photo_to_linear(out[y0:y1, x0:x1])
        out[y0:y1, x0:x1] = to_display(under * (1 - each.alpha[..., None]) + each.rgb)
    return out


def alpha_of(size_px: tuple[int, int], painted: Sequence[Painted]) -> npt.NDArray[np.uint8]:
    """(H, W) how much of each pixel is painted, 255 for all of it."""
    free = np.ones((size_px[1], size_px[0]), np.float32)
    for each in painted:
        x0, y0, x1, y1 = each.box_px
        free[y0:y1, x0:x1] *= 1 - each.alpha
    return np.rint(255 * (1 - free)).astype(np.uint8)


def st_map(heads: Sequence[Landmarks], size_px: tuple[int, int]) -> Floats:
    """(H, W, 4) u and v of the texture coordinates that each pixel shows, 0, and how likely it shows the head.

    u runs over the tiles, see `anymark.apps.uv`; v is up. All are 0 beside the heads, of which nearer ones lie over
    farther ones. Edges are not mixed with what lies beside them: the coordinates are those of the pixel's middle.

    Raises:
        AnymarkError: landmarks of another layout, or a head too large to be drawn.
    """
    out = np.zeros((size_px[1], size_px[0], 4), np.float32)
    for head in sorted(heads, key=lambda each: -each.camera.t_camera_head_mm[2]):
        pixels = HeadPixels.of(head, size_px)
        x0, y0, x1, y1 = pixels.box_px
        shown = pixels.raster.triangle >= 0
        uv, nothing = pixels.raster.of_corners(CanonicalHead.load().uv), np.zeros_like(pixels.uncovered)
        out[y0:y1, x0:x1][shown] = np.dstack([uv, nothing, pixels.uncovered])[shown]
    return out


def _light(photo: npt.NDArray[np.uint8], pixels: HeadPixels, radius: float) -> Floats:
    """(h, w) how bright the light on each pixel of the box is, 1 where it is full.

    It is the photo's own brightness over the skin, smoothed over what is finer than shading. Where that is no skin of
    the head, such as under hair, it is carried on from the skin around.
    """
    canonical = CanonicalHead.load()
    skin = np.isin(np.arange(len(canonical.triangles)), canonical.triangles_of(*SKIN))
    x0, y0, x1, y1 = pixels.box_px
    bright = photo_to_linear(photo[y0:y1, x0:x1]) @ _LUMINANCE
    shown = pixels.raster.triangle >= 0
    trust = pixels.averaged(np.where(shown & skin[pixels.raster.triangle], pixels.uncovered, 0))
    if (trust > 0.5).sum() < _LEAST_SKIN:
        return np.ones_like(bright)
    smooth = spread(bright[..., None], trust, (radius, 4 * radius, 16 * radius))[..., 0]
    return np.clip(smooth / np.quantile(smooth[trust > 0.5], _FULL), _DARKEST, _BRIGHTEST)
