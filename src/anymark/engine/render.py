"""The data engine's rasteriser: what a pinhole camera sees of triangle meshes, as exact labels and unlit colours.

Drawn by OpenGL without a window: Mesa's llvmpipe will do, no GPU is needed; it uses all cores but for LP_NUM_THREADS=1
in the environment. OpenGL rounds outlines to 1/256 of a pixel; what is seen within them is not rounded.

Frames, pixels and units are those of docs/conventions.md; the camera's frame is x right, y down, z forward, and a point
(X, Y, Z) of it lands at pixel principal + focal * (X, Y) / Z.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.canonical.meshes import summed_normals
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
        context = _context()
        self._program = context.program(_VERTEX, _FRAGMENT)
        self._targets: dict[int, _Target] = {}
        self._topologies: dict[tuple[int, int], _Topology] = {}
        self._textures: dict[int, _Texture] = {}
        self._blank = _Texture(context, np.zeros((1, 1, 4), np.uint8))
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
        context = _context()
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

    def _target(self, scale: int) -> _Target:
        if scale not in self._targets:
            width, height = self.size
            self._targets[scale] = _Target(_context(), (width * scale, height * scale), colour_only=scale > 1)
        return self._targets[scale]

    def _draw(self, mesh: Mesh, targets: Sequence[_Target]) -> None:
        key = id(mesh.triangles), id(mesh.uv)
        topology = self._topologies.pop(key, None) or _Topology(_context(), self._program, mesh)
        _keep(self._topologies, key, topology, _KEPT["topologies"])
        texture = self._blank
        if mesh.texture is not None:
            texture = self._textures.pop(id(mesh.texture), None) or _Texture(_context(), mesh.texture)
            _keep(self._textures, id(mesh.texture), texture, _KEPT["textures"])
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


class _Target:
    """What is drawn into: colour, and unless it is for colour only, place (canonical and Z), normal and triangle."""

    def __init__(self, context: Any, size: tuple[int, int], colour_only: bool) -> None:
        limit = context.info["GL_MAX_TEXTURE_SIZE"]
        if max(size) > limit:
            raise AnymarkError(f"renderer: {size[0]} x {size[1]} pixels, but OpenGL draws at most {limit} a side here")
        formats = [(4, "f4")] if colour_only else [(4, "f4"), (4, "f4"), (4, "f4"), (1, "i4")]
        self._textures = [context.texture(size, channels, dtype=dtype) for channels, dtype in formats]
        self._depth = context.depth_renderbuffer(size)
        self.framebuffer = context.framebuffer(self._textures, self._depth)

    def read(self) -> list[npt.NDArray]:
        """(H, W, channels) of each."""
        images = []
        for texture in self._textures:
            image = np.empty((texture.height, texture.width, texture.components), texture.dtype)
            texture.read_into(image)
            images.append(image)
        return images

    def release(self) -> None:
        for item in (self.framebuffer, self._depth, *self._textures):
            item.release()


class _Topology:
    """A mesh's triangles on the GPU. A vertex whose corners differ in uv is several there."""

    def __init__(self, context: Any, program: Any, mesh: Mesh) -> None:
        self._identity = mesh.triangles, mesh.uv  # alive, these keep their ids
        corners = mesh.triangles.astype(np.int64).ravel()
        if mesh.uv is None:
            self._source, index = np.arange(corners.max() + 1), corners
            uv = np.zeros((len(self._source), 2), np.float32)
        else:
            flat = np.ascontiguousarray(mesh.uv, np.float32).reshape(-1, 2)
            _, place = np.unique(flat.view(np.int64)[:, 0], return_inverse=True)
            _, some, index = np.unique(corners * (place.max() + 1) + place, return_index=True, return_inverse=True)
            self._source, uv = corners[some], flat[some]
        self._vertices = context.buffer(reserve=len(self._source) * 13 * 4, dynamic=True)
        self._uv = context.buffer(uv.tobytes())
        self._index = context.buffer(index.astype(np.int32).tobytes())
        content = [
            (self._vertices, "3f 3f 3f 4f", "position", "canonical", "normal", "colour"),
            (self._uv, "2f", "uv"),
        ]
        self.array = context.vertex_array(program, content, self._index)

    def upload(self, mesh: Mesh) -> None:
        """The vertices of a mesh with these triangles."""
        rows = np.empty((len(mesh.vertices_camera_mm), 13), np.float32)
        rows[:, :3] = mesh.vertices_camera_mm
        rows[:, 3:6] = mesh.canonical_mm
        normals = summed_normals(mesh.vertices_camera_mm, mesh.triangles) if mesh.normals is None else mesh.normals
        rows[:, 6:9] = normals
        # opaque white under nothing, nothing under a texture
        rows[:, 9:12] = 1.0 if mesh.colour is None else mesh.colour
        rows[:, 12] = mesh.texture is None or mesh.colour is not None
        self._vertices.orphan()
        self._vertices.write(rows[self._source])

    def release(self) -> None:
        for item in (self.array, self._index, self._uv, self._vertices):
            item.release()


class _Texture:
    """A picture on the GPU, with mipmaps. Its alpha is multiplied in before they are made."""

    def __init__(self, context: Any, picture: npt.NDArray[np.uint8]) -> None:
        self._identity = picture  # alive, it keeps its id
        alpha = picture[..., 3:].astype(np.uint16)
        if (alpha < 255).any():
            rgb = (picture[..., :3] * alpha + 127) // 255
            picture = np.concatenate([rgb, alpha], 2).astype(np.uint8)
        height, width = picture.shape[:2]
        self.texture = context.texture((width, height), 4, picture.tobytes())
        self.texture.build_mipmaps()
        self.texture.repeat_x = self.texture.repeat_y = False
        self.texture.filter = context.LINEAR_MIPMAP_LINEAR, context.LINEAR

    def release(self) -> None:
        self.texture.release()


def _keep(kept: dict[Any, Any], key: object, item: object, limit: int) -> None:
    """Put it last, and forget the first beyond the limit."""
    kept[key] = item
    if len(kept) > limit:
        kept.pop(next(iter(kept))).release()


_contexts: dict[tuple[int, int], Any] = {}  # by process and thread: one at most, and what a fork inherits


def _context() -> Any:
    """The process's context, current in the thread that first asked for it."""
    here = os.getpid(), threading.get_ident()
    if here not in _contexts:
        if _contexts:
            raise AnymarkError(
                "renderer: one thread of a process can render, and no fork of it: 'spawn' more processes"
            )
        _contexts[here] = _new_context()
    return _contexts[here]


def _new_context() -> Any:
    try:
        import moderngl
    except ImportError:
        raise AnymarkError("rendering needs moderngl: pip install 'anymark[data]'") from None
    linux = sys.platform.startswith("linux")
    options: dict[str, Any] = {"backend": "egl"} if linux else {}
    try:
        return moderngl.create_standalone_context(require=330, **options)
    except Exception as error:  # whatever the platform's library stumbles over
        hint = "; on Debian: apt install libegl1 libgl1 libgl1-mesa-dri" if linux else ""
        raise AnymarkError(f"rendering needs OpenGL 3.3, which cannot be had here ({error}){hint}") from None
