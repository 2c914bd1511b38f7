"""Draw docs/images/markers-KIND.png: all steps of a marker model, on pictures whose skin and ground are drawn by us.

    uv run --extra train --extra data scripts/draw_markers.py hands RUN [ASSETS]

RUN is the folder of a training run of hands or of faces; ASSETS (../shared/assets by default) holds hands/,
ICT-FaceKit and the panoramas, which are the light.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from anymark.canonical import CanonicalHead
from anymark.engine.hand_pictures import draw_actor
from anymark.engine.hands import read_hand
from anymark.engine.hdr import read_hdr
from anymark.engine.heads import canonical_rig
from anymark.engine.labels import labelled
from anymark.engine.light import Environment
from anymark.engine.marker_sets import face_of, face_template, hand_template, hands
from anymark.engine.marks import draw_marks, paint
from anymark.engine.pixels import to_display
from anymark.engine.procedural import procedural_subject
from anymark.engine.render import Renderer
from anymark.engine.repose import Shot, Stage
from anymark.engine.shots import extreme, frame, turned
from anymark.engine.texture import Atlas
from anymark.fit import Rig, posed_bones, rest_bones, turned_eyes
from anymark.learn.data.marked import square
from anymark.learn.models.markers import KEPT, MarkerModel
from anymark.learn.train.recipe import MarkerRecipe, load_recipe
from anymark.learn.train.weights import load_weights

COUNT, SIDE, TILE = 8, 128, 128
GREY = 0.25


def main(kind: str, run: Path, assets: Path) -> None:
    recipe = load_recipe(run / "recipe.toml")
    if not isinstance(recipe, MarkerRecipe):
        raise SystemExit(f"{run}: not a run of markers")
    make, template = (
        (hand_pictures, hand_template(read_hand(assets / "hands" / "left.glb")))
        if kind == "hands"
        else (face_pictures, face_template())
    )
    model = MarkerModel(template, recipe.model).eval()
    load_weights(model, run / "weights.safetensors", beside=KEPT)
    unmarked, marked = (
        torch.from_numpy(np.stack([square(each, recipe.model.size) for each in make(assets, painted)]))
        .permute(0, 3, 1, 2)
        .float()
        / 255
        for painted in (False, True)
    )
    with torch.no_grad():
        made = model(unmarked, marked, torch.zeros_like(marked))
        again = model.painter(made.wiped, made.wiped_points)
    rows = [unmarked, made.marked, made.unmarked_again, marked, made.wiped, again]
    grid = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    picture = Image.fromarray((255 * grid.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy())
    path = Path(__file__).parents[1] / "docs" / "images" / f"markers-{kind}.png"
    picture.resize((COUNT * TILE, len(rows) * TILE), Image.Resampling.NEAREST).save(path)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def hand_pictures(assets: Path, painted: bool) -> Iterator[np.ndarray]:
    """Hands of others than a run has seen, before a wall."""
    rng = np.random.default_rng(77 + painted)
    wall = np.linspace(70, 150, SIDE)[:, None, None] * np.ones((SIDE, SIDE, 3)) * (1.0, 0.98, 0.94)
    actors = [draw_actor(rng) for _ in range(COUNT)]
    hand = read_hand(assets / "hands" / "left.glb")
    for each in hands(hand, wall.astype(np.uint8)[None], SIDE, actors, COUNT, painted, 55 + painted):
        yield each.pixels


def face_pictures(assets: Path, painted: bool) -> Iterator[np.ndarray]:
    """Heads of the rig in drawn skin."""
    head = CanonicalHead.load()
    rig = canonical_rig(Rig.load_ict(assets), head)
    stage, face = Stage(head, Atlas(head, 512)), head.vertices_of("face")
    files = sorted((assets / "hdri").glob("*.hdr"))
    with Renderer((2 * SIDE, 2 * SIDE)) as renderer:
        for seed in range(100 * painted, 100 * painted + COUNT):
            rng = np.random.default_rng(seed)
            subject = procedural_subject(stage.atlas, rng)
            if painted:
                marks = draw_marks(head, rng, lines=True, colour_name="blue")
                colour = paint(stage.atlas, subject.skin.colour, marks)
                subject = replace(subject, skin=replace(subject.skin, colour=colour))
            identity = rng.normal(0, 0.7, len(rig.identity_mm))
            straight = rig.vertices_mm(identity, extreme(rig, "grin", rng) * rng.uniform(0, 0.8))
            vertices = turned_eyes(rig, straight[None], np.eye(3)[None, None].repeat(2, 1))[0]
            rotation = turned(*np.radians(rng.normal(0, (12, 6, 5))))
            place, focal, principal = frame(vertices[face], rotation, 900, 0.5, np.zeros(2), 2 * SIDE)
            light = Environment.of(read_hdr(files[seed % len(files)]))
            turn = np.diag([1.0, -1.0, -1.0]) @ rotation
            shot = Shot(vertices, rotation, place, focal, principal, light, turn, shine=0.35, with_sheet=False)
            seen = stage.shoot(renderer, subject, shot)
            pixels = to_display(0.8 * (seen.colour + GREY * (1 - seen.alpha[..., None])))
            rest = rig.vertices_mm(identity, np.zeros(len(rig.expression_mm)))
            bones = posed_bones(rest_bones(rest), rest, vertices)
            sample = labelled(
                str(seed), pixels, head, shot, bones, seen.buffers, seen.places_mm, {}, occluded=seen.occluded
            )
            yield face_of(sample, SIDE).pixels


if __name__ == "__main__":
    shared = Path(__file__).parents[2] / "shared" / "assets"
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else shared)
