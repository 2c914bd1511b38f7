"""Points followed through videos, for dense models to learn from: the trackers, and what of their tracks is kept
(DenseMarks)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import cv2
import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError

Pictures = Sequence[npt.NDArray[np.uint8]]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

CLOSES_PX = 1.0
"""Points that come back from the next frame farther off than this are lost (forward-backward check)."""


TrackerName = Literal["lucas-kanade", "bootstapir", "tapnext", "cotracker"]

_TAPNET_SIDE = 256  # of the frames as tapnet's networks see them, pixels
_SURE = 0.5  # from which a point counts as seen


@runtime_checkable
class PointTracker(Protocol):
    """Follows points through a clip."""

    def track(self, frames: Pictures, xy_px: npt.ArrayLike) -> tuple[Floats, Bools]:
        """Points (N, 2) of the first frame -> (T, N, 2) pixels and (T, N) whether they are seen.

        Args:
            frames: T pictures (H, W, 3) RGB.
        """
        ...


class LucasKanade:
    """OpenCV's pyramidal Lucas-Kanade with a forward-backward check: needs no download. What is lost stays lost."""

    def __init__(self, window: int = 21, levels: int = 4, closes_px: float = CLOSES_PX) -> None:
        self._options: dict[str, Any] = {"winSize": (window, window), "maxLevel": levels}
        self._closes_px = closes_px

    def track(self, frames: Pictures, xy_px: npt.ArrayLike) -> tuple[Floats, Bools]:
        """See `PointTracker`."""
        grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
        at = np.asarray(xy_px, np.float32).reshape(-1, 2) - 0.5  # OpenCV counts from pixels' middles
        out, seen = [at], [np.ones(len(at), bool)]
        for before, after in pairwise(grey):
            there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, out[-1], None, **self._options)  # type: ignore[call-overload]
            back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **self._options)  # type: ignore[call-overload]
            closes = np.linalg.norm(back - out[-1], axis=1) <= self._closes_px
            inside = ((there >= 0) & (there <= np.array(after.shape[::-1]) - 1)).all(1)
            seen.append(seen[-1] & (found[:, 0] > 0) & (returned[:, 0] > 0) & closes & inside)
            out.append(np.where(seen[-1][:, None], there, out[-1]))
        return np.stack(out) + np.float32(0.5), np.stack(seen)


class Tapir:
    """BootsTAPIR, or another TAPIR of DeepMind's tapnet in torch: code and weights under Apache-2.0.

    Args:
        model: the loaded network: a video (1, T, H, W, 3) in -1..1 and queries (1, N, 3) of frame, row and column ->
            "tracks" (1, N, T, 2) of x and y, "occlusion" and "expected_dist", logits (1, N, T).
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def track(self, frames: Pictures, xy_px: npt.ArrayLike) -> tuple[Floats, Bools]:
        """See `PointTracker`."""
        import torch

        video, queries, scale = _for_tapnet(frames, xy_px)
        with torch.no_grad():
            answer = self._model(video, queries)
        tracks, hidden, doubt = (answer[key][0].float().cpu() for key in ("tracks", "occlusion", "expected_dist"))
        sure = (1 - hidden.sigmoid()) * (1 - doubt.sigmoid())
        return tracks.permute(1, 0, 2).numpy() / scale, (sure.T > _SURE).numpy()


class TapNext:
    """TAPNext of DeepMind's tapnet in torch, frame by frame: code and weights under Apache-2.0.

    Args:
        model: the loaded network: `video` (1, 1, H, W, 3) in -1..1 with `query_points` (1, N, 3) of frame, row and
            column, then with `state` -> tracks (1, 1, N, 2) of row and column, their logits, logits of being seen
            (1, 1, N, 1), and a state.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def track(self, frames: Pictures, xy_px: npt.ArrayLike) -> tuple[Floats, Bools]:
        """See `PointTracker`."""
        import torch

        video, queries, scale = _for_tapnet(frames, xy_px)
        out, seen, state = [], [], None
        with torch.no_grad():
            for t in range(video.shape[1]):
                given = {"query_points": queries} if state is None else {"state": state}
                tracks, _, shown, state = self._model(video=video[:, t : t + 1], **given)
                out.append(tracks[0, 0].float().cpu().numpy()[:, ::-1] / scale)
                seen.append(shown[0, 0, :, 0].cpu().numpy() > 0)
        return np.stack(out).astype(np.float32), np.stack(seen)


