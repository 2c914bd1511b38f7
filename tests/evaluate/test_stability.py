"""`anymark eval stability`: pictures that are changed a little, and how far points move."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from anymark.cli import main
from anymark.detect.window import Window
from anymark.errors import AnymarkError
from anymark.evaluate.contestants import Contestant
from anymark.evaluate.perturb import (
    BORDER,
    PERTURBATIONS,
    UNCHANGED,
    WINDOW_ROLL_DEG,
    WINDOW_SCALE,
    WINDOW_SHIFT,
    Perturbation,
    jittered,
)
from anymark.evaluate.stability import Still, spread_px, stability, stability_details
from tests.video.fakes import FakeDetector, picture

DRAWS = 6


def waves(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth picture (..., 3) at any place, in pixels."""
    parts = [np.sin(x / 3 + c) + np.cos(y / 4 - c) for c in range(3)]
    return 127.5 + 55 * np.stack(parts, -1)


def sampled(width: int, height: int, at: tuple[float, float] = (0, 0)) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width) + 0.5 + at[0], np.arange(height) + 0.5 + at[1])
    return np.rint(waves(x, y)).astype(np.uint8)


def test_a_shifted_picture_shows_what_was_there() -> None:
    """Where the returned offset says: to within what 8 bits and Lanczos leave over."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        pixels, offset = Perturbation(shift_px=0.5)(sampled(60, 40), rng)
        assert pixels.shape == (40 - 2 * BORDER, 60 - 2 * BORDER, 3)
        assert (np.abs(offset - BORDER) <= 0.5).all()
        there = sampled(pixels.shape[1], pixels.shape[0], (float(offset[0]), float(offset[1])))
        assert np.abs(pixels.astype(int) - there).max() <= 3


def test_without_a_change_only_the_border_goes() -> None:
    whole = np.random.default_rng(1).integers(0, 256, (50, 70, 3), np.uint8)
    pixels, offset = UNCHANGED(whole, np.random.default_rng(0))
    np.testing.assert_array_equal(pixels, whole[BORDER:-BORDER, BORDER:-BORDER])
    assert offset.tolist() == [BORDER, BORDER]


def test_noise_has_its_strength_and_jpegs_differ_by_where_their_blocks_begin() -> None:
    rng, grey = np.random.default_rng(2), np.full((120, 120, 3), 128, np.uint8)
    noisy, _ = Perturbation(noise=5)(grey, rng)
    assert (noisy.astype(float) - 128).std() == pytest.approx(5, rel=0.03)
    rough = np.random.default_rng(3).integers(100, 156, (120, 120, 3), np.uint8)
    drawn = [Perturbation(quality=50)(rough, rng)[0] for _ in range(8)]
    assert len({pixels.tobytes() for pixels in drawn}) > 3
    fine = [np.abs(p.astype(int) - rough[BORDER:-BORDER, BORDER:-BORDER]).mean() for p in drawn]
    coarse, _ = Perturbation(quality=5)(rough, rng)
    assert max(fine) < np.abs(coarse.astype(int) - rough[BORDER:-BORDER, BORDER:-BORDER]).mean()


def test_windows_are_off_by_as_much_as_is_said() -> None:
    rng, window = np.random.default_rng(4), Window(np.array([50.0, 80.0]), 40.0, 0.3)
    drawn = [jittered(window, rng) for _ in range(3000)]
    assert np.std([np.log(w.side_px) for w in drawn]) == pytest.approx(WINDOW_SCALE, rel=0.05)
    assert np.std([w.roll_rad for w in drawn]) == pytest.approx(np.radians(WINDOW_ROLL_DEG), rel=0.05)
    centres = np.stack([w.centre_px for w in drawn])
    assert centres.std(0) == pytest.approx([40 * WINDOW_SHIFT] * 2, rel=0.05)
    assert centres.mean(0) == pytest.approx(window.centre_px, abs=0.1)


def test_spread_by_hand_and_its_laws() -> None:
    draws = np.zeros((3, 2, 2))
    draws[:, 0, 0] = [-3, 0, 3]  # variance 9
    draws[:, 1] = [(1, 1), (1, 1), (4, 1)]  # variance 3
    assert spread_px(draws) == pytest.approx(np.sqrt((9 + 3) / 2))
    assert spread_px(draws + 7) == pytest.approx(spread_px(draws))
    assert spread_px(2 * draws) == pytest.approx(2 * spread_px(draws))
    noise = np.random.default_rng(5).normal(0, 0.5, (400, 300, 2))
    assert spread_px(noise) == pytest.approx(0.5 * np.sqrt(2), rel=0.01)
    with pytest.raises(ValueError, match="one draw"):
        spread_px(draws[:1])


def contestant(name: str, read: Callable[[np.ndarray], np.ndarray | None], follows: bool = False) -> Contestant:
    return Contestant(name, lambda: read, follows)


def brightest(pixels: np.ndarray) -> np.ndarray:
    """(1, 2) the middle of all brightness: it moves with the picture exactly."""
    grey = pixels[..., 0].astype(float)
    x, y = np.meshgrid(np.arange(grey.shape[1]) + 0.5, np.arange(grey.shape[0]) + 0.5)
    return np.array([[(grey * x).sum(), (grey * y).sum()]]) / grey.sum()


def still(name: str = "disc") -> Still:
    """A disc with soft edges."""
    soft = Image.fromarray(picture((80, 60, 20, 2))).filter(ImageFilter.GaussianBlur(2))
    return Still(name, lambda: np.asarray(soft))


def test_who_goes_with_the_picture_has_no_spread_and_who_does_not_has_its_own() -> None:
    modes = {"alone": [contestant("exact", brightest), contestant("still", lambda _: np.full((1, 2), 50.0))]}
    measured, notes = stability(FakeDetector(), modes, [still()], DRAWS, 3, lambda done, total: None)
    assert notes == []
    exact, other = measured[0].spreads["alone"]["shift by up to 0.5 px"].spreads
    assert exact < 0.1 * other  # 8 bits leave a little
    rng = np.random.default_rng([3, 0, list(PERTURBATIONS).index("shift by up to 0.5 px")])
    offsets = np.stack([Perturbation(shift_px=0.5)(still().load(), rng)[1] for _ in range(DRAWS)])
    head = FakeDetector().encode(UNCHANGED(still().load(), rng)[0])[0].query("mediapipe478").xy_px
    eyes = np.linalg.norm(head[33] - head[263])
    assert other == pytest.approx(spread_px(offsets[:, None]) / eyes)
    assert measured[0].spreads["alone"]["noise, 2 levels"].spreads[1] == 0


def test_the_same_seed_gives_the_same_numbers_and_all_see_the_same_pictures() -> None:
    seen: dict[str, list[bytes]] = {"a": [], "b": []}

    def looks(name: str) -> Callable[[np.ndarray], np.ndarray]:
        def read(pixels: np.ndarray) -> np.ndarray:
            seen[name].append(pixels.tobytes())
            return brightest(pixels)

        return read

    modes = {"alone": [contestant("a", looks("a")), contestant("b", looks("b"))]}
    runs = [stability(FakeDetector(), modes, [still()], DRAWS, 1, lambda *_: None)[0] for _ in range(2)]
    assert runs[0] == runs[1]
    assert seen["a"] == seen["b"]
    assert len(set(seen["a"])) == DRAWS * len(PERTURBATIONS)
    assert stability(FakeDetector(), modes, [still()], DRAWS, 2, lambda *_: None)[0] != runs[0]


def test_who_follows_sees_the_plain_picture_first() -> None:
    sizes: list[bytes] = []
    modes = {"followed": [contestant("a", lambda p: (sizes.append(p.tobytes()), brightest(p))[1], follows=True)]}
    stability(FakeDetector(), modes, [still()], DRAWS, 0, lambda *_: None)
    plain = UNCHANGED(still().load(), np.random.default_rng(0))[0].tobytes()
    assert [i for i, seen in enumerate(sizes) if seen == plain] == [k * (DRAWS + 1) for k in range(len(PERTURBATIONS))]


def test_photos_that_one_misses_count_for_nobody() -> None:
    calls: list[int] = []

    def misses(pixels: np.ndarray) -> np.ndarray | None:
        calls.append(1)
        return None if len(calls) == 2 else brightest(pixels)

    modes = {"alone": [contestant("a", lambda _: np.full((1, 2), 50.0)), contestant("b", misses)]}
    measured, _ = stability(FakeDetector(), modes, [still("x"), still("y")], DRAWS, 0, lambda *_: None)
    alone, window = stability_details(measured, ["a", "b"])
    shift = alone.rows["shift by up to 0.5 px"]
    assert (shift["n"], shift["missed by a"], shift["missed by b"]) == (1, 0, 1)
    second = measured[1].spreads["alone"]["shift by up to 0.5 px"].spreads
    assert shift["a"] == pytest.approx(second[0])
    assert shift["a / b"] == pytest.approx(second[0] / second[1])
    assert alone.rows["all"]["n"] == 1
    of_all = [spread.spreads[0] for spread in measured[1].spreads["alone"].values()]
    assert alone.rows["all"]["a"] == pytest.approx(np.mean(of_all))
    assert next(iter(window.rows.values()))["n"] == 2


def test_photos_without_a_head_are_left_out_and_named() -> None:
    modes = {"alone": [contestant("a", brightest)]}
    nobody, tiny = Still("nobody", lambda: picture()), Still("tiny", lambda: picture((10, 10, 8, 0), size=(40, 40)))
    measured, notes = stability(FakeDetector(), modes, [nobody, tiny, still()], DRAWS, 0, lambda *_: None)
    assert [photo.name for photo in measured] == ["disc"]
    assert notes == ["nobody: no head found: left out", "tiny: smaller than 64 pixels: left out"]
    with pytest.raises(AnymarkError, match="none of 1 photos could be measured; the first: nobody"):
        stability(FakeDetector(), modes, [nobody], DRAWS, 0, lambda *_: None)


def test_the_command_measures_photos(
    linear: Path, locator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The synthetic locator has the face at one place whatever the picture: its points shift by what the picture
    does not."""
    photos, out = tmp_path / "photos", tmp_path / "numbers.json"
    photos.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (320, 320), (128, 128, 128)).save(photos / f"{name}.png")
    (photos / "c.png").write_bytes(b"no picture")
    given = ["--model", str(linear), "--locator", str(locator), "--draws", "3", "--json", str(out)]
    assert main(["eval", "stability", str(photos), *given]) == 2
    said = capsys.readouterr()
    assert "c.png: not an image" in said.err
    assert said.out.splitlines()[-1].startswith("spread ")
    assert said.out.splitlines()[-1].endswith(" % of the eyes' distance (n=2)")
    numbers = json.loads(out.read_text())
    assert numbers["draws"] == 3
    assert [Path(photo["name"]).name for photo in numbers["photos"]] == ["a.png", "b.png"]
    alone = numbers["details"]["each picture by itself: spread, % of the eyes' distance"]
    assert alone["JPEG 70"]["anymark"] == pytest.approx(0, abs=1e-5)
    assert alone["shift by up to 0.5 px"]["anymark"] > 10 * alone["noise, 5 levels"]["anymark"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{0}/none.jpg",), "none of 1 photos could be measured"),
        (("{0}",), "no images in this folder"),
        (("{0}", "--draws", "1"), "--draws 1: must be at least 2"),
        (("{0}", "--seed", "-1"), "--seed -1: must not be negative"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    linear: Path,
    locator: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [a.format(tmp_path) for a in arguments]
    assert main(["eval", "stability", *given, "--model", str(linear), "--locator", str(locator)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
