"""Draw docs/images/engine.jpg: what the data engine makes, with heads whose skin and hair are drawn by us.

    uv run --extra data scripts/draw_engine.py [ASSETS]

ASSETS (../shared/assets by default) holds ICT-FaceKit, for expressions, and the panoramas.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from anymark.canonical import CanonicalHead
from anymark.engine.gallery import panels
from anymark.engine.hdr import read_hdr
from anymark.engine.heads import canonical_rig, vertex_normals
from anymark.engine.labels import labelled
from anymark.engine.light import Environment, view
from anymark.engine.marks import draw_marks, paint
from anymark.engine.occluders import glasses, mask
from anymark.engine.pixels import to_display
from anymark.engine.procedural import procedural_subject
from anymark.engine.render import Renderer
from anymark.engine.repose import Shot, Stage
from anymark.engine.shots import extreme, frame, turned
from anymark.engine.texture import Atlas
from anymark.fit import Rig, posed_bones, rest_bones, turned_eyes

SIDE, TILE = 320, 200
UPRIGHT = np.diag([1.0, -1.0, -1.0])
SHOTS = (  # seed, yaw, pitch, roll in degrees, distance in mm, expression, what is on the face
    (0, 8, -4, 0, 900, "grin", ""),
    (1, -42, 6, 4, 700, "eyes closed", ""),
    (2, 25, -16, -12, 420, "mouth wide open", "glasses"),
    (3, 74, 2, 3, 1500, "pucker", ""),
    (5, -20, 26, 8, 110, "scream", "dots"),
    (7, -64, -12, -6, 1200, "cheeks puffed", "mask"),
)


def main(assets: Path) -> None:
    head = CanonicalHead.load()
    rig = canonical_rig(Rig.load_ict(assets), head)
    stage, face = Stage(head, Atlas(head, 512)), head.vertices_of("face")
    files = sorted((assets / "hdri").glob("*.hdr"))
    columns = []
    with Renderer((SIDE, SIDE)) as renderer:
        for seed, yaw, pitch, roll, distance, expression, extra in SHOTS:
            rng = np.random.default_rng(seed)
            subject = procedural_subject(stage.atlas, rng)
            if extra == "dots":
                marks = draw_marks(head, rng, lines=False)
                painted = paint(stage.atlas, subject.skin.colour, marks)
                subject = replace(subject, skin=replace(subject.skin, colour=painted))
            environment = Environment.of(read_hdr(files[seed % len(files)]))
            identity = rng.normal(0, 0.9, len(rig.identity_mm))
            straight = rig.vertices_mm(identity, extreme(rig, expression, rng))
            rest = rig.vertices_mm(identity, np.zeros(len(rig.expression_mm)))
            vertices = turned_eyes(rig, straight[None], np.eye(3)[None, None].repeat(2, 1))[0]
            rotation = turned(*np.radians([yaw, pitch, roll]))
            share = 0.9 if distance < 200 else 0.5
            place, focal, principal = frame(vertices[face], rotation, distance, share, np.zeros(2), SIDE)
            things = ()
            if extra == "glasses":
                things = glasses(head, vertices, rng)
            elif extra == "mask":
                things = mask(head, vertices, vertex_normals(vertices, head.triangles), rng)
            turn = UPRIGHT @ rotation
            shot = Shot(
                vertices,
                rotation,
                place,
                focal,
                principal,
                environment,
                turn,
                shine=0.35,
                with_sheet=False,
                things=things,
            )
            picture = stage.shoot(renderer, subject, shot)
            back = view(environment.picture, SIDE, min(focal, 1.6 * SIDE), UPRIGHT)
            colour = picture.colour + (1 - picture.alpha[..., None]) * back
            pixels = to_display(0.8 * colour)
            bones = posed_bones(rest_bones(rest), rest, vertices)
            seen, places, over = picture.buffers, picture.places_mm, picture.occluded
            sample = labelled(str(seed), pixels, head, shot, bones, seen, places, {}, occluded=over)
            columns.append(np.vstack(np.hsplit(panels(sample, TILE), 4)))
    path = Path(__file__).parents[1] / "docs" / "images" / "engine.jpg"
    Image.fromarray(np.hstack(columns)).save(path, quality=90)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "shared" / "assets")
