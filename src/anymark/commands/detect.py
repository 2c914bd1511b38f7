"""`anymark detect`: find, draw and write the points of every head in photos."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, UseAppendAction, arg

from anymark.canonical import Layout
from anymark.commands.asked import asked_layout
from anymark.commands.models import detector_of, only_template
from anymark.commands.said import complain, say
from anymark.detect.camera import Camera
from anymark.detect.dense import DENSE
from anymark.detect.detector import Detector, Head
from anymark.detect.draw import draw
from anymark.detect.files import MARK, output_names, photos
from anymark.detect.image import open_photo
from anymark.detect.landmarks import Landmarks
from anymark.detect.locate import SEARCH_PX
from anymark.detect.markers import MarkerDetector
from anymark.detect.mesh import check_mesh_path
from anymark.detect.model import kind_of
from anymark.detect.write import Found, csv_file, json_file, write_found, write_image
from anymark.errors import AnymarkError
from anymark.files import check_targets, check_writable, make_folder
from anymark.signals import stopped_by_sigterm

DEFAULT_OUT = Path("anymark-out")

_JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")


@dataclass
class Detect:
    """Find the points of every head in photos.

    Draws them, writes them as JSON and prints a line a face. A bad file is named on stderr, the others are still done,
    and the exit code is 2. Ctrl-C and SIGTERM stop it: what was done is written, and the exit code is 130.
    """

    files: Positional[Annotated[tuple[str, ...], arg(metavar="FILES...", help_behavior_hint="(one or more)")]]
    """Photos, folders (their images) and globs."""
    layout: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """Points to look for; ibug68 unless --point is given."""
    point: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="X,Y,Z")]] = ()
    """A single point, in millimetres of the head frame (+x = the subject's left, +y up, +z out of the face); it is
    added to the layout, if there is one."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder for a drawing and a JSON file of each photo; anymark-out unless --json, --csv or --mesh is given. Photos
    above 64 megapixels are drawn at a half, a quarter or an eighth of their size."""
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """One JSON file of all photos."""
    csv: Annotated[Path | None, arg(metavar="FILE")] = None
    """One CSV file of all photos, a row a point."""
    mesh: Annotated[Path | None, arg(metavar="FILE")] = None
    """The whole head in 3D, an .obj, .glb or .ply file; of several heads FILE.head1.obj and so on, of several photos
    FILE-PHOTO.obj."""
    refine: bool = False
    """Let the dense model have a say in where points are and whether they are seen, which is slower; see docs/models.md
    for what it brings."""
    looks: Annotated[int | None, arg(metavar="N")] = None
    """How often each head is looked at: 1, 2, 4 or 8 times. More are steadier, and slower; 4 unless given."""
    pose: bool = False
    """Print the yaw, pitch and roll of each head in degrees, and its focal length in pixels."""
    max_heads: Annotated[int | None, arg(metavar="N")] = None
    """The largest N heads of each photo only."""
    search_px: Annotated[int, arg(metavar="N")] = SEARCH_PX
    """Longest side at which a photo is searched for its smallest faces; they must be about 20 px wide there. More finds
    smaller ones, in more time and memory; at most 4096."""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "small"
    """Landmark model, or a marker model's folder, whose template is then the layout."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def run(self) -> int:
        """Do it; returns the exit code: 0, 2 where a file was bad, 130 where the user stopped it.

        Raises:
            AnymarkError: nothing can be done at all: a bad layout, model or place to write to.
        """
        with stopped_by_sigterm():
            return self._run()

    def _run(self) -> int:
        if not self.files:
            raise AnymarkError("no photos given: anymark detect FILES...")
        if self.max_heads is not None and self.max_heads < 1:
            raise AnymarkError(f"--max-heads {self.max_heads}: must be at least 1")
        if self.mesh is not None:
            check_mesh_path(self.mesh)
        layout = None if kind_of(self.model) == "markers" else asked_layout(self.layout, self.point)
        paths, problems = expand(self.files)
        out = self.out or (None if self.json or self.csv or self.mesh else DEFAULT_OUT)
        names = output_names(paths)
        targets = [targets_of(path, out / name) if out else () for path, name in zip(paths, names, strict=True)]
        meshes = [self._mesh_of(name if len(paths) > 1 else None) for name in names]
        read = [*paths, *([Path(self.layout)] if self.layout and Path(self.layout).suffix else [])]
        check_targets(filter(None, (self.json, self.csv, *chain(*targets), *meshes)), read)
        refine = DENSE if self.refine else None
        detector = detector_of(self.model, self.locator, search_px=self.search_px, refine=refine, looks=self.looks)
        if isinstance(detector, MarkerDetector):
            layout = only_template(detector, layout=self.layout, point=self.point, mesh=self.mesh, pose=self.pose)
        assert layout is not None
        for problem in problems:
            complain(problem)
        if paths and out is not None:
            make_folder(out)
        if self.mesh is not None:
            check_writable([self.mesh])
        failed, interrupted = len(problems), False
        with ExitStack() as stack:
            sinks: list[Callable[[Found], None]] = []
            if self.json:
                sinks.append(stack.enter_context(json_file(self.json, layout)))
            if self.csv:
                sinks.append(stack.enter_context(csv_file(self.csv)))
            try:
                for index, (path, target, mesh) in enumerate(zip(paths, targets, meshes, strict=True)):
                    show_progress(index, len(paths))
                    try:
                        self._one(detector, layout, path, target, mesh, sinks)
                    except AnymarkError as error:
                        failed += 1
                        complain(error)
            except KeyboardInterrupt:  # leaves the block in order, so what was done is written
                interrupted = True
                complain("stopped; what was done is written")
        show_progress(len(paths), len(paths))
        return 130 if interrupted else 2 if failed else 0

    def _mesh_of(self, name: str | None) -> Path | None:
        """Where the mesh of a photo's only head goes, if one is wanted; with its name of `output_names` if there are
        other photos."""
        if self.mesh is None or name is None:
            return self.mesh
        return self.mesh.with_stem(f"{self.mesh.stem}-{name.removesuffix(MARK)}")

    def _one(
        self,
        detector: Detector | MarkerDetector,
        layout: Layout,
        path: Path,
        targets: Sequence[Path],
        mesh: Path | None,
        sinks: Sequence[Callable[[Found], None]],
    ) -> None:
        """One photo; `targets` as of `targets_of`, or empty where neither is wanted.

        Raises:
            AnymarkError: a bad photo, or an answer of the networks that is not finite: nothing is written of it.
        """
        photo = open_photo(path)
        name = os.fsencode(path).decode("utf-8", "replace")  # a name may hold bytes that no file or terminal takes
        try:
            heads = detector.encode(photo)[: self.max_heads]
            faces = [head.query(layout) for head in heads]
        except AnymarkError as error:
            raise AnymarkError(f"{name}: {error}") from None
        found = Found(name, photo.full_size_px, layout, faces)
        for sink in sinks:
            sink(found)
        if targets:
            drawing, json = targets
            write_image(drawing, draw(photo, faces))
            write_found(json, found)
        if mesh is not None:
            for number, head in enumerate(heads, 1):
                assert isinstance(head, Head)
                head.mesh().save(mesh if len(heads) == 1 else mesh.with_stem(f"{mesh.stem}.head{number}"))
        for line in lines(name, faces, self.pose):
            _say(line)


def lines(name: str, faces: Sequence[Landmarks], pose: bool = False) -> list[str]:
    """What is printed about a photo: a line a face, with its pose and focal length where they are wanted."""
    if not faces:
        return [f"{name}  no face"]
    return [
        f"{name}  face {number}/{len(faces)}  score {face.score:.2f}"
        f"  box {','.join(str(round(float(value))) for value in face.box_px)}"
        f"  {len(face)} point{'s' * (len(face) != 1)}  sigma {float(np.median(face.sigma_px)):.1f} px"
        + (f"  {_pose(face.camera)}" if pose else "")
        for number, face in enumerate(faces, 1)
    ]


def _pose(camera: Camera) -> str:
    yaw, pitch, roll = camera.yaw_pitch_roll_deg
    return f"yaw {yaw:.1f}  pitch {pitch:.1f}  roll {roll:.1f}  focal {camera.focal_px:.0f} px"


def expand(names: Sequence[str]) -> tuple[list[Path], list[AnymarkError]]:
    found: dict[Path, None] = {}  # in order, each once
    problems: list[AnymarkError] = []
    for name in names:
        try:
            found.update(dict.fromkeys(photos(name)))
        except AnymarkError as error:
            problems.append(error)
    return list(found), problems


def targets_of(photo: Path, stem: Path) -> tuple[Path, Path]:
    """Where the drawing and the JSON of a photo go."""
    suffix = ".jpg" if photo.suffix.lower() in _JPEG_SUFFIXES else ".png"
    return stem.with_name(stem.name + suffix), stem.with_name(stem.name + ".json")


def _say(line: str) -> None:
    try:
        say(line)
    except BrokenPipeError:  # whoever read us has gone (`| head`), but the files are still to be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_progress(done: int, total: int) -> None:
    """A line on the terminal that the next print writes over; nothing for single photos, pipes and logs."""
    if total > 1 and sys.stderr.isatty():
        text = f"{done}/{total}" if done < total else ""
        print(f"\r{text}\x1b[K", end="\r", file=sys.stderr, flush=True)
