"""A triangle mesh as the rasteriser draws it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError

Array = npt.NDArray[np.floating]
Index = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Mesh:
    """V vertices and T triangles before a camera.

    A renderer keeps `triangles`, `uv` and `texture` on the GPU for as long as the same arrays come again, so change
    none of them in place.

    Raises:
        AnymarkError: shapes disagree, a number is not finite, an index is out of range or a texture has no uv.
    """

    vertices_camera_mm: Array
    """(V, 3) camera frame."""
    triangles: Index
    """(T, 3) vertex ids, counter-clockwise seen from outside."""
    canonical_mm: Array
    """(V, 3) the point of the rest head that each vertex is."""
    part: Index | None = None
    """(T,) each triangle's label, 0 or more; 0 if None."""
    uv: Array | None = None
    """(T, 3, 2) texture coordinates of the triangles' corners, v up: [0, 1] spans the texture; outside, its edge goes
    on."""
    normals: Array | None = None
    """(V, 3) camera frame, outwards, of any length; if None, the mean of the triangles' around, weighted by area."""
    texture: npt.NDArray[np.uint8] | None = None
    """(H, W, 4) RGBA picture, its top row first, alpha not premultiplied, laid over `colour`. Without a `colour`, only
    its opaque texels count: clear ones, as around the islands of a baked texture, do not bleed into them."""
    colour: Array | None = None
    """(V, 3) from 0 to 1; white if None."""

    def __post_init__(self) -> None:
        count, faces = len(self.vertices_camera_mm), len(self.triangles)
        wanted = {
            "vertices_camera_mm": (count, 3),
            "triangles": (faces, 3),
            "canonical_mm": (count, 3),
            "part": (faces,),
            "uv": (faces, 3, 2),
            "normals": (count, 3),
            "colour": (count, 3),
        }
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array is None:
                continue
            if array.shape != shape:
                raise AnymarkError(f"mesh: {name} must be {shape}, not {array.shape}")
            if not np.isfinite(array).all():
                raise AnymarkError(f"mesh: {name} is not finite")
        if faces and not 0 <= self.triangles.min() <= self.triangles.max() < count:
            raise AnymarkError(f"mesh: triangles have a vertex outside 0..{count - 1}")
        if self.texture is not None:
            if self.uv is None:
                raise AnymarkError("mesh: a texture needs uv")
            if self.texture.ndim != 3 or self.texture.shape[2] != 4 or not self.texture.size:
                raise AnymarkError(f"mesh: the texture must be (H, W, 4), not {self.texture.shape}")
