"""Light: what a photo was lit by, and light from panoramas. Colours are linear.

Diffuse light is nine spherical harmonics (Ramamoorthi and Hanrahan 2001); shine is a panorama blurred by a lobe, looked
up where the surface mirrors the line of sight.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from anymark.engine.pixels import look

Array = npt.NDArray[np.floating]

_BANDS = np.array([np.pi] + 3 * [2 * np.pi / 3] + 5 * [np.pi / 4])  # a cosine lobe's harmonics
_GLOSS = (32, 64)  # rows and columns of the blurred panorama


def harmonics(directions: Array) -> npt.NDArray[np.float32]:
    """Unit vectors (..., 3) -> the first nine real spherical harmonics (..., 9)."""
    x, y, z = np.moveaxis(np.asarray(directions, np.float32), -1, 0)
    values = [
        0.282095 * np.ones_like(x),
        0.488603 * y,
        0.488603 * z,
        0.488603 * x,
        1.092548 * x * y,
        1.092548 * y * z,
        0.315392 * (3 * z * z - 1),
        1.092548 * x * z,
        0.546274 * (x * x - y * y),
    ]
    return np.stack(values, -1).astype(np.float32)


def estimate_light(normals: Array, colours: Array, weights: Array) -> npt.NDArray[np.float32]:
    """The diffuse light that explains the brightness of surfaces of about one colour.

    Args:
        normals: (N, 3) unit. colours: (N, 3) linear. weights: (N,).

    Returns:
        (9,) coefficients: `harmonics(normal) @ light` is the relative brightness, about 1 on the average.
    """
    brightness = colours @ np.array([0.3, 0.59, 0.11], np.float32)
    mean = float((brightness * weights).sum() / max(float(weights.sum()), 1e-6))
    basis = harmonics(normals)
    stiff = np.diag([0.0] + 3 * [0.02] + 5 * [0.1]) * max(float(weights.sum()), 1e-6)  # smooth unless it must not be
    normal = (basis * weights[:, None]).T @ basis + stiff + 1e-6 * np.eye(9)
    right = (basis * weights[:, None]).T @ (brightness / max(mean, 1e-6))
    return np.linalg.solve(normal, right).astype(np.float32)


def relative(light: Array, normals: Array, low: float = 0.35, high: float = 2.5) -> npt.NDArray[np.float32]:
    """(...,) brightness of surfaces (..., 3) under an estimated light, kept within what a face can show."""
    return np.clip(harmonics(normals) @ light, low, high).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Environment:
    """A panorama as a light.

    Directions: y up; the picture's middle column is towards +z; its right half, to the right of who looks there, is
    towards -x.
    """

    diffuse: npt.NDArray[np.float32]
    """(9, 3) coefficients: `harmonics(normal) @ diffuse` is the light that a white surface sends out."""
    gloss: npt.NDArray[np.float32]
    """(h, w, 3) the panorama, blurred by a lobe."""
    picture: npt.NDArray[np.float32]
    """(H, W, 3) linear."""

    @staticmethod
    def of(panorama: npt.NDArray[np.float32]) -> Environment:
        """A panorama (H, W, 3), linear, scaled so that its mean diffuse light is 1."""
        height, width = panorama.shape[:2]
        directions = panorama_directions(height, width)
        solid = np.cos(np.pi / 2 - (np.arange(height) + 0.5) / height * np.pi) * (2 * np.pi**2 / (height * width))
        flat = (panorama * solid[:, None, None]).reshape(-1, 3)
        diffuse = harmonics(directions.reshape(-1, 3)).T @ flat * (_BANDS / np.pi)[:, None]
        mean = float((diffuse[0] * 0.282095).mean())
        scale = 1 / max(mean, 1e-6)
        small = cv2.resize(np.minimum(panorama * scale, 30.0), _GLOSS[::-1], interpolation=cv2.INTER_AREA)
        wide = np.concatenate([small, small, small], 1)
        blurred = cv2.GaussianBlur(wide, (0, 0), 2.2)[:, _GLOSS[1] : 2 * _GLOSS[1]]
        return Environment(
            (diffuse * scale).astype(np.float32), np.ascontiguousarray(blurred, np.float32), panorama * scale
        )

    def shade(self, normals: Array) -> npt.NDArray[np.float32]:
        """(..., 3) diffuse light of surfaces with these normals (..., 3)."""
        return np.maximum(harmonics(normals) @ self.diffuse, 0.02)

    def shine(self, directions: Array) -> npt.NDArray[np.float32]:
        """(..., 3) blurred light from these directions (..., 3)."""
        return look_up(self.gloss, directions)


def panorama_directions(height: int, width: int) -> npt.NDArray[np.float32]:
    """(H, W, 3) unit directions of a panorama's pixels."""
    up = np.pi / 2 - (np.arange(height) + 0.5) / height * np.pi
    round_ = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    across = np.cos(up)[:, None]
    parts = -across * np.sin(round_), np.broadcast_to(np.sin(up)[:, None], (height, width)), across * np.cos(round_)
    return np.stack(parts, -1).astype(np.float32)


def look_up(panorama: npt.NDArray[np.float32], directions: Array) -> npt.NDArray[np.float32]:
    """Bilinear values (H, W, 3) of a panorama in directions (H, W, 3)."""
    x, y, z = np.moveaxis(np.asarray(directions, np.float32), -1, 0)
    height, width = panorama.shape[:2]
    column = (np.arctan2(-x, z) / (2 * np.pi) + 0.5) * width - 0.5
    row = (0.5 - np.arcsin(np.clip(y, -1, 1)) / np.pi) * height - 0.5
    wide = np.concatenate([panorama[:, -1:], panorama, panorama[:, :1]], 1)
    at = np.stack([column + 1, np.clip(row, 0, height - 1)], -1).astype(np.float32)
    return look(wide, at + 0.5)


def view(
    panorama: npt.NDArray[np.float32], size: int, focal_px: float, rotation: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """(size, size, 3) what a camera in the middle of a panorama sees.

    Args:
        rotation: (3, 3) R_world_camera.
    """
    steps = (np.arange(size, dtype=np.float32) + 0.5 - size / 2) / np.float32(focal_px)
    rays = np.ones((size, size, 3), np.float32)
    rays[..., 0], rays[..., 1] = steps, steps[:, None]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return look_up(panorama, rays @ rotation.T.astype(np.float32))
