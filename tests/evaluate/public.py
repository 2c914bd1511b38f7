"""Tiny trees of public benchmarks in their real formats, made here: faces are dots on grey.

Points are pixel indices, whose pixels are white in the image: a reader is right to the pixel if it puts them there, at
the middle of their pixels. What a file says of the centre of the first pixel is added as its data set has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from anymark.canonical import load_layout

SIDE = 320
GREY = 128


def face(layout: str, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """(N, 2) whole numbers: which pixels hold the points of a face from the front."""
    xy = load_layout(layout).points_mm[:, :2].astype(float) * (1, -1) + (160, 165)
    return np.floor(xy).astype(int) + np.array(shift)


def picture(pixels: np.ndarray, size: tuple[int, int] = (SIDE, SIDE), grey: bool = False) -> np.ndarray:
    """(H, W, 3), or (H, W): grey, with these pixels (N, 2) in white where they are inside."""
    width, height = size
    image = np.full((height, width, 3), GREY, np.uint8)
    inside = ((pixels >= 0) & (pixels < size)).all(1)
    x, y = pixels[inside].T
    image[y, x] = 255
    return image[..., 0] if grey else image


def lies_on(points_px: np.ndarray, image: np.ndarray) -> bool:
    """Whether each point is at the middle of a white pixel."""
    whole = np.floor(points_px).astype(int)
    return bool(np.array_equal(points_px, whole + 0.5) and (image[whole[:, 1], whole[:, 0]] == 255).all())


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=100)


class WflwTree:
    """WFLW: `add` a face, then `write` its lists."""

    SUBSETS = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")
    EVENTS = ("0--Parade", "37--Soccer")

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lines: dict[str, list[str]] = {"train": [], "test": []}
        self.subsets: dict[str, list[str]] = {name: [] for name in self.SUBSETS}

    def add(
        self,
        split: str = "test",
        subsets: Sequence[str] = (),
        pixels: np.ndarray | None = None,
        first_centre: float = 0.0,
        flags: Sequence[str] | None = None,
    ) -> None:
        pixels = face("wflw98") if pixels is None else pixels
        count = len(self.lines[split])
        event = self.EVENTS[count % 2]
        name = f"{event}/{event.replace('--', '_')}_{split}_{count}.png"
        save(self.root / "WFLW_images" / name, picture(pixels))
        words = [f"{value:.6f}" for value in (pixels + first_centre).ravel()]
        box = [str(int(value)) for value in (*pixels.min(0), *pixels.max(0))]
        marks = ["1" if name in (subsets if flags is None else flags) else "0" for name in self.SUBSETS]
        self.lines[split].append(" ".join([*words, *box, *marks, name]))
        if split == "test":
            for subset in subsets:
                self.subsets[subset].append(" ".join([*words, name]))

    def write(self, subset_lists: bool = True) -> Path:
        lists = self.root / "WFLW_annotations"
        for split, lines in self.lines.items():
            path = lists / "list_98pt_rect_attr_train_test" / f"list_98pt_rect_attr_{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines))
        for name, lines in self.subsets.items() if subset_lists else ():
            path = lists / "list_98pt_test" / f"list_98pt_test_{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines))
        return self.root


def write_face_synthetics(root: Path, count: int = 2, first_centre: float = 0.0) -> Path:
    """Images, landmarks and segmentation; the eyes there are ellipses between their corners."""
    root.mkdir(exist_ok=True)
    for i in range(count):
        pixels = np.vstack([face("ibug68", (i, 2 * i)), face("mediapipe478", (i, 2 * i))[[468, 473]]])
        save(root / f"{i:06}.png", picture(pixels, (512, 512)))
        lines = "".join(f"{x:.14f} {y:.14f}\n" for x, y in pixels + first_centre)
        (root / f"{i:06}_ldmks.txt").write_text(lines)
        save(root / f"{i:06}_seg.png", segmentation(pixels[:68] + 0.5))
    return root


def segmentation(points_px: np.ndarray) -> np.ndarray:
    """(512, 512) classes: skin all over, and a pixel is eye if its middle is in the ellipse of an eye's corners."""
    classes = np.ones((512, 512), np.uint8)
    y, x = np.mgrid[:512, :512] + 0.5
    for value, (a, b) in ((3, (36, 39)), (4, (42, 45))):
        middle, across = (points_px[a] + points_px[b]) / 2, points_px[b, 0] - points_px[a, 0]
        classes[((x - middle[0]) / (across / 2)) ** 2 + ((y - middle[1]) / (across / 5)) ** 2 < 1] = value
    return classes


def write_pts(path: Path, pixels: np.ndarray) -> None:
    """As iBUG's files are: the first pixel's centre is (1, 1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in pixels + 1)
    path.write_text(f"version: 1\nn_points:  68\n{{\n{rows}\n}}\n")
