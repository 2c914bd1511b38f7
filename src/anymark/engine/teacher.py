"""Teachers: who says where the 478 points of a face are. MediaPipe's Face Mesh, or the user's own .task file.

What they answer keeps to `docs/conventions.md`: MediaPipe's normalised coordinates times the picture's size are pixel
indices, so half a pixel is added here. Its Face Mesh also shifts all points by 0.33 pixels of the 192 that it sees a
face on, to the right (measured from mirrored pictures) and, assumed, down. Both are taken out here.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from anymark.canonical.face_mesh import FACE_MESH_POINTS, OUTER_EYES
from anymark.errors import AnymarkError

POINTS = 478
"""Of mediapipe478."""

Array = npt.NDArray[np.float64]

_MOST_FACES = 4  # of a picture, of which the one in its middle is meant
_LEAST_SCORE = 0.3  # of MediaPipe's own face detector; MediaPipe says 0.5, but here a face has been found already
_WINDOW = 1.5  # Face Mesh looks at a square of so many sides of the face's box, turned upright
_SHIFT = _WINDOW * 0.33 / 192
_BLACK = np.zeros((64, 64, 3), np.uint8)


@runtime_checkable
class Teacher(Protocol):
    """Knows the points of the face in the middle of a picture."""

    @property
    def name(self) -> str:
        """Tells teachers apart that answer differently."""
        ...

    def points(self, rgb: npt.NDArray[np.uint8]) -> Array | None:
        """The points of mediapipe478 (478, 3) in a picture (H, W, 3), or None where there is no face.

        In pixels, (0, 0) is the outer corner of the top-left one; z is relative depth, smaller is nearer.
        """
        ...


def load_teacher(task: Path | None = None) -> Teacher:
    """MediaPipe's Face Mesh, or the face landmarker of a .task file.

    Raises:
        AnymarkError: mediapipe, or what is needed of it, is not installed, or the file is not what it should be.
    """
    return FaceMesh() if task is None else FaceLandmarker(task)


class FaceMesh:
    """MediaPipe's Face Mesh with refined eyes and lips; the package carries the model.

    Args:
        follows: Pictures are the frames of a video: a face is looked for where the frame before had it.
        most_faces: Of a picture.

    Raises:
        AnymarkError: mediapipe is not installed, or one without Face Mesh.
    """

    def __init__(self, follows: bool = False, most_faces: int = _MOST_FACES) -> None:
        mediapipe = _mediapipe("pip install 'anymark[teacher]'")
        if not hasattr(mediapipe, "solutions"):
            raise AnymarkError(
                f"Face Mesh needs mediapipe 0.10.14, not {mediapipe.__version__}, which has no Face Mesh of its own: "
                "pip install 'anymark[teacher]', or give data label --task FILE"
            )
        self.name = f"mediapipe {mediapipe.__version__} Face Mesh"
        with _quiet():
            self._mesh = mediapipe.solutions.face_mesh.FaceMesh(
                static_image_mode=not follows,
                max_num_faces=most_faces,
                refine_landmarks=True,
                min_detection_confidence=_LEAST_SCORE,
            )
            self.points(_BLACK)  # it starts, and says so, at its first picture

    def points(self, rgb: npt.NDArray[np.uint8]) -> Array | None:
        """As `Teacher.points`."""
        return _middle_face(self.faces(rgb), rgb)

    def faces(self, rgb: npt.NDArray[np.uint8]) -> list[Array]:
        """The points of all faces in a picture, as `Teacher.points`."""
        return [_unshifted(_in_pixels(face.landmark, rgb)) for face in self.look(rgb)]

    def look(self, rgb: npt.NDArray[np.uint8]) -> Sequence[Any]:
        """All faces in a picture, in MediaPipe's own words."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what protobuf deprecates
            return self._mesh.process(rgb).multi_face_landmarks or ()

    def forget(self) -> None:
        """What it follows: the next picture is the first one of another video."""
        with _quiet():
            self._mesh.reset()
            self.points(_BLACK)


