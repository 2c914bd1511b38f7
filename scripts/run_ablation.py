"""Train the variants of recipes/ablation.toml and write their held-out metrics to benchmarks/ablation-model.json.

    python scripts/run_ablation.py --photos DIR [--only NAME ...]

{box crop, similarity, affine} x {2D head, 3D head} x {D on, off} with the basis predictor; the whole model with the
paper's two predictors; and with 2D supervision alone. A run that was stopped goes on; what is done is not done again.
All start from the encoder of an earlier `small`, which learned 2D landmarks in windows about true boxes and nothing
else, so that so few steps tell them apart; the rest starts anew. The box crop learns from such windows, as it would be
used, and in one row from rough ones as the others do; all are scored on both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load, save_file

from anymark.evaluate.bench import host
from anymark.files import write_json
from anymark.learn.train.landmarks import LandmarkTask
from anymark.learn.train.loop import fit
from anymark.learn.train.recipe import LandmarkRecipe, load_recipe

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/ablation.toml"
RUNS = ROOT / "runs/ablation"
START = "583de237c9de:src/anymark/models/small/weights.safetensors"
"""In git: 2D landmarks of photos and renders, without S, a 3D head or D."""
OUT = ROOT / "benchmarks/ablation-model.json"


def variants(base: LandmarkRecipe) -> Iterator[tuple[str, LandmarkRecipe]]:
    """Each variant's name and recipe."""
    plain = replace(base, crop=replace(base.crop, kind="none"), geometry=replace(base.geometry, rough=0.0))
    crops = {
        "box": plain,
        "similarity": base,
        "affine": replace(base, crop=replace(base.crop, kind="affine")),
    }
    for crop, recipe in crops.items():
        for head in ("2d", "3d"):
            for deformer in (True, False):
                codes = recipe.deformer if deformer else replace(recipe.deformer, codes=())
                yield f"{crop}, {head}, D {'on' if deformer else 'off'}", replace(recipe, head=head, deformer=codes)
    for kind, width in (("mlp", 512), ("transformer", 256)):
        yield f"similarity, 3d, D on, {kind}", replace(base, predictor=replace(base.predictor, kind=kind, width=width))
    flat = replace(base.loss, shape=0.0, pose=0.0, focal=0.0)
    yield "similarity, 3d, D on, 2D supervision alone", replace(base, loss=flat)
    yield "box, 3d, D on, learned from rough windows", replace(plain, geometry=base.geometry)


def write_encoder(path: Path) -> None:
    """Where all variants start: the encoder F of `START`, and nothing else of it."""
    weights = load(subprocess.run(["git", "show", START], cwd=ROOT, check=True, capture_output=True).stdout)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value for key, value in weights.items() if key.startswith("encoder.")}, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=Path, default=ROOT.parent / "shared/photos")
    parser.add_argument("--only", nargs="*", help="names of variants")
    given = parser.parse_args()
    base = load_recipe(RECIPE)
    assert isinstance(base, LandmarkRecipe)
    write_encoder(RUNS / str(base.train.init))
    loaded = LandmarkTask(base, given.photos, ROOT / "runs/cache")
    text = RECIPE.read_text("utf-8")
    kept: dict[str, Any] = {"start": START, "recipe": text, "variants": {}}
    if OUT.exists():
        kept = json.loads(OUT.read_text("utf-8"))
        if (kept["start"], kept["recipe"]) != (START, text):
            raise SystemExit(f"{OUT}: of another start or recipe; delete it to begin anew")
    for name, recipe in variants(base):
        if name in kept["variants"] or (given.only and name not in given.only):
            continue
        print(name, flush=True)
        task = loaded.variant(recipe)
        folder = RUNS / name.replace(", ", "-").replace(" ", "-")
        metrics = fit(task, recipe.train, folder, f"{text}\n# {name}\n", recipe_folder=RUNS)
        kept["variants"][name] = {
            "metrics": {key: round(value, 3) for key, value in metrics.items()},
            "parameters": sum(p.numel() for p in task.model.parameters()),
            "host": host(),
        }
        write_json(OUT, kept)


if __name__ == "__main__":
    main()
