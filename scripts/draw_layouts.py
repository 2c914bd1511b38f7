"""Draw every shipped layout on the canonical head, from the front and from the subject's left.

Usage:
    uv run --extra eval scripts/draw_layouts.py
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from PIL import Image

from anymark.canonical import CanonicalHead, Layout, available_layouts, load_layout
from anymark.canonical.skull import Skull

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# screen x, screen y, towards the viewer
FRONT = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1)], float)
LEFT = np.array([(0, 0, -1), (0, 1, 0), (1, 0, 0)], float)

RIGHT_COLOUR, LEFT_COLOUR, MIDDLE_COLOUR = "#d1495b", "#00798c", "#edae49"
WHITE_PARTS = ("right eye", "left eye", "upper teeth", "lower teeth")
RED_PARTS = ("gums", "tongue")
BONES = "bones"


@dataclass(frozen=True)
class Look:
    """How to show a layout: what of the head fades, and what of the scene fits in the frame."""

    boxes: tuple[tuple[float, float, float, float], ...]
    """Left, right, bottom, top in mm of each view's screen."""
    skin_alpha: float = 1.0
    size: float = 16.0
    hide: bool = False
    """Whether points that face away from the viewer are left out."""
    bones: tuple[str, ...] = ()
    """Bodies of the skull to show, where the points lie on them."""


HEAD = ((-100, 100, -150, 155), (-140, 95, -150, 155))
FACE = ((-98, 98, -100, 105), (-140, 30, -100, 105))
LOOKS = {
    "ears": Look(((-110, 110, -30, 45), (-38, 37, -30, 45)), size=16),
    "eyes": Look(((-62, 62, 5, 65), (-110, -50, 5, 65)), size=14),
    "irises": Look(((-62, 62, 5, 65), (-110, -50, 5, 65)), size=26),
    "teeth": Look(((-45, 45, -75, 5), (-125, -35, -75, 5)), skin_alpha=0.12, size=12),
    "skull": Look(((-100, 100, -100, 150), (-140, 95, -100, 150)), 0.16, 12, True, ("mandible", "skull")),
    "mandible": Look(((-80, 80, -95, 20), (-115, 0, -95, 20)), 0.16, 12, True, ("mandible",)),
    "dense-500": Look(HEAD, size=10, hide=True),
    "dense-5k": Look(HEAD, size=2.5, hide=True),
    "dense-50k": Look(HEAD, size=0.3, hide=True),
}


