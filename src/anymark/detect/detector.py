"""The detector: encode a head once, query it as often as you like."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout
from anymark.canonical.face_mesh import EYE_CORNERS, FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.detect.boxes import check_box, check_boxes, one_a_face
from anymark.detect.camera import Camera
from anymark.detect.dense import DenseMap, DenseNetwork
from anymark.detect.image import Photo, Source, open_photo
from anymark.detect.landmarker import Answer, Landmarker
from anymark.detect.landmarks import Landmarks
from anymark.detect.locate import SEARCH_PX, Box, Locator, roll_of
from anymark.detect.looks import LOOKS, Look, camera_of, crops_about, read
from anymark.detect.mesh import HeadMesh
from anymark.detect.model import Model
from anymark.detect.points import Points, as_layout
from anymark.detect.round_trip import Refiner
from anymark.detect.visibility import Surface
from anymark.detect.window import Crop, Window, apart, check_windows, cut
from anymark.errors import AnymarkError

FAR = 0.25
"""A crop that lies farther from its window, as `apart` says, is looked at again."""

PHOTO_LOOKS = 4
"""Looks at each head of a photo, if it is not said how many; docs/models.md has what each number brings."""

STRAYED = 0.12
"""A followed face whose window lies so far from the one that it was read in is looked for anew."""


@dataclass(frozen=True, eq=False)
class Head:
    """One encoded head of one photo; made by `Detector.encode`."""

    looks: tuple[Look, ...]
    """What the network made of it, as often as it was looked at."""
    camera: Camera
    """Pose and focal length, in pixels of the photo; the principal point is the crop's middle."""
    face: Answer
    """The points of the layout mediapipe478, which every head is judged by."""
    window: Window
    """The rough square that the head was looked for in, pixels of the photo."""
    crop: Crop
    """What the network saw, pixels of the photo; of several looks, what their crops lie about."""
    box_px: npt.NDArray[np.float64]
    """(4,) [x0, y0, x1, y1] the face that was found, pixels of the photo."""
    roll_rad: float
    """Roll of that face, positive = clockwise on screen; 0 in profile."""
    unsureness: float
    """The median sigma of the face's points over the longer side of its box. What is no head has more of it."""
    score: float
    """0..1, the locator's; 1 for boxes and windows of the caller's."""
    image_size_px: tuple[int, int]
    """(width, height) of the photo, upright."""
    landmarker: Landmarker
    refiner: Refiner | None = None
    """What a dense model says of this head, if one was asked; see `Detector`."""

    def __repr__(self) -> str:
        return f"Head(box_px={self.box_px.round(1).tolist()}, score={self.score:.2f})"

    @cached_property
    def vertices_mm(self) -> npt.NDArray[np.float32]:
        """(V, 3) the vertices of `CanonicalHead` on this head, in its frame."""
        return self._read(as_layout("head")).xyz_mm

    @cached_property
    def _surface(self) -> Surface:
        return Surface(lambda: self.vertices_mm, self.camera, self.landmarker.surface_trust)

    def next_window(self) -> Window:
        """The window about the face that was found: where to look in the next frame of a video."""
        return Window.from_box(self.box_px, self.landmarker.window_scale, self.roll_rad)

    def mesh(self) -> HeadMesh:
        """The whole head in 3D, with its camera.

        Raises:
            AnymarkError: an answer of the network is not finite.
        """
        return HeadMesh(self.vertices_mm, self.camera, self.image_size_px)

    def query(self, points: Points) -> Landmarks:
        """Where these points are; any layout, any number of times.

        Raises:
            AnymarkError: no such layout, points that are not (N, 3) finite numbers, or an answer that is not finite.
        """
        layout = as_layout(points).seen_from(self.camera.seen_from)
        known = layout is as_layout(FACE_MESH_LAYOUT)
        found = self.face if known else self._read(layout)
        landmarks = Landmarks(
            layout=layout,
            xy_px=self.crop.to_image(found.xy),
            sigma_px=found.sigma * np.float32(self.crop.side_px / 2),
            xyz_mm=found.xyz_mm,
            uncovered=found.uncovered,
            box_px=self.box_px,
            window=self.window,
            crop=self.crop,
            camera=self.camera,
            score=self.score,
            surface=self._surface,
        )
        return landmarks if self.refiner is None else self.refiner(landmarks, found.canonical_mm)

    def _read(self, layout: Layout) -> Answer:
        return read(self.landmarker, self.looks, self.camera, self.crop, layout)


