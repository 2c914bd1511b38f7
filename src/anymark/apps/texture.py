"""The head's texture, taken from photos (Infinite 3D Landmarks: texture completion).

Each texel of the texture coordinates is a point of the head; it takes its colour from where the photos show it, those
that see it from the front most of all. What no photo shows is taken from the other side of the head, and what neither
side shows is filled in smoothly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import distance_transform_edt
from scipy.sparse import spmatrix

from anymark.apps.head_pixels import check_head
from anymark.apps.pixels import Floats, photo_to_linear, sampled, to_display
from anymark.apps.uv import TILES, unwrapped
from anymark.canonical import CanonicalHead
from anymark.canonical.film import film, stiffness
from anymark.canonical.meshes import vertex_normals
from anymark.detect.landmarks import Landmarks
from anymark.errors import AnymarkError

SKIN_TILES = 2
"""Face with ears, and the back of the head: whose halves mirror one another. The others are mouth, teeth and eyes."""

LEAST_SIZE, MOST_SIZE = 64, 8192
"""Side of a tile in texels."""

_GRAZING = 0.15  # cosines of the way to the camera to the normal: what is seen at less is not believed
_SHARP = 3.0  # power of the cosine that photos are weighed by
_ENOUGH = 0.12  # weight of one photo that makes a texel known for sure: seen at 60 degrees
_MIRRORED = 0.5  # weight of the other side of the head against what was seen


@dataclass(frozen=True, eq=False)
class Texture:
    """A texture of the head."""

    rgb: npt.NDArray[np.uint8]
    """(S, S * tiles, 3) sRGB; the top row is v = 1, and all of it has a colour."""
    confidence: Floats
    """(S, S * tiles) 0..1, how surely each texel was seen; 0 where it was made up, and beside the head."""
    mirrored: Floats
    """(S, S * tiles) 0..1, how much of each texel is the other side's."""

    def picture(self) -> Image.Image:
        """RGB."""
        return Image.fromarray(self.rgb)

    def confidence_picture(self) -> Image.Image:
        """Grey: white for what was seen for sure."""
        return Image.fromarray(np.rint(255 * self.confidence).astype(np.uint8))


class TextureMaker:
    """Gathers the texture of one person from one photo after another.

    Args:
        size: Side of a tile in texels.
        tiles: How many tiles, see `anymark.apps.uv`.

    Raises:
        AnymarkError: a number is out of its range.
    """

    def __init__(self, size: int = 1024, tiles: int = SKIN_TILES) -> None:
        if not LEAST_SIZE <= size <= MOST_SIZE:
            raise AnymarkError(f"size {size}: a tile's side must be {LEAST_SIZE} to {MOST_SIZE} texels")
        if not 1 <= tiles <= TILES:
            raise AnymarkError(f"tiles {tiles}: there are 1 to {TILES}")
        self._texels = _texels(size, tiles)
        count = len(self._texels.rows)
        self._colour, self._weight = np.zeros((count, 3), np.float32), np.zeros(count, np.float32)
        self._best = np.zeros(count, np.float32)

    def add(self, photo: npt.NDArray[np.uint8], head: Landmarks) -> None:
        """What a photo (H, W, 3) shows of the head.

        Args:
            photo: RGB.
            head: The layout "head" in the pixels of this photo.

        Raises:
            AnymarkError: landmarks of another layout.
        """
        check_head(head)
        texels, height, width = self._texels, *photo.shape[:2]
        xy = texels.at(head.xy_px)
        inside = ((xy > 0.5) & (xy < (width - 0.5, height - 0.5))).all(1)
        weight = np.where(inside, texels.at(head.visible) * self._facing(head), 0).astype(np.float32)
        here = np.flatnonzero(weight > 0)
        if not len(here):
            return
        (x0, y0), (x1, y1) = np.floor(xy[here].min(0)).astype(int), np.ceil(xy[here].max(0)).astype(int)
        colours = sampled(photo_to_linear(photo[y0:y1, x0:x1]), xy[here] - (x0, y0))
        self._colour[here] += weight[here, None] * colours
        self._weight[here] += weight[here]
        self._best[here] = np.maximum(self._best[here], weight[here])

    def texture(self) -> Texture:
        """What has been gathered so far, completed.

        Raises:
            AnymarkError: nothing has been seen.
        """
        if not self._weight.any():
            raise AnymarkError("no photo shows anything of the head: there is no texture")
        texels = self._texels
        own = np.minimum(self._best / _ENOUGH, 1)
        colour = self._colour / np.maximum(self._weight, 1e-9)[:, None]
        other = np.where(texels.mirror >= 0, own[texels.mirror], 0) * (1 - own)
        mixed = own[:, None] * colour + other[:, None] * colour[texels.mirror]
        known = own + _MIRRORED * other
        mixed /= np.maximum(own + other, 1e-9)[:, None]
        smooth = np.zeros_like(mixed)
        overall = (mixed * known[:, None]).sum(0) / known.sum()
        for part, stiff in texels.parts:  # hair does not run into skin
            vertices, weights = texels.vertices[part], texels.weights[part]
            carried = film(stiff, mixed[part], known[part], vertices, weights, overall)
            smooth[part] = np.einsum("nk,nkc->nc", weights, carried[vertices])
        whole = (known[:, None] * mixed + (1 - known[:, None]) * smooth).astype(np.float32)
        rgb = to_display(texels.picture(whole))[texels.near[0], texels.near[1]]
        return Texture(rgb, texels.picture(own[:, None])[..., 0], texels.picture(other[:, None])[..., 0])

    def _facing(self, head: Landmarks) -> Floats:
        """(N,) how squarely the camera looks at each texel, 0..1."""
        texels = self._texels
        places = head.camera.in_camera_mm(head.xyz_mm)
        normals = vertex_normals(places, CanonicalHead.load().triangles)
        towards = -places / np.linalg.norm(places, axis=1, keepdims=True)
        cosine = texels.at((normals * towards).sum(1).astype(np.float32))
        return np.clip((cosine - _GRAZING) / (1 - _GRAZING), 0, 1) ** np.float32(_SHARP)


