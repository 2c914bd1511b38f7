"""Test sets for marker models: marked and unmarked pictures of other people, a template, and unmarked pictures whose
points are known, to score on."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.arrays import open_arrays
from anymark.canonical import CanonicalHead, load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.canonical.posed import points_on
from anymark.detect.template import Template
from anymark.detect.window import Crop, Window, crop
from anymark.engine.hand_pictures import PAINTS, Actor, Known, Take, draw_actor, draw_take, picture_of
from anymark.engine.hands import Hand
from anymark.engine.hdr import read_hdr
from anymark.engine.light import Environment, view
from anymark.engine.marks import LINES, PAINTED, painted_lines
from anymark.engine.pixels import to_display
from anymark.engine.samples import Sample
from anymark.errors import AnymarkError
from anymark.files import atomic
from anymark.fit.problem import exponential

Bytes = npt.NDArray[np.uint8]

TEMPLATE, TRUTH = "template.json", "truth.npz"
MARKED, UNMARKED, HELD_OUT = "marked", "unmarked", "held-out"
SEQUENCE, SEQUENCE_MARKED = "sequence", "sequence-marked"
FACE_SCALE = 1.35
"""Side of a face's picture over the longer side of its box."""
STEPS = 24
"""Frames of a sequence from one pose to the next."""


class Truth(NamedTuple):
    """What K pictures show."""

    points: npt.NDArray[np.float64]
    """(K, N, 2) in -1..1."""
    visible: npt.NDArray[np.bool_]
    """(K, N) which points are seen."""
    take: npt.NDArray[np.int64]
    """(K,) alike for frames of one take."""


def write_pictures(folder: Path, pictures: Sequence[Known] | Iterator[Known], truth: bool) -> int:
    """Write pictures, numbered, and `TRUTH` beside them if they are to be scored on; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    points, visible, take = [], [], []
    for i, each in enumerate(pictures):
        with atomic(folder / f"{i:06d}.png", "wb") as file:
            Image.fromarray(each.pixels).save(file, "png")
        points.append(each.xy_px * (2 / len(each.pixels)) - 1)
        visible.append(each.visible)
        take.append(each.take)
    if truth:
        with atomic(folder / TRUTH, "wb") as file:
            np.savez(file, points=np.stack(points).astype(np.float32), visible=np.stack(visible), take=take)
    return len(points)


def read_truth(folder: Path) -> Truth:
    """What the pictures of a folder show, in their order.

    Raises:
        AnymarkError: there is no truth beside them, or it is damaged.
    """
    path = folder / TRUTH
    with open_arrays(path, "truth of anymark data markers") as file:
        return Truth(file["points"].astype(np.float64), file["visible"], file["take"])


def hand_template(hand: Hand) -> Template:
    """The marks of a hand at rest, as its camera sees it from straight above."""
    still = replace(
        draw_take(hand, np.random.default_rng(0), 0.0), R_camera_hand=hand.towards_back, shift=np.zeros(2), nearer=1.0
    )
    actor = replace(draw_actor(np.random.default_rng(0)), wide=1.0)
    found = picture_of(hand, actor, still, np.zeros((64, 64, 3), np.uint8), 64, None)
    _, _, lines = hand.landmarks
    return Template.of("hand", found.xy_px / 32 - 1, lines)


def hands(
    hand: Hand, backgrounds: Bytes, size: int, actors: Sequence[Actor], count: int, painted: bool, seed: int
) -> Iterator[Known]:
    """Pictures of hands, each with another background, pose and light; one paint for all marks of the set."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        actor = actors[int(rng.integers(len(actors)))]
        ground = backgrounds[int(rng.integers(len(backgrounds)))]
        yield picture_of(hand, actor, draw_take(hand, rng), ground, size, PAINTS[1] if painted else None)


def hand_sequence(
    hand: Hand, backgrounds: Bytes, size: int, actor: Actor, count: int, painted: bool, seed: int
) -> Iterator[Known]:
    """Frames of one hand that moves from pose to pose before one background."""
    rng = np.random.default_rng(seed)
    ground = backgrounds[int(rng.integers(len(backgrounds)))]
    now, then = draw_take(hand, rng), draw_take(hand, rng)
    for i in range(count):
        share = (i % STEPS) / STEPS
        if i and share == 0:
            now, then = then, draw_take(hand, rng)
        yield picture_of(hand, actor, _between(now, then, share), ground, size, PAINTS[1] if painted else None)


def _between(now: Take, then: Take, share: float) -> Take:
    smooth = share * share * (3 - 2 * share)

    def mixed(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return (1 - smooth) * a + smooth * b

    u, _, v = np.linalg.svd(mixed(now.R_camera_hand, then.R_camera_hand))
    return replace(
        now,
        vertices_mm=mixed(now.vertices_mm, then.vertices_mm).astype(np.float32),
        R_camera_hand=u @ v,
        shift=mixed(now.shift, then.shift),
        nearer=(1 - smooth) * now.nearer + smooth * then.nearer,
    )


def face_template() -> Template:
    """The marks of the canonical head, seen from straight ahead."""
    points, edges = painted_lines()
    on = CanonicalHead.load().closest_point(points).points_mm
    face = load_layout(FACE_MESH_LAYOUT).points_mm[:FACE_MESH_POINTS]
    xy, box = on[:, :2] * (1, -1), face[:, :2] * (1, -1)
    low, high = box.min(0), box.max(0)
    half = FACE_SCALE * float((high - low).max()) / 2
    return Template.of("face", (xy - (low + high) / 2) / half, edges)


def face_of(sample: Sample, size: int) -> Known:
    """The face of a sample of the data engine, in a square about its box."""
    face = points_on(sample.xy_px, FACE_MESH_LAYOUT)[:FACE_MESH_POINTS].astype(np.float64)
    low, high = face.min(0), face.max(0)
    square = Window((low + high) / 2, FACE_SCALE * float((high - low).max()))
    points = points_on(sample.xy_px, LINES)[PAINTED].astype(np.float64)
    at = (Crop(square.affine()).to_crop(points) + 1) * (size / 2)
    seen = points_on(sample.visible[:, None].astype(np.float32), LINES)[PAINTED, 0] > 0.5
    take = zlib.crc32(sample.key.rpartition("-")[0].encode())
    return Known(crop(sample.image, square, size), at.astype(np.float32), seen, take)


def plain_grounds(folder: Path, size: int, rng: np.random.Generator, each: int = 20) -> Bytes:
    """(N, S, S, 3) views into panoramas, out of focus, as behind a hand that is near.

    Raises:
        AnymarkError: no panoramas there.
    """
    files = sorted(folder.glob("*.hdr"))
    if not files:
        raise AnymarkError(f"{folder}: no panoramas (*.hdr) there")
    out = []
    for file in files:
        panorama = Environment.of(read_hdr(file)).picture
        for _ in range(each):
            turn = exponential(np.array([[0.0, rng.uniform(-np.pi, np.pi), 0.0]]))[0]
            seen = view(panorama, size, size * rng.uniform(0.6, 1.5), turn)
            seen = cv2.GaussianBlur(seen, (0, 0), size * rng.uniform(0.02, 0.05))
            out.append(to_display(seen * rng.uniform(0.2, 0.6)))
    return np.stack(out)