class Detector:
    """Finds heads in photos and any point on them.

    Models are loaded at first use, and verified by their SHA-256; `load` does it at once.

    Args:
        model: A landmark model of the package by name, or a model's folder.
        locator: A locator of the package by name, or a model's folder; not needed where boxes or windows are given.
        providers: onnxruntime's execution providers, best first; None is the CPU.
        threads: Threads of each network; None is all cores.
        search_px: Longest side at which photos are searched for their smallest faces, coarser levels included; photos
            that are smaller, at their own size. A face is found if it is at least about 20 px wide there: at 960, a
            fiftieth of the photo's longest side. Time and memory grow with the square; 4096, the most, takes 0.8 GB.
        most_unsure: A located box is no head if its `Head.unsureness` is above this. None takes the number of the
            landmark model's card; infinity keeps every box. Heads in boxes and windows of the caller's are always kept.
        refine: A dense model of the package by name, or a model's folder, that has a say in where points are and
            whether they are seen; see `anymark.detect.round_trip`. None: the landmark model alone.
        looks: How often each head is looked at: 1, 2, 4 or 8 times, half of them mirrored, from 4 on in crops a little
            apart; see `anymark.detect.looks`. More are steadier, and take as many times the encoder. None: four times,
            and once where it is followed.

    Raises:
        AnymarkError: a number out of its range; at first use, no such model or provider.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "small",
        locator: str | os.PathLike[str] = "locator",
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        search_px: int = SEARCH_PX,
        most_unsure: float | None = None,
        refine: str | os.PathLike[str] | None = None,
        looks: int | None = None,
    ) -> None:
        if looks is not None and (type(looks) is not int or looks not in LOOKS):
            raise AnymarkError(f"looks must be {', '.join(map(str, LOOKS[:-1]))} or {LOOKS[-1]}, not {looks!r}")
        if most_unsure is not None and not most_unsure > 0:
            raise AnymarkError(f"most_unsure must be above 0, not {most_unsure}")
        self._names = (model, locator)
        self._options = (providers, threads)
        self._search_px = search_px
        self._most_unsure = most_unsure
        self._refine = refine
        self._looks = looks

    @cached_property
    def landmarker(self) -> Landmarker:
        """The landmark model."""
        return Landmarker(Model(self._names[0], "landmarks", *self._options))

    @cached_property
    def locator(self) -> Locator:
        """The locator model."""
        return Locator(Model(self._names[1], "locator", *self._options), self._search_px)

    @cached_property
    def dense(self) -> DenseNetwork | None:
        """The dense model that refines, if there is one."""
        return None if self._refine is None else DenseNetwork(Model(self._refine, "dense", *self._options))

    def load(self) -> None:
        """Load and verify the models now."""
        self.landmarker.load()
        self.locator.load()
        if self.dense is not None:
            self.dense.load()

    def encode(self, image: Source, windows: Sequence[Window] | None = None) -> list[Head]:
        """The heads of one photo, to be queried.

        Args:
            image: A file, a Pillow image or an array; see `open_photo`.
            windows: Roughly where the heads are, in pixels of the photo, when you know: their order is kept. None
                searches the photo, largest head first.

        Raises:
            AnymarkError: a bad photo, window or model.
        """
        photo = open_photo(image)
        if windows is None:
            return self._located(photo, None)
        heads = self._encode(photo, check_windows(windows), [1.0] * len(windows), self._looks or PHOTO_LOOKS)
        return self._with_refiners(photo, heads)

    def follow(self, image: Source, windows: Sequence[Window]) -> list[Head]:
        """The heads of the next frame of a video, in the windows' order, for less than `encode` costs.

        Args:
            image: A file, a Pillow image or an array; see `open_photo`.
            windows: Where `Head.next_window` of the frame before, moved as the head may have, says that they are. They
                are read as they are, without the network that chooses crops. Heads that have strayed from the middle,
                or that are unsure, are looked for as `encode` does.

        Raises:
            AnymarkError: a bad photo, window or model.
        """
        photo, windows, looks = open_photo(image), check_windows(windows), self._looks or 1
        crops = [Crop(window.affine()) for window in windows]
        heads = self._read(photo, windows, [1.0] * len(windows), crops, looks)
        most = self.landmarker.most_unsure
        lost = [
            i
            for i, head in enumerate(heads)
            if head.unsureness > most or apart(head.next_window(), head.window) > STRAYED
        ]
        again = self._encode(photo, [windows[i] for i in lost], [1.0] * len(lost), looks)
        for i, head in zip(lost, again, strict=True):
            heads[i] = min(heads[i], head, key=lambda each: each.unsureness)
        return self._with_refiners(photo, heads)

    def detect(
        self,
        image: Source,
        layout: Points = "ibug68",
        boxes: npt.ArrayLike | None = None,
        max_heads: int | None = None,
    ) -> list[Landmarks]:
        """The landmarks of every head of one photo, largest first; an empty list where there is none.

        Args:
            image: A file, a Pillow image or an array; see `open_photo`.
            layout: What to look for.
            boxes: (M, 4) faces [x0, y0, x1, y1] in pixels, when you know them, roughly: their order is kept.
            max_heads: The first so many only.

        Raises:
            AnymarkError: a bad photo, layout, box or model.
        """
        _check_max_heads(max_heads)
        asked, photo = as_layout(layout), open_photo(image)
        if boxes is None:
            heads = self._located(photo, max_heads)
        else:
            given = [Box(box, 1.0, 0.0) for box in check_boxes(boxes)]
            heads = self._with_refiners(photo, self._heads_in(photo, given[:max_heads]))
        return [head.query(asked) for head in heads]

    def detect_batch(
        self, images: Iterable[Source], layout: Points = "ibug68", max_heads: int | None = None
    ) -> list[list[Landmarks] | AnymarkError]:
        """`detect` for many photos: one list of heads a photo, in the order given.

        A bad photo does not stop the others: the AnymarkError that says why stands in its place, told by `isinstance`;
        so it does where an answer of the networks is not finite. Photos are opened one after another and let go once
        they are done, so `images` may be a generator.

        Raises:
            AnymarkError: nothing can be done at all: a bad layout, max_heads or model.
        """
        _check_max_heads(max_heads)
        asked = as_layout(layout)
        self.load()
        self.landmarker.data_set_code(asked)  # is it one of this model's?
        results: list[list[Landmarks] | AnymarkError] = []
        for image in images:
            try:
                results.append(self.detect(image, asked, max_heads=max_heads))
            except AnymarkError as error:
                results.append(AnymarkError(str(error)))  # a new one: what was raised keeps the pixels in its traceback
        return results

    def _located(self, photo: Photo, max_heads: int | None) -> list[Head]:
        """The heads of a photo, largest first, without what the landmark model does not recognise as one."""
        most = self.landmarker.most_unsure if self._most_unsure is None else self._most_unsure
        heads = [head for head in self._heads_in(photo, self.locator.locate(photo)) if head.unsureness <= most]
        # two boxes of the locator may have led to one face
        boxes = np.array([head.box_px for head in heads]).reshape(-1, 4)
        kept = one_a_face(boxes, np.array([head.score for head in heads]))
        return self._with_refiners(photo, [heads[i] for i in kept][:max_heads])

    def _with_refiners(self, photo: Photo, heads: list[Head]) -> list[Head]:
        """The heads with what the dense model says of them."""
        if self.dense is None or not heads:
            return heads
        maps = zip(heads, dense_maps(self.dense, photo, heads), strict=True)
        return [replace(head, refiner=Refiner(found, self.dense.round_trip)) for head, found in maps]

    def _heads_in(self, photo: Photo, boxes: Sequence[Box]) -> list[Head]:
        """The head of each box. It may lie on its side or upside down, which locators tell badly: where a head is
        unsure, the surest of four quarter turns."""
        heads = self._look(photo, boxes)
        for i, (box, head) in enumerate(zip(boxes, heads, strict=True)):
            if head.unsureness > self.landmarker.most_unsure:
                turned = [replace(box, roll_rad=box.roll_rad + k * math.pi / 2) for k in (1, 2, 3)]
                heads[i] = min([head, *self._look(photo, turned)], key=lambda each: each.unsureness)
        return heads

    def _look(self, photo: Photo, boxes: Sequence[Box]) -> list[Head]:
        windows = [Window.from_box(box.box_px, self.landmarker.window_scale, box.roll_rad) for box in boxes]
        return self._encode(photo, windows, [box.score for box in boxes], self._looks or PHOTO_LOOKS)

    def _encode(self, photo: Photo, windows: Sequence[Window], scores: Sequence[float], looks: int) -> list[Head]:
        """The head of each window, in their order. One whose crop lies far from its window is read once more, through
        the window about its face, and the surer answer stays: S is at its best near where it starts."""
        heads = self._read(photo, windows, scores, self._crops(photo, windows), looks)
        far = [i for i, head in enumerate(heads) if apart(head.crop, head.window) > FAR]
        about = [heads[i].next_window() for i in far]
        again = self._read(photo, about, [scores[i] for i in far], self._crops(photo, about), looks)
        for i, head in zip(far, again, strict=True):
            heads[i] = min(heads[i], replace(head, window=windows[i]), key=lambda each: each.unsureness)
        return heads

    def _read(
        self, photo: Photo, windows: Sequence[Window], scores: Sequence[float], crops: Sequence[Crop], looks: int
    ) -> list[Head]:
        """The head of each window, looked at so often about its crop."""
        if not windows:
            return []
        about = [crops_about(crop, looks) for crop in crops]
        pictures = cut(photo, [crop for each in about for crop in each], self.landmarker.input_size)
        sides = [pictures] if looks == 1 else [pictures, pictures[:, :, ::-1]]
        found = [zip(*self.landmarker.encode(side), strict=True) for side in sides]
        heads = []
        for window, score, crop, each in zip(windows, scores, crops, about, strict=True):
            seen = tuple(Look(*next(side), part, i == 1) for i, side in enumerate(found) for part in each)
            heads.append(self._head(photo, seen, window, crop, score))
        return heads

    def _crops(self, photo: Photo, windows: Sequence[Window]) -> list[Crop]:
        """What the first network chooses to see of each window; of models that have none, the windows themselves."""
        if self.landmarker.crop_size is None or not windows:
            return [Crop(window.affine()) for window in windows]
        thetas = self.landmarker.crops(cut(photo, windows, self.landmarker.crop_size))
        return [Crop.inside(window, theta) for window, theta in zip(windows, thetas, strict=True)]

    def _head(
        self,
        photo: Photo,
        looks: tuple[Look, ...],
        window: Window,
        crop: Crop,
        score: float,
    ) -> Head:
        camera = camera_of(looks, crop)
        face = read(self.landmarker, looks, camera, crop, as_layout(FACE_MESH_LAYOUT))
        box, roll = face_box(crop.to_image(face.xy).astype(np.float64))
        sigma = float(np.median(face.sigma[:FACE_MESH_POINTS])) * crop.side_px / 2
        unsureness = sigma / float((box[2:] - box[:2]).max())
        size = photo.full_size_px
        return Head(looks, camera, face, window, crop, box, roll, unsureness, score, size, self.landmarker)


def dense_maps(network: DenseNetwork, photo: Photo, heads: Sequence[Head]) -> list[DenseMap]:
    """A dense model's map of each encoded head of a photo.

    Raises:
        AnymarkError: an answer of the network is not finite.
    """
    windows = [network.window_of(head.box_px, head.roll_rad) for head in heads]
    return network.maps(photo, windows, [head.mesh() if network.reads_prior else None for head in heads])


def face_box(points_px: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
    """The box (4,), as the face would lie in it upright, and the roll of the face whose mediapipe478 (478, 2) these
    are: what `Window.from_box` makes a window of.

    Raises:
        AnymarkError: the points have no extent, or are not finite.
    """
    face, eyes = points_px[:FACE_MESH_POINTS], points_px[np.array(EYE_CORNERS)].mean(1)
    roll = roll_of(np.concatenate([check_box([*face.min(0), *face.max(0)]), *eyes]))
    # the box of the face as it lies upright in its window, about the same centre: the window is turned, not the box
    cos, sin = math.cos(roll), math.sin(roll)
    turn = np.array([[cos, -sin], [sin, cos]])
    upright = face @ turn
    low, high = upright.min(0), upright.max(0)
    centre, half = turn @ (low + high) / 2, (high - low) / 2
    return np.concatenate([centre - half, centre + half]), roll


def _check_max_heads(max_heads: int | None) -> None:
    if max_heads is not None and max_heads < 1:
        raise AnymarkError(f"max_heads must be at least 1, not {max_heads}")