@dataclass(frozen=True, eq=False)
class _Texels:
    """The N texels that lie on the head."""

    shape: tuple[int, int]
    """(S, S * tiles)"""
    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    vertices: npt.NDArray[np.int32]
    """(N, 3) of the head, that each lies between,"""
    weights: Floats
    """(N, 3) and how much it is of each."""
    mirror: npt.NDArray[np.intp]
    """(N,) the texel on the other side of the head, -1 where rounding left none."""
    parts: tuple[tuple[npt.NDArray[np.bool_], spmatrix], ...]
    """Of scalp and skin: which texels are of it (N,), and its vertices' stiffness (V, V)."""
    near: npt.NDArray[np.intp]
    """(2, S, S * tiles) row and column of the nearest texel on the head."""

    def at(self, values: npt.NDArray[np.floating]) -> Floats:
        """Values of vertices (V, ...) -> of texels (N, ...)."""
        return np.einsum("nk,nk...->n...", self.weights, values[self.vertices].astype(np.float32))

    def picture(self, values: Floats) -> Floats:
        """Values of texels (N, C) as a picture (S, S * tiles, C), 0 beside the head."""
        out = np.zeros((*self.shape, values.shape[1]), np.float32)
        out[self.rows, self.columns] = values
        return out


@lru_cache(maxsize=2)
def _texels(size: int, tiles: int) -> _Texels:
    head, raster = CanonicalHead.load(), unwrapped(size, tiles)
    rows, columns = np.nonzero(raster.triangle >= 0)
    of = raster.triangle[rows, columns]
    index = np.full(raster.triangle.shape, -1, np.intp)
    index[rows, columns] = np.arange(len(rows))
    across = columns // size * size + (size - 1 - columns % size)
    mirror = np.where(columns < SKIN_TILES * size, index[rows, across], -1)
    scalp = np.zeros(len(head.triangles), bool)
    scalp[head.triangles_of("scalp")] = True
    parts = [(of_part[of], stiffness(head.triangles[of_part], len(head.vertices_mm))) for of_part in (scalp, ~scalp)]
    nearest = np.asarray(distance_transform_edt(raster.triangle < 0, return_distances=False, return_indices=True))
    shape, weights = (size, size * tiles), raster.weights[rows, columns]
    return _Texels(shape, rows, columns, head.triangles[of], weights, mirror, tuple(parts), nearest.astype(np.intp))
