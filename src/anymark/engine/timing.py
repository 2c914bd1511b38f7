"""Times the data engine; run as a process of its own, with one thread.

Usage: python -m anymark.engine.timing ASSETS PHOTOS SECONDS; prints the timings as JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from anymark.canonical import CanonicalHead
from anymark.engine.fits import Fitter, fit_photos
from anymark.engine.heads import canonical_rig
from anymark.engine.mesh import Mesh
from anymark.engine.render import Renderer
from anymark.engine.shots import PRESETS, frame, turned
from anymark.engine.studio import Studio
from anymark.errors import AnymarkError
from anymark.evaluate.timing import Timing, measure
from anymark.fit import Rig
from anymark.photo_files import read_labels

SET, HEADS, RENDER_PX, SAMPLE_PX = "sfhq_t2i", 32, 384, 256


def timings(assets: Path, photos: Path, seconds: float) -> dict[str, Timing]:
    """Milliseconds of fits (for each of many photos at once), renders and samples.

    Raises:
        AnymarkError: something is missing there, or OpenGL cannot be had.
    """
    rig, head, labels = Rig.load_ict(assets), CanonicalHead.load(), read_labels(photos / SET)
    fitter = Fitter(rig, canonical_rig(rig, head))
    part = labels.chosen("train", good=True)[:HEADS]
    together = measure(lambda: fitter.fit(labels.points_px[part], labels.depth_px[part]), seconds)
    fits = Timing(together.min_ms / len(part), together.median_ms / len(part), together.runs)
    rotation = turned(0.5, 0.1, 0.0)
    place, focal, principal = frame(rig.neutral_mm, rotation, 900.0, 0.8, np.zeros(2), RENDER_PX)
    mesh = Mesh((rig.neutral_mm @ rotation.T + place).astype(np.float32), rig.triangles, rig.neutral_mm)
    with Renderer((RENDER_PX, RENDER_PX)) as renderer:
        render = measure(lambda: renderer.render([mesh], focal, principal), seconds)
    fitted = fit_photos(labels, "train", partial(fitter.solve, labels), limit=HEADS)
    studio = Studio(assets, photos, fitter, {SET: fitted}, SAMPLE_PX, held_out=False)
    counter = itertools.count()
    views = partial(studio.show, config=PRESETS["views"], key="timing")
    subjects = [studio.take(SET, k) for k in range(8)]

    def sample() -> object:
        i = next(counter)
        return views(subjects[i % len(subjects)], rng=np.random.default_rng(i))

    return {
        f"fit of a photo, {HEADS} at once": fits,
        f"render of ICT-FaceKit, {RENDER_PX} px": render,
        "skin of a photo": measure(lambda: studio.take(SET, next(counter) % len(fitted)), seconds),
        f"sample, {SAMPLE_PX} px": measure(sample, seconds),
    }


if __name__ == "__main__":
    try:
        found = timings(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
        print(json.dumps({name: asdict(timing) for name, timing in found.items()}))
    except AnymarkError as error:
        sys.exit(str(error))
