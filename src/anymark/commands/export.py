"""`anymark export`: weights of a run -> a folder that run time loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class Export:
    """Write the .onnx files and the card.json of a run, checked against torch on held-out photos.

    A run that is still going can be exported: its last checkpoint's average is taken.
    """

    run_folder: Positional[Annotated[Path, arg(metavar="RUN")]]
    """A folder made by `anymark train`."""
    out: Positional[Annotated[Path, arg(metavar="OUT")]]
    """The model folder to write; a model that is there is replaced whole, anything else is left alone."""
    name: Annotated[str | None, arg(metavar="NAME")] = None
    """Name on the card; the folder's by default."""
    photos: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder of photo sets; ../shared/photos by default, or `photos` beside $ANYMARK_ASSETS."""
    cache: Annotated[Path, arg(metavar="DIR")] = Path("runs/cache")
    """Folder where decoded photos are kept between runs."""

    def run(self) -> int:
        """Export, and print the model folder. Returns the exit code."""
        from anymark.files import shared_folder
        from anymark.learn.train.loop import RECIPE
        from anymark.learn.train.recipe import MarkerRecipe, load_recipe
        from anymark.learn.train.tasks import check_run, export_run

        recipe = self.run_folder / RECIPE
        check_run(self.run_folder)
        alone = self.photos is None and recipe.exists() and isinstance(load_recipe(recipe), MarkerRecipe)
        photos = Path() if alone else shared_folder(self.photos, "photos", "--photos DIR")
        out = export_run(self.run_folder, self.out, self.name or self.out.resolve().name, photos, self.cache)
        size = sum(p.stat().st_size for p in out.iterdir()) / 1e6
        print(f"{out}: {size:.1f} MB")
        return 0
