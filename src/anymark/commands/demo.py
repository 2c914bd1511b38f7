"""`anymark demo`: detect on a photo that everyone has."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.detect import DEFAULT_OUT, Detect, targets_of
from anymark.detect.files import output_names
from anymark.errors import AnymarkError


@dataclass
class Demo:
    """Find the points of a head in scikit-image's astronaut (a public-domain NASA portrait) or in your own photo."""

    file: Positional[Annotated[str | None, arg(metavar="[FILE]", help_behavior_hint="")]] = None
    """Your photo; the astronaut by default."""
    layout: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """Points to look for; ibug68 by default."""
    out: Annotated[Path, arg(metavar="DIR")] = DEFAULT_OUT
    """Folder for the drawing and its JSON file."""

    def run(self) -> int:
        """As `Detect.run`; says where the drawing is, too."""
        photo = Path(self.file or astronaut())
        code = Detect(files=(str(photo),), layout=self.layout, out=self.out).run()
        (stem,) = output_names([photo])
        drawing, _ = targets_of(photo, self.out / stem)
        if code == 0 and drawing.is_file():
            print(f"drawing: {drawing}")
        return code


def astronaut() -> Path:
    """The photo inside the installed scikit-image, found without importing it, which would take a second.

    Raises:
        AnymarkError: scikit-image is not installed.
    """
    spec = find_spec("skimage")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / "astronaut.png"
        if path.is_file():
            return path
    raise AnymarkError("the demo's photo comes with scikit-image: pip install 'anymark[demo]'")
