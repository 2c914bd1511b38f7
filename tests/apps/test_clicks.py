"""How clicked points are written, and what is said of those that lie badly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymark.apps.clicks import Clicked, find_clicked, parse_click, read_markers
from anymark.detect.detector import Detector
from anymark.detect.window import Window
from anymark.errors import AnymarkError
from tests.apps.synthetic import colour_of


class OneWindow(Detector):
    """Takes the middle of each picture for a head."""

    def encode(self, image: object, windows: object = None) -> list:
        picture = np.asarray(image)
        if not picture.any():
            return []
        return super().encode(picture, [Window(np.array([200.0, 200.0]), 300.0)])


@pytest.fixture(scope="module")
def detector(turning: Path) -> Detector:
    return OneWindow(turning)


def picture(yaw: float = 0, pitch: float = 0) -> np.ndarray:
    return np.full((400, 400, 3), colour_of(yaw, pitch), np.uint8)


def test_points_are_written_as_pixels_or_millimetres() -> None:
    assert parse_click("412,310", 3) == Clicked("point 3", 412, 310, 0)
    assert parse_click("mole=455.5,322", 1) == Clicked("mole", 455.5, 322, 0)
    assert parse_click(" left mole = 1e2,5@12 ", 1) == Clicked("left mole", 100, 5, 12)
    assert parse_click("-41.0,12.5,96", 1) is None
    for bad in ("", "1", "a,b", "mole=1,2@x", "1,nan", "1,2,3,4", "=1,2"):
        with pytest.raises(AnymarkError, match="--point"):
            parse_click(bad, 1)


def test_marker_files(tmp_path: Path) -> None:
    table = tmp_path / "dots.csv"
    table.write_text("frame,name,y_px,x_px,note\n3,a,20,10,x\n,b,5.5,7.25,\n")
    assert read_markers(table) == [Clicked("a", 10, 20, 3), Clicked("b", 7.25, 5.5, 0)]
    for content, said in (
        ("name,x_px\na,1\n", "lacks the column y_px"),
        ("name,x_px,y_px\na,1,b\n", "line 2: x_px and y_px must be numbers"),
        ("name,x_px,y_px\n,1,2\n", "line 2: a name and finite pixels"),
        ("name,x_px,y_px,frame\na,1,2,-1\n", "line 2: a name and finite pixels"),
        ("name,x_px,y_px\na,inf,2\n", "line 2: a name and finite pixels"),
        ("", "lacks the column name"),
    ):
        table.write_text(content)
        with pytest.raises(AnymarkError, match=said):
            read_markers(table)
    with pytest.raises(AnymarkError, match="no such file"):
        read_markers(tmp_path / "none.csv")


def test_a_name_in_several_frames_is_one_point(detector: Detector) -> None:
    frames = [picture(), picture(30), picture(-20)]
    (head,) = detector.encode(frames[0])
    nose = head.query([[0.0, 3.0, 130.0]]).xy_px[0]
    (turned,) = detector.encode(frames[2])
    again = turned.query([[0.0, 3.0, 130.0]]).xy_px[0]
    clicked = [Clicked("nose", *nose.tolist(), 0), Clicked("nose", *again.tolist(), 2), Clicked("eye", 170, 160, 2)]
    said: list[str] = []
    found = find_clicked(clicked, enumerate(frames), detector, said.append, near_surface=False)
    assert found.layout.names == ("nose", "eye")
    np.testing.assert_allclose(found.layout.points_mm[0], [0, 3, 130], atol=0.5)
    assert len(found.clicks) == 2
    assert np.isnan(found.clicks[0][0].xy_px[1]).all()
    assert said == []


def test_clicks_off_the_head_are_told_of(detector: Detector) -> None:
    (head,) = detector.encode(picture())
    right = head.query("head").xy_px
    right = right[right[:, 0].argmax()]
    said: list[str] = []
    clicked = [Clicked("off", float(right[0]) + 30, float(right[1]))]
    find_clicked(clicked, [(0, picture())], detector, said.append)
    assert len(said) == 1
    assert said[0].startswith("off: clicked 30 px (")
    assert said[0].endswith("mm) off the head; its nearest point is taken")


def test_what_cannot_be_found(detector: Detector) -> None:
    def find(clicked: list[Clicked], frames: list[np.ndarray | None]) -> None:
        find_clicked(clicked, enumerate(frames), detector, lambda said: None)

    with pytest.raises(AnymarkError, match="frame 5 is not there: there are 1, counted from 0"):
        find([Clicked("a", 200, 200, 5)], [picture()])
    with pytest.raises(AnymarkError, match="frame 0 failed to decode"):
        find([Clicked("a", 200, 200)], [None])
    with pytest.raises(AnymarkError, match="frame 0 shows no head"):
        find([Clicked("a", 200, 200)], [0 * picture()])
    with pytest.raises(AnymarkError, match="a: clicked twice in frame 0"):
        find([Clicked("a", 200, 200), Clicked("a", 210, 200)], [picture()])
    with pytest.raises(AnymarkError, match="a: clicked outside of frame 0, which is 400 x 400"):
        find([Clicked("a", 4000, 200)], [picture()])


def test_clicks_of_one_frame_lie_on_one_head(turning: Path) -> None:
    class TwoWindows(Detector):
        def encode(self, image: object, windows: object = None) -> list:
            sides = [Window(np.array([x, 200.0]), 300.0) for x in (150.0, 650.0)]
            return super().encode(np.asarray(image), sides)

    detector = TwoWindows(turning)
    wide = np.full((400, 800, 3), colour_of(0, 0), np.uint8)
    one, other = (head.query([[0.0, 3.0, 130.0]]).xy_px[0].tolist() for head in detector.encode(wide))
    with pytest.raises(AnymarkError, match="a and b were clicked on two heads in frame 0"):
        find_clicked([Clicked("a", *one), Clicked("b", *other)], [(0, wide)], detector, lambda said: None)
    found = find_clicked([Clicked("b", *other)], [(0, wide)], detector, lambda said: None)
    assert found.clicks[0][0].head.window.centre_px[0] == 650


def test_clicks_that_contradict_are_told_of(detector: Detector) -> None:
    frames = [picture(), picture(20)]
    (head, turned) = (detector.encode(each)[0] for each in frames)
    nose, cheek = head.query([[0.0, 3.0, 130.0]]).xy_px[0], turned.query([[35.0, -10.0, 95.0]]).xy_px[0]
    said: list[str] = []
    clicked = [Clicked("a", *nose.tolist(), 0), Clicked("a", *cheek.tolist(), 1)]
    find_clicked(clicked, enumerate(frames), detector, said.append)
    assert any("do not agree with one another" in each for each in said)
