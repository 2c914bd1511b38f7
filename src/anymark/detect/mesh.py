"""The whole head in 3D, and its files: .obj and .ply in the head frame, .glb as a scene with the photo's camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.canonical.frame import FACING
from anymark.detect.camera import Camera
from anymark.errors import AnymarkError
from anymark.files import atomic

SUFFIXES = (".obj", ".glb", ".ply")
"""Of files that a mesh is saved as."""


@dataclass(frozen=True, eq=False)
class HeadMesh:
    """A head of one photo as a triangle mesh: the canonical head's triangles, this head's vertices.

    Raises:
        AnymarkError: the vertices are not (V, 3) finite numbers, V being the canonical head's.
    """

    vertices_mm: npt.NDArray[np.float32]
    """(V, 3) head frame, millimetres."""
    camera: Camera
    """What the head was seen by; pixels of the photo."""
    image_size_px: tuple[int, int]
    """(width, height) of the photo."""

    def __post_init__(self) -> None:
        vertices = np.asarray(self.vertices_mm, np.float32)
        if vertices.shape != CanonicalHead.load().vertices_mm.shape or not np.isfinite(vertices).all():
            raise AnymarkError(f"mesh: {vertices.shape} vertices that are not all finite, or not those of the head")
        object.__setattr__(self, "vertices_mm", vertices)

    @property
    def triangles(self) -> npt.NDArray[np.int32]:
        """(T, 3) vertex ids, counter-clockwise seen from outside."""
        return CanonicalHead.load().triangles

    @property
    def part(self) -> npt.NDArray[np.int16]:
        """(T,) index into `part_names`."""
        return CanonicalHead.load().part

    @property
    def part_names(self) -> tuple[str, ...]:
        """Face, ears, scalp, ..."""
        return CanonicalHead.load().part_names

    @property
    def uv(self) -> npt.NDArray[np.float32]:
        """(T, 3, 2) texture coordinates of the triangles' corners; see `CanonicalHead.uv`."""
        return CanonicalHead.load().uv

    def save(self, path: Path | str) -> None:
        """Write a file, complete or not at all.

        .obj and .ply: head frame, millimetres; an .obj has texture coordinates, too, a group for each part, and the
        camera in comments. .glb: metres, y up; a node `head`, posed before a node `camera` at the origin, so that the
        mesh lies over the photo where that camera looks at both. glTF has no principal points: the camera looks through
        the middle of the photo; see `Camera.about`.

        Raises:
            AnymarkError: another suffix, the extra mesh is not installed (.glb, .ply), or it cannot be written.
        """
        path = Path(path)
        check_mesh_path(path)
        if path.suffix.lower() == ".obj":
            content = self._obj().encode()
        elif path.suffix.lower() == ".ply":
            content = _trimesh(path).Trimesh(self.vertices_mm, self.triangles, process=False).export(file_type="ply")
        else:
            content = self._glb(_trimesh(path))
        with atomic(path, "wb") as file:
            file.write(content)

    def _obj(self) -> str:
        """Wavefront: corners that share a texture coordinate share its line."""
        camera = self.camera.to_dict()
        texture, of_corner = np.unique(self.uv.reshape(-1, 2), axis=0, return_inverse=True)
        corners = np.stack([self.triangles + 1, of_corner.reshape(-1, 3) + 1], 2).reshape(-1, 6)
        lines = [
            "# anymark: head frame, millimetres: +x the subject's left, +y up, +z out of the face",
            "# camera: x right, y down, z forward; p_px = principal_px + focal_px * (X, Y) / Z of R_camera_head p + t",
            *(f"# {key} {value}" for key, value in camera.items()),
            "o head",
            *("v {:.3f} {:.3f} {:.3f}".format(*vertex) for vertex in self.vertices_mm.tolist()),
            *("vt {:.5f} {:.5f}".format(*uv) for uv in texture.tolist()),
        ]
        for i, name in enumerate(self.part_names):
            lines.append(f"g {name.replace(' ', '_')}")
            lines += ["f {}/{} {}/{} {}/{}".format(*row) for row in corners[self.part == i].tolist()]
        return "\n".join(lines) + "\n"

    def _glb(self, trimesh: Any) -> bytes:
        width, height = self.image_size_px
        camera = self.camera.about(np.array([width / 2, height / 2]))
        # glTF shares corners by vertex: one that lies on a seam of the texture is there once a side
        rows = np.column_stack([self.triangles.reshape(-1), self.uv.reshape(-1, 2)])
        kept, of_corner = np.unique(rows, axis=0, return_inverse=True)
        mesh = trimesh.Trimesh(
            self.vertices_mm[kept[:, 0].astype(int)] / 1000,
            of_corner.reshape(-1, 3),
            visual=trimesh.visual.TextureVisuals(uv=kept[:, 1:]),
            process=False,
        )
        pose = np.eye(4)  # glTF's camera: x right, y up, z backward
        pose[:3, :3], pose[:3, 3] = FACING @ camera.R_camera_head, FACING @ camera.t_camera_head_mm / 1000
        fov = np.degrees(2 * np.arctan(np.array([width, height]) / 2 / camera.focal_px))
        scene = trimesh.Scene()
        scene.add_geometry(mesh, node_name="head", geom_name="head", transform=pose)
        scene.camera = trimesh.scene.Camera("camera", (width, height), fov=fov, z_near=0.01)
        scene.camera_transform = np.eye(4)

        def exact(tree: dict[str, Any]) -> None:
            tree["cameras"][0]["perspective"]["aspectRatio"] = width / height  # trimesh writes that of the angles

        return trimesh.exchange.gltf.export_glb(scene, tree_postprocessor=exact)


def check_mesh_path(path: Path) -> None:
    """That a mesh can be saved as such a file.

    Raises:
        AnymarkError: another suffix than `SUFFIXES`, or one that needs an extra that is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise AnymarkError(f"{path}: a mesh's file must end in {', '.join(SUFFIXES)}")
    if suffix != ".obj":
        _trimesh(path)


def _trimesh(path: Path) -> Any:
    try:
        import trimesh
    except ImportError:
        raise AnymarkError(f"{path}: writing {path.suffix} needs the extra mesh: pip install 'anymark[mesh]'") from None
    return trimesh
