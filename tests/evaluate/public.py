"""Tiny trees of public benchmarks in their real formats, made here: faces are dots on grey.

Points are pixel indices, whose pixels are white in the image: a reader is right to the pixel if it puts them there, at
the middle of their pixels. What a file says of the centre of the first pixel is added as its data set has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
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


def write_cofw68(root: Path, count: int = 3, version: str = "7.3", annotations: str = "test_annotations") -> Path:
    """Photo n, the last one grey, has its first n points occluded."""
    from scipy.io import savemat

    from tests.evaluate.mat_writer import cells_v5, write_v73

    root.mkdir(exist_ok=True)
    faces = [face("ibug68", (3 * i, -i)) for i in range(count)]
    images = [picture(pixels, (320, 300), grey=i == count - 1) for i, pixels in enumerate(faces)]
    phis = np.zeros((count, 87))
    if version == "7.3":
        write_v73(root / "COFW_test_color.mat", {"IsT": images}, phisT=phis, bboxesT=phis[:, :4])
    else:
        savemat(root / "COFW_test.mat", {"IsT": cells_v5(images), "phisT": phis})
    for i, pixels in enumerate(faces):
        path = root / annotations / f"{i + 1}_points.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {"Points": pixels + 1.0, "Occ": (np.arange(68) < i + 1)[None]})
    return root


def write_aflw2000_3d(root: Path, number: int, angles_deg: tuple[float, float, float] = (0, 0, 0)) -> Path:
    """One .jpg and its .mat, with all that the authors' files hold."""
    from scipy.io import savemat

    pixels = face("ibug68", (60 + number % 7, 70))
    save(root / f"image{number:05}.jpg", picture(pixels, (450, 450)))
    pose = [*np.radians(angles_deg), 225.0, 225.0, -66.0, 1e-3]
    points = np.vstack([pixels.T + 1, np.linspace(-50, 50, 68)])
    path = root / f"image{number:05}.mat"
    content = {"pt3d_68": points, "Pose_Para": np.array([pose]), "pt2d": np.zeros((2, 21)), "roi": np.ones((1, 4))}
    savemat(path, {**content, "Shape_Para": np.zeros((199, 1)), "Exp_Para": np.zeros((29, 1))})
    return path


def write_video(root: Path, name: str, frames: Sequence[int] = range(3), clip: bool = False) -> Path:
    """A video whose face moves two pixels a frame; its frames as pictures, or as vid.avi."""
    folder = root / name
    pictures = [picture(face("ibug68", (2 * i, 0)), (352, 320)) for i in frames]
    for i, image in zip(frames, pictures, strict=True):
        write_pts(folder / "annot" / f"{i + 1:06}.pts", face("ibug68", (2 * i, 0)))
        if not clip:
            save(folder / "extraction" / f"{i + 1:06}.png", image)
    if clip:
        write_clip(folder / "vid.avi", pictures)
    return folder


def write_clip(path: Path, pictures: Sequence[np.ndarray]) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], "bgr0"
        for image in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
