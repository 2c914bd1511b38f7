"""Train the variants of recipes/dense-ablation.toml and write what they match on held-out pairs to
benchmarks/ablation-dense.json.

    python scripts/run_dense_ablation.py --photos DIR [--only NAME ...]

Each variant leaves out one term of the loss. All start from the encoder of `small`; the rest starts anew. A run that
was stopped goes on; what is done is not done again. What is scored needs no common cube: vertices that both views of a
pair show are carried through the maps, in windows from the true boxes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anymark.apps.correspond import Finder
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.canonical.frame import uvw_to_mm
from anymark.canonical.posed import points_on
from anymark.detect.dense import DenseMap
from anymark.detect.detector import Detector
from anymark.detect.image import open_photo
from anymark.detect.prior import STRIDE, prior_of
from anymark.detect.window import Crop, Window, cut
from anymark.engine.samples import Sample
from anymark.evaluate.bench import host
from anymark.evaluate.benchmark import points_box
from anymark.evaluate.correspondence import ALPHAS, POINTS, read_pairs
from anymark.evaluate.samples import true_window
from anymark.files import write_json
from anymark.learn.models.embedder import Embedder
from anymark.learn.train.dense import DenseModel, DenseTask
from anymark.learn.train.loop import fit
from anymark.learn.train.recipe import DenseRecipe, load_recipe

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/dense-ablation.toml"
RUNS = ROOT / "runs/dense-ablation"
OUT = ROOT / "benchmarks/ablation-dense.json"
PAIRS = 100


def variants(base: DenseRecipe) -> Iterator[tuple[str, DenseRecipe]]:
    """Each variant's name and recipe."""
    off = {
        "all terms": {},
        "no cube": {"contrast": 0.0, "regions": 0.0},
        "no landmarks": {"landmarks": 0.0},
        "no regions": {"regions": 0.0},
        "no round trip": {"closing": 0.0},
        "no prior": {},
        "InfoNCE": {"kind": "info-nce"},
        "as the paper: no round trip, contrast of weight 1": {"closing": 0.0, "contrast": 1.0},
    }
    for name, change in off.items():
        embedder = replace(base.embedder, prior=name != "no prior")
        yield name, replace(base, embedder=embedder, loss=replace(base.loss, **change))


@torch.no_grad()
def map_of(embedder: Embedder, sample: Sample, detector: Detector, scale: float, size: int) -> DenseMap:
    """The map of a sample's head, in the window of its true box; the true mask tells what is head."""
    face = points_on(sample.xy_px, FACE_MESH_LAYOUT)[:FACE_MESH_POINTS].astype(np.float64)
    photo = open_photo(sample.image)
    square = Crop(Window.from_box(points_box(face), scale).affine())
    image = torch.from_numpy(cut(photo, [square], size)).permute(0, 3, 1, 2).float() / 255
    (head,) = detector.encode(photo, [true_window(sample, detector)])
    prior = torch.from_numpy(prior_of(head.mesh(), square, size // STRIDE))[None]
    found = embedder(image, prior)
    points = uvw_to_mm(found.uvw[0].permute(1, 2, 0).numpy()).astype(np.float32)
    side = len(points)
    ones = np.ones((side, side), np.float32)
    blank = DenseMap(points, ones, ones, square, photo.full_size_px)
    cell = np.clip(blank.pixels_px / 4, 0, len(sample.part) - 1).astype(int)
    head = np.isfinite(sample.places_mm[cell[..., 1], cell[..., 0]]).all(-1)
    return replace(blank, head=head.astype(np.float32))


def matched(model: DenseModel, recipe: DenseRecipe, folder: Path) -> dict[str, float]:
    """MAE and PCK of vertices carried from the first to the second view of held-out pairs."""
    model.eval()
    errors = []
    detector = Detector()
    for i, (first, second) in enumerate(read_pairs(folder)):
        if i == PAIRS:
            break
        both = np.flatnonzero(first.visible & second.visible)
        if len(both) < 10:
            continue
        chosen = np.random.default_rng(i).permutation(both)[:POINTS]
        scale, size = recipe.data.window_scale, recipe.embedder.input_size
        one, other = (map_of(model.embedder, s, detector, scale, size) for s in (first, second))
        found = Finder(other)(one.at(first.xy_px[chosen]).points_mm)
        errors.append(np.linalg.norm(found.xy_px - second.xy_px[chosen], axis=1))
    away = np.concatenate(errors)
    return {"MAE px": float(away.mean())} | {f"PCK@{a:g} %": 100 * float((away <= 256 * a).mean()) for a in ALPHAS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=Path, default=ROOT.parent / "shared/photos")
    parser.add_argument("--only", nargs="*", help="names of variants")
    given = parser.parse_args()
    base = load_recipe(RECIPE)
    assert isinstance(base, DenseRecipe)
    text = RECIPE.read_text("utf-8")
    kept: dict[str, Any] = {"recipe": text, "variants": {}}
    if OUT.exists():
        kept = json.loads(OUT.read_text("utf-8"))
        if kept["recipe"] != text:
            raise SystemExit(f"{OUT}: of another recipe; delete it to begin anew")
    loaded = DenseTask(base, given.photos, folder=RECIPE.parent)
    for name, recipe in variants(base):
        if name in kept["variants"] or (given.only and name not in given.only):
            continue
        print(name, flush=True)
        task = loaded.variant(recipe, RECIPE.parent)
        fit(task, recipe.train, RUNS / name.replace(" ", "-"), f"{text}\n# {name}\n", recipe_folder=RECIPE.parent)
        numbers = matched(task.model, recipe, Path(base.data.held_out_shards[0]))
        kept["variants"][name] = {**{key: round(value, 3) for key, value in numbers.items()}, "host": host()}
        write_json(OUT, kept)


if __name__ == "__main__":
    main()