class FaceLandmarker:
    """The user's own .task file, of MediaPipe's Tasks API. What it shifts is not known, so nothing is taken out.

    Raises:
        AnymarkError: mediapipe is not installed, or one without that API, or the file is not a face landmarker's.
    """

    def __init__(self, task: Path) -> None:
        try:
            digest = hashlib.sha256(task.read_bytes()).hexdigest()
        except OSError as error:
            raise AnymarkError(f"{task}: {(error.strerror or str(error)).lower()}") from None
        mediapipe = _mediapipe("pip install mediapipe")
        self.name = f"{task.name} {digest[:16]}"
        self._task, self._mediapipe = task, mediapipe
        with _quiet():
            try:
                vision = import_module("mediapipe.tasks.python.vision")
                tasks = import_module("mediapipe.tasks.python")
                make, options = vision.FaceLandmarker.create_from_options, vision.FaceLandmarkerOptions
            except (ImportError, AttributeError):
                raise AnymarkError(
                    f"--task needs the FaceLandmarker of mediapipe's Tasks API, which mediapipe "
                    f"{mediapipe.__version__} lacks here: pip install --upgrade mediapipe"
                ) from None
            try:
                self._landmarker = make(
                    options(
                        base_options=tasks.BaseOptions(model_asset_path=str(task)),
                        num_faces=_MOST_FACES,
                        min_face_detection_confidence=_LEAST_SCORE,
                    )
                )
            except (RuntimeError, ValueError) as error:
                raise _not_a_landmarker(task, error) from None
            self.points(_BLACK)  # it starts, and says so, at its first picture

    def points(self, rgb: npt.NDArray[np.uint8]) -> Array | None:
        """As `Teacher.points`."""
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=rgb)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = self._landmarker.detect(picture).face_landmarks
            except (RuntimeError, ValueError) as error:
                raise _not_a_landmarker(self._task, error) from None
        return _middle_face((_in_pixels(face, rgb) for face in found), rgb)


def _mediapipe(install: str) -> Any:
    needs = "Face Mesh" if "teacher" in install else "--task"
    try:
        with _quiet():
            return import_module("mediapipe")
    except ModuleNotFoundError as error:
        if error.name != "mediapipe":
            raise AnymarkError(f"{needs} needs {error.name}, which mediapipe needs: {install}") from None
    if "teacher" in install and sys.version_info >= (3, 13):
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise AnymarkError(
            f"Face Mesh needs mediapipe 0.10.14, which there is for Python up to 3.12, not {python}; "
            "data label takes a newer one with --task FILE"
        )
    raise AnymarkError(f"{needs} needs mediapipe: {install}")


def _not_a_landmarker(task: Path, error: Exception) -> AnymarkError:
    first = str(error).strip().partition("\n")[0]
    return AnymarkError(f"{task}: not the .task file of a face landmarker ({first[:200]})")


def _in_pixels(landmarks: Sequence[Any], rgb: npt.NDArray[np.uint8]) -> Array:
    """(478, 3) a face in our convention."""
    height, width = rgb.shape[:2]
    # z comes in the unit of x
    points = np.array([(p.x, p.y, p.z) for p in landmarks]) * (width, height, width) + (0.5, 0.5, 0.0)
    if points.shape != (POINTS, 3):
        raise AnymarkError(f"the teacher answers {len(points)} points, not the {POINTS} of mediapipe478")
    return points


def _middle_face(faces: Iterable[Array], rgb: npt.NDArray[np.uint8]) -> Array | None:
    """The face (478, 3) whose box lies nearest to the middle of the picture."""
    height, width = rgb.shape[:2]
    best, nearest = None, np.inf
    for points in faces:
        box = points[:FACE_MESH_POINTS, :2]
        distance = np.linalg.norm((box.min(0) + box.max(0)) / 2 - (width / 2, height / 2))
        if distance < nearest:
            best, nearest = points, distance
    return best


def _unshifted(points: Array) -> Array:
    """Takes out the shift of the Face Mesh, along the axes of the window that it saw the face in."""
    right, left = points[OUTER_EYES[0], :2], points[OUTER_EYES[1], :2]
    across = (left - right) / max(float(np.linalg.norm(left - right)), 1e-9)
    down = np.array([-across[1], across[0]])
    upright = points[:FACE_MESH_POINTS, :2] @ np.stack([across, down], 1)
    shifted = points.copy()
    shifted[:, :2] -= _SHIFT * np.ptp(upright, axis=0).max() * (across + down)
    return shifted


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings, and no C++ log on stderr, which MediaPipe writes to at whatever level; its errors are exceptions."""
    with warnings.catch_warnings(), open(os.devnull, "wb") as null:
        warnings.simplefilter("ignore")
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
