"""The published weights of DenseMarks (Pozdeev et al., ICLR 2026) as a dense model of ours, for users who accept their
licences: CC-BY-NC-4.0, and the DINOv3 License of its backbone.

None of it is shipped. Their cube has axes of its own: an affine map to the canonical one is found from what the query
model knows of some photos. Their model tells no mask: it says head everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from timm.models.eva import checkpoint_filter_fn
from torch import Tensor, nn

from anymark.canonical import load_layout
from anymark.canonical.frame import CUBE_SIDE_MM, mm_to_uvw
from anymark.detect.dense import DenseMap, Sampled
from anymark.detect.detector import Detector
from anymark.detect.image import open_photo
from anymark.detect.window import Crop, Window, cut
from anymark.errors import AnymarkError
from anymark.learn.export_dense import write_dense_model
from anymark.learn.models.embedder import Embedder, EmbedderConfig, Embedding
from anymark.learn.train.weights import read_weights

LICENCE = "CC-BY-NC-4.0 (DenseMarks) and DINOv3 License (backbone): no commercial use"
BACKBONE = "vit_base_patch16_dinov3_qkvb"
INPUT_SIZE = 512
WINDOW_SCALE = 2.0
LAYOUT = "ibug68"
"""Whose points tell how their cube lies in ours."""
LEAST_PHOTOS = 3
SPREAD_MM = 8.0
"""What their places are taken to be off by: their model does not say."""

_HEAD_LOGIT = 4.0
_NAMES = {
    "reassemble_stage.readout_projects.": "readout.",
    "reassemble_stage.layers.": "",
    "fusion_stage.layers.": "fusion.",
    "convs.": "convs.",
}


class Aligned(nn.Module):
    """An embedder whose cube is mapped to the canonical one.

    Args:
        affine: (3, 4) its cube -> ours.
    """

    affine: Tensor

    def __init__(self, embedder: Embedder, affine: Float[Tensor, "3 4"]) -> None:
        super().__init__()
        self.embedder = embedder
        self.register_buffer("affine", affine)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Embedding:
        """As the embedder's."""
        found = self.embedder(image)
        uvw = torch.einsum("ij,bjhw->bihw", self.affine[:, :3], found.uvw) + self.affine[:, 3].view(3, 1, 1)
        return found._replace(uvw=uvw.clamp(0, 1))


