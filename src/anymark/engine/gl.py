"""What the rasteriser keeps in OpenGL: its context, pictures to draw into, meshes and textures."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.canonical.meshes import summed_normals
from anymark.engine.mesh import Mesh
from anymark.errors import AnymarkError


class Target:
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


class Topology:
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


class Texture:
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


def keep(kept: dict[Any, Any], key: object, item: object, limit: int) -> None:
    """Put it last, and forget the first beyond the limit."""
    kept[key] = item
    if len(kept) > limit:
        kept.pop(next(iter(kept))).release()


_contexts: dict[tuple[int, int], Any] = {}  # by process and thread: one at most, and what a fork inherits


def shared_context() -> Any:
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
