"""Textures of the head's skin, baked from a photo through its fit."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, spmatrix

from anymark.canonical import CanonicalHead
from anymark.canonical.film import film, stiffness
from anymark.canonical.head import SKIN
from anymark.engine.pixels import Floats, fill, sample, to_linear

Array = npt.NDArray[np.floating]

PARTS = (*SKIN, "shoulders")
"""Parts that take their colours from the photo; eyes, teeth and gums are painted."""

_GRAZING, _FACING = 0.2, 0.6  # cosines to the line of sight between which a texel gains its full weight
_HIDDEN_MM = 4.0  # a texel so far behind what is seen is hidden
_STRANDS = 0.22  # log contrast of hair that no photo shows
_SHIFT = 4  # fractional bits of cv2's polygon corners


class Atlas:
    """Two square tiles side by side, the front and the back of the head: which point of the head each texel is.

    The left half of each tile mirrors its right half, as the head does.

    Args:
        size: side of a tile in texels.
    """

    def __init__(self, head: CanonicalHead, size: int = 384) -> None:
        self.head, self.size = head, size
        names = {i for i, name in enumerate(head.part_names) if name in PARTS}
        self.triangles = np.flatnonzero(np.isin(head.part, list(names)))
        """Ids of the triangles that are textured."""
        uv = head.uv[self.triangles].astype(np.float64)
        self.uv = (uv * (0.5, 1)).astype(np.float32)
        """(T', 3, 2) where they lie in the picture of both tiles, v up."""
        corners = np.stack([uv[..., 0] * size, (1 - uv[..., 1]) * size], -1)
        ids = np.full((size, 2 * size), -1, np.int32)
        fixed = np.round((corners - 0.5) * 2**_SHIFT).astype(np.int32)  # cv2 counts texel centres
        for i, polygon in enumerate(fixed):
            cv2.fillConvexPoly(ids, polygon, i, shift=_SHIFT)
        self.rows, self.columns = np.nonzero(ids >= 0)
        own = ids[self.rows, self.columns]
        self.vertices = head.triangles[self.triangles[own]]
        """(N, 3) vertices that each texel lies between,"""
        self.weights = _barycentric(corners[own], np.stack([self.columns, self.rows], 1) + 0.5).astype(np.float32)
        """(N, 3) and how much it is of each."""
        starts, corner = np.arange(0, 3 * len(own) + 1, 3), self.vertices.ravel()
        shape = (len(own), len(head.vertices_mm))
        self._interpolation = csr_matrix((self.weights.ravel(), corner, starts), shape)
        self.part = head.part[self.triangles[own]]
        mirror = self.columns // size * size + (size - 1 - self.columns % size)
        index = np.full(ids.shape, -1, np.int64)
        index[self.rows, self.columns] = np.arange(len(self.rows))
        self.mirror = index[self.rows, mirror]
        """(N,) the texel on the other side of the head, -1 where rounding left none."""
        self._scalp = self.part == head.part_names.index("scalp")
        on_scalp = head.part[self.triangles] == head.part_names.index("scalp")
        count = len(head.vertices_mm)
        self._regions = [
            (texels, stiffness(head.triangles[self.triangles[triangles]], count))
            for texels, triangles in ((self._scalp, on_scalp), (~self._scalp, ~on_scalp))
        ]
        rng = np.random.default_rng(0)
        strands = cv2.GaussianBlur(rng.normal(0, 1, (2 * size, 2 * size)).astype(np.float32), (0, 0), 0.8, sigmaY=9.0)
        strands = strands[:size] / strands.std()
        self._strands = np.exp(_STRANDS * strands[self.rows, self.columns])[:, None]

    def at(self, values: Array) -> Floats:
        """Values of vertices (V, ...) -> of texels (N, ...)."""
        flat = self._interpolation @ np.asarray(values, np.float32).reshape(len(values), -1)
        return flat.reshape(len(self.rows), *values.shape[1:])

    def picture(self, values: Array, known: Array) -> Floats:
        """(size, 2 size, C) from texels (N, C) that are known to a degree (N,).

        What is not known is filled smoothly over the surface, across the tiles' seams: the scalp from what is seen of
        the hair, with strands, and the rest from the skin. Texels beside the head take the colours of those nearest, so
        that no filter reads what is no head.
        """
        smooth = np.zeros_like(values)
        for texels, stiff in self._regions:
            smooth[texels] = self._smooth(values[texels], known[texels], texels, stiff)
        smooth = np.where(self._scalp[:, None], smooth * self._strands, smooth)
        image = np.zeros((self.size, 2 * self.size, values.shape[1]), np.float32)
        image[self.rows, self.columns] = known[:, None] * values + (1 - known[:, None]) * smooth
        weights = np.zeros(image.shape[:2], np.float32)
        weights[self.rows, self.columns] = 1
        for tile in (slice(0, self.size), slice(self.size, None)):
            image[:, tile] = fill(image[:, tile], weights[:, tile])
        return image

    def _smooth(self, values: Array, known: Array, texels: npt.NDArray[np.bool_], stiff: spmatrix) -> Array:
        """Values of some texels, from those of them that are known, as smooth as a soap film over their surface."""
        vertices, weights = self.vertices[texels], self.weights[texels]
        return np.einsum("nk,nkc->nc", weights, film(stiff, values, known, vertices, weights)[vertices])


@dataclass(frozen=True, eq=False)
class Source:
    """A photo and the head in it, in the photo's own camera."""

    photo: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    valid_box_px: Array
    """(4,) the part of it that is no padding."""
    vertices_camera_mm: Array
    """(V, 3) the canonical head's vertices, posed."""
    vertices_px: Array
    """(V, 2) where the photo shows them: their projections, or nearer to what the labels say."""
    normals: Array
    """(V, 3) camera frame, unit."""
    focal_px: float
    principal_px: Array
    """(2,)"""
    depth_mm: Array
    """(H, W) of the posed head, infinite where it is not."""
    matte: Array
    """(H, W) 0..1: 1 on the person."""


@dataclass(frozen=True, eq=False)
class Skin:
    """What a photo shows of its head's skin, and what was made up."""

    colour: Floats
    """(size, 2 size, 3) linear light, 0..1, with the photo's own shading."""
    seen: float
    """Share of the face's texels that the photo itself shows."""


def bake(atlas: Atlas, source: Source) -> Skin:
    """A photo's colours on its head: hidden texels from the other side, then filled from around."""
    points, normals = atlas.at(source.vertices_camera_mm), atlas.at(source.normals)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    towards = -points / np.linalg.norm(points, axis=1, keepdims=True)
    xy = atlas.at(source.vertices_px)
    x0, y0, x1, y1 = source.valid_box_px
    weight = np.clip(((normals * towards).sum(1) - _GRAZING) / (_FACING - _GRAZING), 0, 1)
    weight *= (xy[:, 0] > x0 + 1) & (xy[:, 0] < x1 - 1) & (xy[:, 1] > y0 + 1) & (xy[:, 1] < y1 - 1)
    weight *= points[:, 2] < sample(source.depth_mm, xy, border=np.inf) + _HIDDEN_MM
    weight *= sample(source.matte, xy)
    colour = to_linear(sample(source.photo, xy))
    weight *= skin_likeness(atlas, colour, weight)
    # the other side's texel counts where the own one is not seen
    other = np.where(atlas.mirror >= 0, weight[atlas.mirror], 0) * (1 - weight)
    total = weight + other
    blended = weight[:, None] * colour + other[:, None] * colour[atlas.mirror]
    blended /= np.maximum(total, 1e-6)[:, None]
    face = atlas.part == atlas.head.part_names.index("face")
    return Skin(atlas.picture(blended, total), float((weight[face] > 0.5).mean()))


def skin_likeness(atlas: Atlas, colour: Array, weight: Array) -> Floats:
    """(N,) 0..1: how far texels of ears, neck and cheeks look like the middle of the face, and not like hair or dress.

    The scalp is left alone: hair belongs there.
    """
    parts = atlas.head.part_names
    canonical = atlas.at(atlas.head.vertices_mm)
    face = atlas.part == parts.index("face")
    middle = face & (np.abs(canonical[:, 0]) < 45) & (canonical[:, 1] > -60) & (canonical[:, 1] < 55) & (weight > 0.5)
    if middle.sum() < 100:
        return np.ones(len(colour), np.float32)
    log = np.log(np.maximum(colour, 0.003))
    chroma = log - log.mean(1, keepdims=True)
    light = log.mean(1)
    centre, spread = np.median(chroma[middle], 0), np.maximum(chroma[middle].std(0), 0.05)
    level, range_ = np.median(light[middle]), max(float(light[middle].std()), 0.35)
    odd = (((chroma - centre) / (3 * spread)) ** 2).mean(1) + (np.minimum(light - level, 0) / (3 * range_)) ** 2
    like = np.exp(-(odd**2)).astype(np.float32)
    outer = face & ((np.abs(canonical[:, 0]) > 50) | (canonical[:, 1] < -70))
    judged = outer | np.isin(atlas.part, [parts.index(p) for p in ("right ear", "left ear", "neck")])
    return np.where(judged, like, 1).astype(np.float32)


def _barycentric(corners: Array, points: Array) -> Array:
    """(N, 3) weights of triangles' corners (N, 3, 2) at points (N, 2)."""
    a, b, c = corners.swapaxes(0, 1)
    (ux, uy), (vx, vy), (px, py) = (b - a).T, (c - a).T, (points - a).T
    area = ux * vy - uy * vx
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    v, w = (px * vy - py * vx) / area, (ux * py - uy * px) / area
    weights = np.clip(np.stack([1 - v - w, v, w], 1), -0.5, 1.5)  # rounding puts rims a little outside
    return weights / weights.sum(1, keepdims=True)