def load_densemarks(path: Path, config: EmbedderConfig | None = None) -> Embedder:
    """The authors' network with their weights.

    Args:
        path: their model.safetensors.
        config: of the backbone, where it is not the published one.

    Raises:
        AnymarkError: the file is missing or holds something else.
    """
    config = config or EmbedderConfig(BACKBONE, "dpt", INPUT_SIZE)
    model = Embedder(config)
    given = read_weights(path)
    try:
        own = {**_backbone(given, model), **_neck(given), **_last(given)}
        missing, unknown = model.load_state_dict(own, strict=False)
    except (RuntimeError, KeyError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise AnymarkError(f"{path}: not the weights of DenseMarks ({said})") from None
    left = [name for name in missing if not name.startswith("more.")]
    if left or unknown:
        raise AnymarkError(f"{path}: not the weights of DenseMarks (no {(left or unknown)[0]})")
    with torch.no_grad():
        model.more.weight.zero_()
        assert model.more.bias is not None
        model.more.bias.copy_(torch.tensor([_HEAD_LOGIT, np.log(SPREAD_MM)]))
    return model.eval()


def _backbone(given: dict[str, Tensor], model: Embedder) -> dict[str, Tensor]:
    prefix = "embedder.backbone."
    state = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
    if "storage_tokens" not in state:
        raise KeyError(f"{prefix}storage_tokens")
    found = checkpoint_filter_fn(state, model.encoder.backbone)
    return {f"encoder.backbone.{key}": value for key, value in found.items()}


def _neck(given: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix, out = "embedder.dpt_neck.", {}
    for key, value in given.items():
        if not key.startswith(prefix):
            continue
        rest = key.removeprefix(prefix)
        for theirs, ours in _NAMES.items():
            if rest.startswith(theirs):
                tail = rest.removeprefix(theirs)
                if not ours:  # layers.i.projection and layers.i.resize
                    number, part, *more = tail.split(".")
                    tail = ".".join([{"projection": "project", "resize": "resize"}[part], number, *more])
                out[f"encoder.neck.{ours}{tail}"] = value
                break
    return out


def _last(given: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"place.{part}": given[f"predictor.embed_lowres.{part}"] for part in ("weight", "bias")}


@torch.no_grad()
def align(
    embedder: Embedder, photos: Sequence[npt.NDArray[np.uint8]], detector: Detector, size: int = INPUT_SIZE
) -> tuple[Float[Tensor, "3 4"], float]:
    """The affine map of an embedder's cube to the canonical one, and what it leaves over, in millimetres (median).

    Args:
        photos: of heads, a few; largest ones count.

    Raises:
        AnymarkError: fewer than `LEAST_PHOTOS` of them show a head.
    """
    layout = load_layout(LAYOUT)
    theirs, ours, used = [], [], 0
    for pixels in photos:
        heads = detector.encode(pixels)
        if not heads:
            continue
        used += 1
        head, found = heads[0], heads[0].query(layout)
        photo = open_photo(pixels)
        square = Crop(Window.from_box(head.box_px, WINDOW_SCALE, head.roll_rad).affine())
        image = torch.from_numpy(cut(photo, [square], size)).permute(0, 3, 1, 2).float() / 255
        uvw = embedder(image).uvw[0].permute(1, 2, 0).numpy()
        side = len(uvw)
        nothing = np.zeros((side, side), np.float32)
        there: Sampled = DenseMap(uvw, nothing, nothing, square, photo.full_size_px).at(found.xy_px)
        seen = found.visible > 0.5
        theirs.append(there.points_mm[seen])
        ours.append(mm_to_uvw(found.layout.points_mm[seen]))
    if used < LEAST_PHOTOS:
        raise AnymarkError(f"{used} photos with a head; at least {LEAST_PHOTOS} are needed to align the cubes")
    matrix, left = affine_between(np.concatenate(theirs), np.concatenate(ours))
    return torch.tensor(matrix, dtype=torch.float32), CUBE_SIDE_MM * left


def affine_between(source: npt.ArrayLike, target: npt.ArrayLike, rounds: int = 10) -> tuple[np.ndarray, float]:
    """(3, 4) the affine map that takes points (N, 3) nearest to others, and the median distance that is left; those
    that lie far off count little."""
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    rows, weight = np.column_stack([a, np.ones(len(a))]), np.ones(len(a))
    matrix, away = np.zeros((4, 3)), np.zeros(len(a))
    for _ in range(rounds):
        root = np.sqrt(weight)[:, None]
        matrix = np.linalg.lstsq(root * rows, root * b, rcond=None)[0]
        away = np.linalg.norm(rows @ matrix - b, axis=1)
        weight = 1 / (1 + (away / max(2 * float(np.median(away)), 1e-9)) ** 2)
    return matrix.T, float(np.median(away))


def import_densemarks(
    weights: Path, out: Path, name: str, photos: Sequence[npt.NDArray[np.uint8]], detector: Detector
) -> tuple[Path, float]:
    """Make a model folder of the authors' weights; returns it, and what the alignment leaves over, in millimetres.

    Raises:
        AnymarkError: the weights are something else, too few photos show a head, or `out` holds what is no model.
    """
    embedder = load_densemarks(weights)
    affine, left_mm = align(embedder, photos, detector)
    picture = np.stack([cut(open_photo(photos[0]), [Crop(Window(np.full(2, 1.0), 2.0).affine())], INPUT_SIZE)[0]])
    write_dense_model(
        Aligned(embedder, affine).eval(),
        out,
        picture,
        None,
        {
            "name": name,
            "backbone": BACKBONE,
            "neck": "dpt",
            "input_size": INPUT_SIZE,
            "window_scale": WINDOW_SCALE,
            "licence": LICENCE,
            "data": [{"name": "CelebV-HQ", "what": "talking heads", "licence": "non-commercial research"}],
            "labels": "CoTracker3, MediaPipe, FaRL and SegFormer, as the paper says",
            "aligned_mm": round(left_mm, 2),
        },
    )
    return out, left_mm