def vertex_normals(mesh: CanonicalHead | Skull) -> np.ndarray:
    """(V, 3) unit normals, weighted by area."""
    a, b, c = np.moveaxis(mesh.vertices_mm[mesh.triangles].astype(float), 1, 0)
    normals = np.zeros(mesh.vertices_mm.shape)
    for k in range(3):
        np.add.at(normals, mesh.triangles[:, k], np.cross(b - a, c - a))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def point_normals(mesh: CanonicalHead | Skull, points: np.ndarray) -> np.ndarray:
    """(N, 3) normal at the vertex nearest to each point."""
    vertices, normals = mesh.vertices_mm.astype(np.float32), vertex_normals(mesh)
    near = []
    for chunk in np.array_split(points.astype(np.float32), max(1, len(points) // 500)):
        distance2 = (vertices**2).sum(1) - 2 * chunk @ vertices.T
        near.append(distance2.argmin(1))
    return normals[np.concatenate(near)]


def bones_of(bodies: tuple[str, ...]) -> Skull:
    """The skull, or a part of it."""
    skull = Skull.load()
    return replace(skull, triangles=skull.triangles[np.concatenate([skull.triangles_of(body) for body in bodies])])


def draw_head(axes: Axes, head: CanonicalHead, view: np.ndarray, skin_alpha: float, skull: Skull | None) -> None:
    """Triangles shaded by their normals, the farthest first."""
    meshes = [head] if skull is None else [head, skull]
    corners = np.vstack([mesh.vertices_mm[mesh.triangles] for mesh in meshes]).astype(float) @ view.T
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    light = np.array([-0.35, 0.45, 0.82])
    smooth = np.vstack([vertex_normals(mesh)[mesh.triangles].mean(1) for mesh in meshes]) @ view.T
    shade = 0.42 + 0.56 * np.clip(smooth @ (light / np.linalg.norm(light)), 0, 1)
    shade = np.round(shade * 32) / 32  # few greys leave room in the palette for the points
    colour = np.repeat(shade[:, None], 4, axis=1) * (0.86, 0.86, 0.88, 1)
    names = np.array([*head.part_names, BONES])[np.r_[head.part, np.full(len(corners) - len(head.part), -1)]]
    colour[np.isin(names, WHITE_PARTS), :3] *= 1.15
    colour[np.isin(names, RED_PARTS), :3] *= (1.0, 0.72, 0.72)
    colour[names == BONES, :3] *= (1.06, 1.02, 0.9)
    colour[head.triangles_of("right iris", "left iris"), :3] *= 0.7
    colour[head.triangles_of("right pupil", "left pupil"), :3] *= 0.25
    colour = np.clip(colour, 0, 1)
    inside = np.isin(names, (*WHITE_PARTS, *RED_PARTS, BONES))
    if skull is not None:
        colour[~inside, :3] *= (1.0, 0.8, 0.72)
        normals[np.isin(names, RED_PARTS), 2] = -1  # gums lie before bone: not drawn
    colour[:, 3] = np.where(inside, 1.0, skin_alpha)
    order = np.argsort(corners[:, :, 2].mean(1))
    order = order[normals[order, 2] > 0]
    if skin_alpha < 1:
        order = np.r_[order[inside[order]], order[~inside[order]]]
    # hairlines of the same colour close the gaps
    edge = colour[order]
    if skin_alpha < 1:
        edge[:, 3] = inside[order] & (skull is not None)
    axes.add_collection(
        PolyCollection(corners[order, :, :2], facecolors=colour[order], edgecolors=edge, linewidths=0.3)
    )


def draw_points(axes: Axes, layout: Layout, view: np.ndarray, normals: np.ndarray, look: Look) -> None:
    """The points that face the viewer, coloured by side, and their edges."""
    xyz = layout.points_mm.astype(float) @ view.T
    seen = (normals @ view[2] > 0) if look.hide else np.ones(len(layout), bool)
    if view is LEFT:
        seen &= layout.points_mm[:, 0] > -1
    if layout.edges is not None:
        lines = layout.edges[seen[layout.edges].all(1)]
        axes.add_collection(LineCollection(xyz[lines, :2], colors="#202020", linewidths=0.7))
    x = layout.points_mm[:, 0]
    colour = np.where(np.abs(x) < 0.5, MIDDLE_COLOUR, np.where(x < 0, RIGHT_COLOUR, LEFT_COLOUR))
    edge = {"edgecolors": "white", "linewidths": 0.35} if look.size > 4 else {"linewidths": 0}
    axes.scatter(*xyz[seen, :2].T, s=look.size, c=colour[seen], zorder=3, **edge)


def draw(head: CanonicalHead, layout: Layout) -> Image.Image:
    look = LOOKS.get(layout.name, Look(FACE))
    skull = bones_of(look.bones) if look.bones else None
    normals = point_normals(skull or head, layout.points_mm)
    width = [box[1] - box[0] for box in look.boxes]
    height = look.boxes[0][3] - look.boxes[0][2]
    scale = 9.6 / sum(width)
    figure, axes = plt.subplots(1, 2, figsize=(9.6, height * scale), width_ratios=width, gridspec_kw={"wspace": 0.0})
    for ax, view, box in zip(axes, (FRONT, LEFT), look.boxes, strict=True):
        draw_head(ax, head, view, look.skin_alpha, skull)
        draw_points(ax, layout, view, normals, look)
        ax.set(xlim=box[:2], ylim=box[2:], aspect="equal")
        ax.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=80 if look.size < 1 else 100, facecolor="white")
    plt.close(figure)
    # a palette keeps the file small; octrees keep the few coloured pixels, which a median cut would turn grey
    return (
        Image.open(buffer)
        .convert("RGB")
        .quantize(64 if look.hide else 96, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    )


OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "layouts"


def main(out: Path = OUT) -> None:
    """Write one PNG for each layout.

    Args:
        out: folder to write to.
    """
    out.mkdir(parents=True, exist_ok=True)
    head = CanonicalHead.load()
    for name in available_layouts():
        draw(head, load_layout(name)).save(out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    tyro.cli(main)
