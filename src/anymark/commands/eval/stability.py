"""`anymark eval stability`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.detect.files import photos
from anymark.detect.image import load_image
from anymark.errors import AnymarkError
from anymark.evaluate.contestants import Rival, contestants, version_of
from anymark.evaluate.photo_sets import read_photos
from anymark.evaluate.stability import Still, stability, stability_details
from anymark.files import shared_folder
from anymark.spread import spread

MODES = {"each picture by itself": False, "followed from picture to picture": True}


@dataclass(kw_only=True)
class Stability(Measurement):
    """How much 468 points of the face move in photos that are shifted by parts of a pixel, noisy or compressed."""

    images: Positional[Annotated[tuple[str, ...], arg(metavar="IMAGES...", help_behavior_hint="")]] = ()
    """Photos, folders and globs; anymark's own held-out photos by default. The face in a photo's middle counts."""
    against: Rival | None = None
    """Measure another one on the very same pictures: mediapipe is its Face Mesh (anymark[teacher])."""
    draws: Annotated[int, arg(metavar="K")] = 8
    """Pictures of each photo for each perturbation."""
    seed: int = 0
    """Of the perturbations."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.stability`."""
        if self.draws < 2:
            raise AnymarkError(f"--draws {self.draws}: must be at least 2")
        if self.seed < 0:
            raise AnymarkError(f"--seed {self.seed}: must not be negative")
        detector = self.detector(self.locator)
        detector.locator.load()
        stills = self._stills()
        modes = {name: contestants(detector, self.against, follows) for name, follows in MODES.items()}
        measured, notes = stability(detector, modes, stills, self.draws, self.seed, show_progress)
        details = stability_details(measured, ["anymark"] if self.against is None else ["anymark", self.against])
        return Measured(
            what=f"stability, {len(measured)} photos, {self.draws} draws",
            details=details,
            last_line=_last_line(details[0].rows["all"], self.against),
            further={
                "against": version_of(self.against),
                "draws": self.draws,
                "seed": self.seed,
                "photos": [asdict(photo) for photo in measured],
            },
            left_out=tuple(notes),
        )

    def _stills(self) -> Sequence[Still]:
        if self.images:
            found = dict.fromkeys(path for name in self.images for path in photos(name))
            stills = [Still(str(path), partial(load_image, path)) for path in found]
        else:
            root = shared_folder(None, "photos", "IMAGES, or $ANYMARK_ASSETS")
            stills = [Still(face.name, face.load) for face in read_photos(root, "held-out").faces]
        return [stills[i] for i in spread(len(stills), self.limit or len(stills))]


def _last_line(everything: Mapping[str, float], against: str | None) -> str:
    said = f"spread {100 * everything['anymark']:.3f} % of the eyes' distance"
    if against is not None:
        said += f", {everything[f'anymark / {against}']:.2f} times that of {against}"
    return f"{said} (n={everything['n']})"
