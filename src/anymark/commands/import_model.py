"""`anymark import`: the DenseMarks authors' weights -> a dense model that run time loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.detect import expand
from anymark.commands.said import complain, say
from anymark.errors import AnymarkError


@dataclass(kw_only=True)
class ImportModel:
    """Make the published weights of DenseMarks a dense model: --dense takes it.

    They are not ours, and are not for commercial use: CC-BY-NC-4.0, and the DINOv3 License of their backbone. Their
    cube is aligned with the canonical one on photos of yours.
    """

    weights: Positional[Annotated[Path, arg(metavar="model.safetensors")]]
    """The authors' file."""
    out: Positional[Annotated[Path, arg(metavar="OUT")]]
    """The model folder to write; a model that is there is replaced whole, anything else is left alone."""
    photos: Annotated[tuple[str, ...], arg(metavar="FILES...")]
    """Photos of heads, ten or more, to align the cubes on: files, folders and globs."""
    accept_licence: bool = False
    """I accept the licences of these weights."""
    name: Annotated[str | None, arg(metavar="NAME")] = None
    """Name on the card; the folder's by default."""

    def run(self) -> int:
        """Import, and print the model folder. Returns the exit code.

        Raises:
            AnymarkError: the licences are not accepted, or the weights or photos are something else.
        """
        from anymark.detect.detector import Detector
        from anymark.detect.image import load_image
        from anymark.learn.densemarks import LICENCE, import_densemarks

        if not self.accept_licence:
            raise AnymarkError(f"these weights are under {LICENCE}; if you accept that, give --accept-licence")
        paths, problems = expand(self.photos)
        for problem in problems:
            complain(problem)
        photos = [load_image(path) for path in paths]
        name = self.name or self.out.resolve().name
        out, left_mm = import_densemarks(self.weights, self.out, name, photos, Detector())
        say(f"{out}: cubes aligned to {left_mm:.1f} mm")
        return 0
