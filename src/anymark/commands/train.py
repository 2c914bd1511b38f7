"""`anymark train`: learn a model from a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from anymark.commands.said import complain
from anymark.errors import AnymarkError


@dataclass(frozen=True)
class Train:
    """Train a model from a recipe, or go on with a run where it stopped.

    Ctrl-C and SIGTERM save and stop; the same command goes on from there.
    """

    recipe: Positional[Annotated[Path, arg(metavar="RECIPE")]]
    """A recipe, for example recipes/small.toml."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder of the run; runs/NAME for recipes/NAME.toml by default."""
    photos: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder of photo sets; ../shared/photos by default, or `photos` beside $ANYMARK_ASSETS."""
    cache: Annotated[Path, arg(metavar="DIR")] = Path("runs/cache")
    """Folder where decoded photos are kept between runs."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: Annotated[int | None, arg(metavar="N")] = None
    """Processes, each on a GPU of its own or on the CPU: all GPUs, or one on the CPU, by default. Each draws its own
    batch, so a step sees as many."""
    limit: Annotated[int | None, arg(metavar="N")] = None
    """At most so many photos of each source, to try a recipe out."""

    def run(self) -> int:
        """Train, and print the last held-out metrics. Returns the exit code: 130 for a run that was stopped."""
        from anymark.files import shared_folder
        from anymark.learn.train.loop import Stopped, fit
        from anymark.learn.train.recipe import MarkerRecipe, load_recipe
        from anymark.learn.train.tasks import build_task

        if self.limit is not None and self.limit < 1:
            raise AnymarkError(f"--limit {self.limit}: must be at least 1")
        recipe = load_recipe(self.recipe)
        # marker models need none of our photos
        alone = isinstance(recipe, MarkerRecipe) and self.photos is None
        photos = Path() if alone else shared_folder(self.photos, "photos", "--photos DIR")
        task = build_task(recipe, photos, self.cache, self.limit, self.recipe.parent)
        out = self.out or Path("runs") / self.recipe.stem
        try:
            metrics = fit(
                task,
                recipe.train,
                out,
                self.recipe.read_text("utf-8"),
                recipe_folder=self.recipe.parent,
                accelerator=self.accelerator,
                devices=self.devices,
            )
        except Stopped as stopped:
            complain(str(stopped))
            return 130
        for name, value in metrics.items():
            print(f"{name}: {value:.4g}")
        return 0
