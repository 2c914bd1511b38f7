# /// script
# requires-python = ">=3.11"
# dependencies = ["anymark", "scipy>=1.14"]
# [tool.uv.sources]
# anymark = { path = "..", editable = true }
# ///
"""Build the canonical head and every shipped layout from ICT-FaceKit and MediaPipe.

Usage:
    uv run scripts/build_canonical.py --assets ../shared/assets
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from anymark.canonical import CanonicalHead, Layout
from canonical_build import landmarks, organs
from canonical_build.dense import dense
from canonical_build.head import build_head
from canonical_build.parts import PARTS
from canonical_build.rig import load_face_mesh, load_rig

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Args:
    assets: Path = Path(os.environ.get("ANYMARK_ASSETS", ROOT.parent / "shared" / "assets"))
    """Folder that holds ict_facekit and mediapipe."""
    out: Path = ROOT / "src" / "anymark" / "canonical" / "data"
    """Folder to write to."""


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an .npz without pickles; whoever reads it meanwhile sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    partial.replace(path)


def save_head(path: Path, head: CanonicalHead) -> None:
    arrays = {key: getattr(head, key) for key in ("vertices_mm", "triangles", "part", "uv", "flip", "ict_vertices")}
    arrays["part_names"] = np.array(head.part_names)
    save_arrays(path, arrays | {f"region/{name}": ids for name, ids in head.regions.items()})


def save_layout(folder: Path, layout: Layout) -> None:
    arrays = {"points_mm": layout.points_mm}
    for key in ("edges", "triangles", "flip"):
        value = getattr(layout, key)
        if value is not None:
            arrays[key] = value
    if layout.names is not None:
        arrays["names"] = np.array(layout.names)
    arrays |= {f"region/{name}": index for name, index in layout.regions.items()}
    save_arrays(folder / f"{layout.name}.npz", arrays)


def main(args: Args) -> None:
    """Build everything; the same inputs give the same arrays."""
    if not (args.assets / "ict_facekit").is_dir():
        raise SystemExit(f"{args.assets} has no folder ict_facekit; pass --assets or set ANYMARK_ASSETS")
    rig = load_rig(args.assets)
    mesh = load_face_mesh(rig, args.assets)
    compact = build_head(rig, mesh, args.assets)
    head = CanonicalHead(
        vertices_mm=compact.vertices_mm.astype(np.float32),
        triangles=compact.triangles.astype(np.int32),
        part=compact.part.astype(np.int16),
        part_names=PARTS,
        uv=compact.uv.astype(np.float32),
        flip=compact.flip.astype(np.int32),
        ict_vertices=compact.ict_vertices.astype(np.int32),
        regions={name: np.sort(ids).astype(np.int32) for name, ids in compact.regions.items()},
    )
    save_head(args.out / "head.npz", head)
    print(f"head: {len(head.vertices_mm)} vertices, {len(head.triangles)} triangles")
    layouts = [
        landmarks.mediapipe478(mesh),
        landmarks.ibug68(mesh),
        landmarks.wflw98(mesh),
        landmarks.irises(mesh),
        organs.ears(head),
        organs.eyes(mesh, head),
        organs.teeth(head),
        dense(head, "dense-500", 500, relax=30),
        dense(head, "dense-5k", 5_000, relax=10),
        dense(head, "dense-50k", 50_000, relax=0),
    ]
    for layout in layouts:
        save_layout(args.out / "layouts", layout)
        print(f"{layout.name}: {len(layout)} points")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
