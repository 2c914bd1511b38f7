"""The data engine's rasteriser: what a pinhole camera sees of triangle meshes, as exact labels and unlit colours.

Drawn by OpenGL without a window: Mesa's llvmpipe will do, no GPU is needed; it uses all cores but for LP_NUM_THREADS=1
in the environment. OpenGL rounds outlines to 1/256 of a pixel; what is seen within them is not rounded.

Frames, pixels and units are those of docs/conventions.md; the camera's frame is x right, y down, z forward, and a point
(X, Y, Z) of it lands at pixel principal + focal * (X, Y) / Z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anymark.engine.gl import Target, Texture, Topology, keep, shared_context
from anymark.engine.mesh import Mesh
from anymark.errors import AnymarkError

Array = npt.NDArray[np.floating]
Index = npt.NDArray[np.integer]

_KEPT = {"topologies": 32, "textures": 8}  # on the GPU between frames; bounds memory

# A picture's first row is GL's lowest, so that what is read back is the right way up.
_VERTEX = """
#version 330
uniform vec2 focal;  // in half images, as the principal point, which counts from the middle
uniform vec2 principal;
uniform vec2 range;
in vec3 position;
in vec3 canonical;
in vec3 normal;
in vec4 colour;
in vec2 uv;
out vec4 v_place;
out vec3 v_normal;
out vec4 v_colour;
out vec2 v_uv;

void main() {
    float z = (position.z * (range.y + range.x) - 2.0 * range.x * range.y) / (range.y - range.x);
    gl_Position = vec4(focal * position.xy + principal * position.z, z, position.z);
    v_place = vec4(canonical, position.z);
    v_normal = normal;
    v_colour = colour;
    v_uv = vec2(uv.x, 1.0 - uv.y);
}
"""

_FRAGMENT = """
#version 330
uniform sampler2D picture;  // premultiplied
uniform int first;  // id of the mesh's first triangle
in vec4 v_place;
in vec3 v_normal;
in vec4 v_colour;
in vec2 v_uv;
layout(location = 0) out vec4 albedo;
layout(location = 1) out vec4 place;
layout(location = 2) out vec4 facing;
layout(location = 3) out int triangle;

void main() {
    vec4 paint = texture(picture, v_uv);
    float under = v_colour.a * (1.0 - paint.a);
    albedo = vec4((paint.rgb + under * v_colour.rgb) / max(paint.a + under, 1e-6), 1.0);
    place = v_place;
    facing = vec4(v_normal / max(length(v_normal), 1e-12), 0.0);
    triangle = first + gl_PrimitiveID;
}
"""


@dataclass(frozen=True, eq=False)
class Buffers:
    """What is seen at each pixel of an image of height H and width W: [i, j] is pixel centre (j + 0.5, i + 0.5)."""

    canonical_mm: npt.NDArray[np.float32]
    """(H, W, 3) the point of the rest head; NaN where nothing is."""
    part: npt.NDArray[np.int16]
    """(H, W) the triangle's label; -1 where nothing is."""
    triangle: npt.NDArray[np.int32]
    """(H, W) the triangle, counted through the meshes in their order; -1 where nothing is."""
    depth_mm: npt.NDArray[np.float32]
    """(H, W) the camera's Z; infinite where nothing is."""
    normal: npt.NDArray[np.float32]
    """(H, W, 3) unit, camera frame, outwards: of a back face, away from the camera; 0 where nothing is."""
    albedo: npt.NDArray[np.float32]
    """(H, W, 3) unlit colour in the units of `Mesh.colour`, the mean over what is covered of the pixel; 0 where nothing
    is."""
    alpha: npt.NDArray[np.float32]
    """(H, W) the fraction of the pixel that is covered."""
    focal_px: float
    principal_px: tuple[float, float]


