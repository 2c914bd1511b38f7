"""Landmarks drawn on their photo."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anymark.canonical import Layout
from anymark.detect.image import Source, open_photo
from anymark.detect.landmarks import Landmarks

_PLAIN = (64, 224, 255)
# Told apart on skin of any tone, and by most colour-blind people; regions take them in the layout's order.
_PALETTE = (
    (64, 224, 255),
    (255, 196, 61),
    (102, 255, 148),
    (255, 110, 199),
    (158, 151, 255),
    (255, 131, 89),
    (214, 255, 92),
    (87, 164, 255),
)
_HALO = (10, 14, 20, 255)
_EDGE_ALPHA = 150
_HIDDEN_ALPHA = 0.35  # of edges and dense points, over that of visible ones
_LEAST_VISIBLE = 0.5
_DENSE = 1500  # layouts with more points get bare dots that the face shows through
_DENSE_ALPHA = 170
_FEW = 100  # layouts with at most so many points may overlap on a small face rather than vanish
_LEAST_RADIUS = 1.0
_MOST_OVERLAY_PIXELS = 16_000_000


def draw(image: Source, faces: Sequence[Landmarks], point_px: float | None = None) -> Image.Image:
    """A copy of a photo with landmarks on it, coloured by the layout's regions, lines along its edges.

    Points that are more likely hidden than visible are hollow; in dense layouts, and along edges, faint.

    Args:
        image: The photo; see `open_photo`. Those above its working size are drawn at that size.
        faces: What was found in it.
        point_px: Radius of a point in pixels; None suits it to each face and to how many points it has.

    Returns:
        An RGB image.

    Raises:
        AnymarkError: a bad photo.
    """
    photo = open_photo(image)
    canvas = Image.fromarray(photo.pixels)
    for face in faces:
        _draw_face(canvas, face, photo.shrink, point_px)
    return canvas


def point_colours(layout: Layout) -> npt.NDArray[np.uint8]:
    """(N, 3) RGB of each point of a layout.

    One colour a region; where regions overlap, the smaller one's. Dense layouts are coloured by where a point lies on
    the head instead: x, y and z give red, green and blue.
    """
    if len(layout) > _DENSE:
        points = layout.points_mm - layout.points_mm.min(0)
        return np.rint(45 + 210 * points / np.maximum(points.max(0), 1e-6)).astype(np.uint8)
    colours = np.full((len(layout), 3), _PLAIN, np.uint8)
    coloured = [(indices, _PALETTE[i % len(_PALETTE)]) for i, indices in enumerate(layout.regions.values())]
    for indices, colour in sorted(coloured, key=lambda pair: -len(pair[0])):
        colours[indices] = colour
    return colours


def _draw_face(canvas: Image.Image, face: Landmarks, shrink: int, point_px: float | None) -> None:
    xy = face.xy_px / np.float32(shrink)
    radius = point_px or _radius(xy, math.sqrt(float(np.prod(face.box_px[2:] - face.box_px[:2]))) / shrink)
    margin = 3 * radius + 2
    low = np.maximum(np.floor(xy.min(0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(xy.max(0) + margin), canvas.size).astype(int)
    if (low >= high).any():
        return
    width, height = (int(length) for length in high - low)
    # Drawn large and shrunk by averaging: Pillow's own shapes are neither smooth nor placed between pixels.
    factor = next((f for f in (4, 3, 2) if width * height * f * f <= _MOST_OVERLAY_PIXELS), 1)
    overlay = Image.new("RGBA", (width * factor, height * factor))
    # Pillow draws in coordinates of pixel centres.
    places = ((xy - low) * factor - 0.5).astype(np.float32)
    _draw_layout(ImageDraw.Draw(overlay), face.layout, places, face.visible >= _LEAST_VISIBLE, radius * factor)
    patch = canvas.crop((*low.tolist(), *high.tolist())).convert("RGBA")
    patch.alpha_composite(overlay.reduce(factor) if factor > 1 else overlay)
    canvas.paste(patch.convert("RGB"), tuple(low.tolist()))


def _radius(xy: npt.NDArray[np.float32], face_px: float) -> float:
    """A point's radius: a fraction of the face's side, so that the two irises get no smaller dots than the whole face,
    and less where points are crowded, but never too small to be seen."""
    apart = math.sqrt(max(1.0, float(np.prod(np.ptp(xy, axis=0)))) / len(xy)) if len(xy) > 3 else math.inf
    return max(_LEAST_RADIUS if len(xy) <= _FEW else 0.3, min(0.01 * face_px, 0.3 * apart))


def _draw_layout(
    pen: ImageDraw.ImageDraw,
    layout: Layout,
    xy: npt.NDArray[np.float32],
    shown: npt.NDArray[np.bool_],
    radius: float,
) -> None:
    colours = point_colours(layout)
    points = list(zip(xy.tolist(), colours.tolist(), shown.tolist(), strict=True))
    if len(layout) > _DENSE:
        for (x, y), colour, visible in sorted(points, key=lambda point: point[2]):  # the visible ones on top
            _disc(pen, x, y, radius, (*colour, round(_DENSE_ALPHA * (1 if visible else _HIDDEN_ALPHA))))
        return
    if layout.edges is not None:
        for first, second in layout.edges:
            alpha = round(_EDGE_ALPHA * (1 if shown[first] and shown[second] else _HIDDEN_ALPHA))
            colour = (*colours[first].tolist(), alpha)
            pen.line((*xy[first].tolist(), *xy[second].tolist()), colour, width=max(1, round(0.7 * radius)))
    for (x, y), _, _ in points:
        _disc(pen, x, y, 1.35 * radius, _HALO)
    for (x, y), colour, visible in points:
        _disc(pen, x, y, radius, (*colour, 255))
        if not visible:
            _disc(pen, x, y, 0.6 * radius, _HALO)


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: tuple[int, ...]) -> None:
    # Pillow cuts fractions off, which would move every disc up and to the left.
    pen.ellipse((round(x - radius), round(y - radius), round(x + radius), round(y + radius)), fill=colour)
