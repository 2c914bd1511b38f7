"""Recipes: what is wrong in one is said in one line, and the shipped ones are right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anymark.errors import AnymarkError
from anymark.learn.data.photos import DATA_CARDS
from anymark.learn.models.landmarker import ModelConfig
from anymark.learn.train.recipe import DenseRecipe, LandmarkRecipe, MarkerRecipe, load_recipe
from tests.learn.tiny import MODEL, model_config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nstep = 5", r"unknown key 'step'; did you mean steps"),
        ("[train]\nsteps = 'many'", r"train: steps: 'many' is not int"),
        ("[predictor]\nkind = 'magic'", r"'magic' is none of 'basis', 'mlp', 'transformer'"),
        ("kind = 'poem'", r"kind 'poem' is none of"),
        ("[train", r"not a TOML file"),
        ("encoder = 3", r"encoder must be a table"),
        ("[train]\nsteps = 0", r"train: steps: 0 must be finite and at least 1"),
        ("[train]\nbatch = 0", r"train: batch: 0 must be"),
        ("[train]\nevaluate_every = 0", r"train: evaluate_every: 0 must be"),
        ("[train]\nlr = nan", r"train: lr: nan must be finite and above 0"),
        ("[train]\nlr = 0.0", r"train: lr: 0\.0 must be finite and above 0"),
        ("[train]\nclip = -1", r"train: clip: -1\.0 must be"),
        ("[train]\nwarmup = -1", r"train: warmup: -1 must be"),
        ("[train]\nema = 1.0", r"train: ema: 1\.0 must be at least 0 and at most 1"),
        ("[train]\ncheckpoint_minutes = inf", r"train: checkpoint_minutes: inf must be finite"),
        ("[data]\nqueries = 3", r"data: queries: 3 must be finite and at least 4"),
        ("[data]\nstore_size = 8", r"data: store_size: 8 must be"),
        ("[data]\nwindow_scale = 0", r"data: window_scale: 0\.0 must be"),
        ("[data.sources]\nfaker = 0", r"data: sources\.faker: 0\.0 must be finite and above 0"),
        ("[data.shards]\nmine = nan", r"data: shards\.mine: nan must be"),
        ("[predictor]\nbasis = 0", r"predictor: basis: 0 must be"),
        ("[predictor]\nwidth = 0", r"predictor: width: 0 must be"),
        ("[encoder]\ninput_size = 16", r"encoder: input_size: 16 must be finite and at least 32"),
        ("[appearance]\njpeg = 1.5", r"appearance: jpeg: 1\.5 must be at least 0 and at most 1"),
        ("[appearance]\nnoise_level = -0.1", r"appearance: noise_level: -0\.1 must be"),
        ("[geometry]\nmirror = nan", r"geometry: mirror: nan must be"),
        ("[geometry]\nrough = 2", r"geometry: rough: 2\.0 must be at least 0 and at most 1"),
        ("[geometry]\nrough_scale = [2, 1]", r"geometry: rough_scale: from 2 to 1 is no range"),
        ("[geometry]\nrough_scale = [0, 1]", r"geometry: rough_scale: 0\.0 must be finite and above 0"),
        ("[crop]\nkind = 'homography'", r"crop: kind: 'homography' is none of 'none', 'similarity', 'affine'"),
        ("[crop]\ninput_size = 8", r"crop: input_size: 8 must be finite and at least 32"),
        ("[deformer]\ncodes = ['fits']", r"deformer: codes, like: each name once, and without 'fits'"),
        ("[deformer]\nmost_mm = -1", r"deformer: most_mm: -1\.0 must be finite and at least 0"),
        ("[loss]\npose = -1", r"loss: pose: -1\.0 must be finite and at least 0"),
        ("[data]\ntwins = 1.5", r"data: twins: 1\.5 must be at least 0 and at most 1"),
        ("head = '4d'", r"head: '4d' is none of '2d', '3d'"),
        ("kind = 'locator'\n[scenes]\noccluded = 2", r"scenes: occluded: 2\.0 must be"),
        ("kind = 'locator'\n[scenes]\nsingle = 0\ntiles = 0\npaste = 0\nempty = 0", r"scenes: one of single, "),
        ("kind = 'locator'\n[data]\nsize = 100", r"data: size: 100 must be a multiple of 32"),
        ("kind = 'locator'\n[model]\nwidths = [8, 8]", r"model: widths and depths: there must be four"),
        ("kind = 'dense'\n[embedder]\ninput_size = 200", r"input_size: 200 must be a multiple of 32"),
        ("kind = 'dense'\n[train]\nbatch = 5", r"train\.batch: 5 must be even"),
        (
            "kind = 'markers'\n[model.painter]\ncolour = [0, 1]",
            r"colour: must be a list of 3, not of 2; or .* 'learned'",
        ),
        ("kind = 'markers'\n[model.painter]\ncolour = 'red'", r"colour: must be a list; or 'red' is none of 'learned'"),
        ("kind = 'markers'\n[model.painter]\nopacity = 2", r"opacity: 2\.0 must be at least 0\.5 and at most 0\.98"),
    ],
)
def test_a_bad_recipe_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(AnymarkError, match=message) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)
    assert "r.toml" in str(caught.value)


def test_paint_is_given_or_learned(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    for given, want in (("[0, 0.5, 1]", (0.0, 0.5, 1.0)), ('"learned"', "learned")):
        path.write_text(f"kind = 'markers'\n[model.painter]\ncolour = {given}")
        recipe = load_recipe(path)
        assert isinstance(recipe, MarkerRecipe)
        assert recipe.model.painter.colour == want


def test_every_shipped_recipe_is_valid() -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
    assert recipes
    for path in recipes:
        recipe = load_recipe(path)
        if isinstance(recipe, MarkerRecipe):  # its pictures are made, or the user's own
            continue
        if not isinstance(recipe, DenseRecipe):
            assert set(recipe.data.sources) <= {*DATA_CARDS, *(f"whole-{name}" for name in DATA_CARDS)}
        assert recipe.card.known_sources


def test_recipes_are_utf8_whatever_the_locale(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes('[card]\nlicence = "© Zoë"'.encode())
    code = (
        "import sys, pathlib; from anymark.tables import read_toml; print(ascii(read_toml(pathlib.Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-X", "utf8=0", "-c", code, str(tmp_path / "r.toml")]
    done = subprocess.run(command, env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}, capture_output=True)
    assert done.stdout.decode().strip() == ascii({"card": {"licence": "© Zoë"}}), done.stderr


def test_the_tables_of_a_recipe_make_its_model(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('head = "2d"\n' + MODEL + '[deformer]\ncodes = ["ibug68"]\nlike = { wflw98 = "ibug68" }\n')
    recipe = load_recipe(path)
    assert isinstance(recipe, LandmarkRecipe)
    tiny = model_config()
    assert recipe.model == ModelConfig(recipe.crop, recipe.encoder, recipe.deformer, recipe.predictor, "2d")
    assert (recipe.crop, recipe.encoder) == (tiny.crop, tiny.encoder)
    assert (recipe.deformer.codes, recipe.deformer.like) == (("ibug68",), {"wflw98": "ibug68"})