class Renderer:
    """Draws images of one size. A process has one OpenGL context, in the thread of its first renderer, for all of them.

    Workers are processes that are spawned, not forked.

    Args:
        size: width and height in pixels.

    Raises:
        AnymarkError: the size cannot be, the thread is another, or moderngl or OpenGL 3.3 cannot be had.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        if min(size) < 1:
            raise AnymarkError(f"renderer: a size of {size[0]} x {size[1]}")
        self.size = size
        context = shared_context()
        self._program = context.program(_VERTEX, _FRAGMENT)
        self._targets: dict[int, Target] = {}
        self._topologies: dict[tuple[int, int], Topology] = {}
        self._textures: dict[int, Texture] = {}
        self._blank = Texture(context, np.zeros((1, 1, 4), np.uint8))
        self._closed = False
        self._target(1)

    def render(
        self,
        meshes: Sequence[Mesh],
        focal_px: float,
        principal_px: Array | Sequence[float],
        *,
        near_mm: float = 20.0,
        far_mm: float = 100_000.0,
        cull: bool = False,
        supersample: int = 1,
    ) -> Buffers:
        """Draw meshes as one scene.

        Args:
            meshes: the nearest triangle wins, whichever mesh it is of.
            focal_px: focal length in pixels.
            principal_px: (2,) the principal point.
            near_mm: what is nearer is cut off. Depths are told apart by Z² / (near * 2²⁴).
            far_mm: what is farther is cut off.
            cull: leave out triangles seen from behind.
            supersample: n, to take colour and coverage from n x n points in each pixel; the labels are those of the
                pixel's centre, always. For antialiased lighting, render and light n times as large, then `shrink`.

        Raises:
            AnymarkError: a camera that cannot be, or the renderer is closed.
        """
        principal = np.asarray(principal_px, np.float64)
        if principal.shape != (2,) or not (np.isfinite(principal).all() and 0 < focal_px < np.inf):
            raise AnymarkError(f"renderer: focal length {focal_px} and principal point {principal.tolist()}")
        if not 0 < near_mm < far_mm < np.inf:
            raise AnymarkError(f"renderer: depths from {near_mm} to {far_mm} mm")
        if supersample < 1:
            raise AnymarkError(f"renderer: supersample {supersample}")
        if self._closed:
            raise AnymarkError("renderer: it is closed")
        context = shared_context()
        context.enable_only(context.DEPTH_TEST | (context.CULL_FACE if cull else context.NOTHING))
        context.front_face = "cw"  # as the picture's first row is GL's lowest
        half = np.array(self.size) / 2
        self._program["focal"] = tuple(focal_px / half)
        self._program["principal"] = tuple(principal / half - 1)
        self._program["range"] = near_mm, far_mm
        targets = [self._target(scale) for scale in sorted({1, supersample})]
        for target in targets:
            target.framebuffer.clear()
        first = 0
        for mesh in meshes:
            if len(mesh.triangles):
                self._program["first"] = first
                self._draw(mesh, targets)
            first += len(mesh.triangles)
        (colour, place, facing, triangle), *finer = (target.read() for target in targets)
        if finer:
            colour = shrink(finer[0][0], supersample)
        # moderngl cannot clear an integer target, so that ids count only where something has been drawn
        seen = place[..., 3] > 0
        labels = [np.zeros(len(m.triangles), np.int16) if m.part is None else m.part for m in meshes]
        part = np.concatenate([*labels, [-1]]).astype(np.int16)
        triangle = np.where(seen, triangle[..., 0], -1)
        return Buffers(
            canonical_mm=np.where(seen[..., None], place[..., :3], np.float32(np.nan)),
            part=part[triangle],
            triangle=triangle,
            depth_mm=np.where(seen, place[..., 3], np.float32(np.inf)),
            normal=facing[..., :3].copy(),
            albedo=np.divide(colour[..., :3], np.maximum(colour[..., 3:], 1e-6), dtype=np.float32),
            alpha=colour[..., 3].copy(),
            focal_px=float(focal_px),
            principal_px=(float(principal[0]), float(principal[1])),
        )

    def close(self) -> None:
        """Free what it holds on the GPU; the context stays for other renderers."""
        if self._closed:
            return
        self._closed = True
        for kept in (self._targets, self._topologies, self._textures):
            for item in kept.values():
                item.release()
            kept.clear()
        self._blank.release()
        self._program.release()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _target(self, scale: int) -> Target:
        if scale not in self._targets:
            width, height = self.size
            self._targets[scale] = Target(shared_context(), (width * scale, height * scale), colour_only=scale > 1)
        return self._targets[scale]

    def _draw(self, mesh: Mesh, targets: Sequence[Target]) -> None:
        key = id(mesh.triangles), id(mesh.uv)
        topology = self._topologies.pop(key, None) or Topology(shared_context(), self._program, mesh)
        keep(self._topologies, key, topology, _KEPT["topologies"])
        texture = self._blank
        if mesh.texture is not None:
            texture = self._textures.pop(id(mesh.texture), None) or Texture(shared_context(), mesh.texture)
            keep(self._textures, id(mesh.texture), texture, _KEPT["textures"])
        topology.upload(mesh)
        texture.texture.use()
        for target in targets:
            target.framebuffer.use()
            topology.array.render()


def visible(
    buffers: Buffers, points_camera_mm: Array, normals: Array | None = None, *, tolerance_mm: float = 2.0
) -> npt.NDArray[np.bool_]:
    """Whether the camera sees points: they are in the image and nothing drawn lies before them.

    A point is held against the farthest of the 2 x 2 nearest pixels. A point of a silhouette is thus not lost to the
    rounding of pixels, and slopes need no larger tolerance; on the other hand, a point behind another surface, but less
    than a pixel from its outline, may count as visible.

    Args:
        points_camera_mm: (N, 3) camera frame.
        normals: (N, 3) outwards, camera frame; a point whose own faces away from the camera is not visible.
        tolerance_mm: how far behind what is drawn a point may lie.

    Returns:
        (N,)
    """
    points = np.asarray(points_camera_mm, np.float64)
    height, width = buffers.depth_mm.shape
    ahead = points[:, 2] > 0
    z = np.where(ahead, points[:, 2], 1.0)
    xy = np.array(buffers.principal_px) + buffers.focal_px * points[:, :2] / z[:, None]
    inside = ahead & (xy >= 0).all(1) & (xy <= [width, height]).all(1)
    low = np.floor(np.where(inside[:, None], xy, 0.0) - 0.5).astype(int)
    (x0, y0), (x1, y1) = (np.clip(low + step, 0, [width - 1, height - 1]).T for step in (0, 1))
    farthest = buffers.depth_mm[[y0, y0, y1, y1], [x0, x1, x0, x1]].max(0)
    seen = inside & (points[:, 2] <= farthest + tolerance_mm)
    return seen if normals is None else seen & ((normals * points).sum(1) < 0)


def shrink(image: npt.NDArray[np.float32], factor: int) -> npt.NDArray[np.float32]:
    """(n H, n W, C) -> (H, W, C), n the factor: the mean of each n x n pixels."""
    total = np.zeros_like(image[::factor, ::factor])
    for i in range(factor):
        for j in range(factor):
            total += image[i::factor, j::factor]
    return total / np.float32(factor**2)