class CoTracker:
    """CoTracker: its weights are CC-BY-NC, so that what learns from its tracks may not be sold.

    Args:
        model: the loaded predictor: a video (1, T, 3, H, W) in 0..255 and queries (1, N, 3) of frame, x and y -> tracks
            (1, T, N, 2), and which are seen (1, T, N).
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def track(self, frames: Pictures, xy_px: npt.ArrayLike) -> tuple[Floats, Bools]:
        """See `PointTracker`."""
        import torch

        video = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2).astype(np.float32))[None]
        at = np.asarray(xy_px, np.float32).reshape(-1, 2) - 0.5  # it counts from pixels' middles
        queries = torch.from_numpy(np.column_stack([np.zeros(len(at), np.float32), at]))[None]
        with torch.no_grad():
            tracks, seen = self._model(video, queries=queries)
        return tracks[0].float().cpu().numpy() + np.float32(0.5), seen[0].float().cpu().numpy() > _SURE


def load_tracker(name: TrackerName, weights: Path | None = None) -> PointTracker:
    """A tracker by its name, with the user's weights.

    Raises:
        AnymarkError: the package of its network is not installed, or the weights are missing or of another network.
    """
    if name == "lucas-kanade":
        return LucasKanade()
    if weights is None or not weights.is_file():
        raise AnymarkError(f"{name}: its weights are needed, a file that you have downloaded")
    try:
        return {"bootstapir": _load_tapir, "tapnext": _load_tapnext, "cotracker": _load_cotracker}[name](weights)
    except ModuleNotFoundError as error:
        package = "cotracker" if name == "cotracker" else "tapnet"
        raise AnymarkError(f"{name}: needs the package {package} of its authors ({error})") from None
    except Exception as error:  # whatever torch stumbles over
        raise AnymarkError(f"{weights}: no weights of {name} ({' '.join(str(error).split())[:200]})") from None


def _load_tapir(weights: Path) -> PointTracker:
    import torch
    from tapnet.torch import tapir_model  # type: ignore[import-not-found]

    model = tapir_model.TAPIR(pyramid_level=1)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return Tapir(model.eval())


def _load_tapnext(weights: Path) -> PointTracker:
    from tapnet.tapnext.tapnext_torch import TAPNext  # type: ignore[import-not-found]
    from tapnet.tapnext.tapnext_torch_utils import restore_model_from_jax_checkpoint  # type: ignore[import-not-found]

    model = TAPNext(image_size=(_TAPNET_SIDE, _TAPNET_SIDE))
    return TapNext(restore_model_from_jax_checkpoint(model, str(weights)).eval())


def _load_cotracker(weights: Path) -> PointTracker:
    from cotracker.predictor import CoTrackerPredictor  # type: ignore[import-not-found]

    return CoTracker(CoTrackerPredictor(checkpoint=str(weights)).eval())


def _for_tapnet(frames: Pictures, xy_px: npt.ArrayLike) -> tuple[Any, Any, Floats]:
    """A video and queries as tapnet's networks take them, and their pixels for each of the frames'."""
    import torch

    height, width = frames[0].shape[:2]
    size = (_TAPNET_SIDE, _TAPNET_SIDE)
    scale = np.array([_TAPNET_SIDE / width, _TAPNET_SIDE / height], np.float32)
    video = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
    at = np.asarray(xy_px, np.float32).reshape(-1, 2) * scale
    queries = np.column_stack([np.zeros(len(at), np.float32), at[:, 1], at[:, 0]])
    return torch.from_numpy(video.astype(np.float32) / 127.5 - 1)[None], torch.from_numpy(queries)[None], scale


def spread_points(mask: npt.NDArray[np.floating], count: int, seed: int = 0) -> Floats:
    """(N, 2) random pixels' middles, at most `count`, where a mask (H, W) of the head, hair included, is above 1/2.

    Raises:
        AnymarkError: it is nowhere.
    """
    rows, columns = np.nonzero(np.asarray(mask) > 0.5)
    if not len(rows):
        raise AnymarkError("no head to spread points on")
    pick = np.random.default_rng(seed).permutation(len(rows))[:count]
    return np.column_stack([columns[pick], rows[pick]]).astype(np.float32) + np.float32(0.5)


def without_outliers(
    xy_px: Floats, seen: Bools, masks: Sequence[npt.NDArray[np.floating]], neighbours: int = 8, most: float = 4.0
) -> Bools:
    """(T, N) which of some tracks stay: seen, on the head in their frame, and moving as the tracks about them do.

    A point is out where its motion since the first frame differs from the median of its neighbours' by more than `most`
    times the median of such differences in that frame, and a pixel.

    Args:
        xy_px: (T, N, 2). seen: (T, N). masks: (H, W) of each frame, 0..1.
    """
    keep = seen.copy()
    for t, mask in enumerate(masks):
        column, row = (np.clip(xy_px[t, :, k].astype(int), 0, mask.shape[1 - k] - 1) for k in (0, 1))
        keep[t] &= np.asarray(mask)[row, column] > 0.5
    first = xy_px[0]
    nearest = np.linalg.norm(first[:, None] - first[None], axis=-1).argsort(1)[:, 1 : neighbours + 1]
    for t in range(1, len(xy_px)):
        moved = np.where(keep[t][:, None], xy_px[t] - first, np.nan)
        if not keep[t].any() or nearest.shape[1] == 0:
            continue
        own = np.nan_to_num(moved)[:, None]  # of points that are lost, which stay so
        usual = np.nanmedian(np.where(np.isfinite(moved[nearest]), moved[nearest], own), axis=1)
        off = np.linalg.norm(moved - usual, axis=-1)
        keep[t] &= np.nan_to_num(off, nan=np.inf) <= 1 + most * np.nanmedian(off)
    return keep
