"""Files that were made to do harm: refused in one line, or without effect."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from anymark.apps.annotations import read_annotations
from anymark.canonical import load_layout
from anymark.cli import main
from anymark.commands.data_label import _deep
from anymark.commands.said import say
from anymark.detect.model import Model, kind_of
from anymark.engine.samples import read_index, read_shards
from anymark.errors import AnymarkError
from anymark.exports.shot import find
from anymark.learn.train.recipe import load_recipe
from anymark.video.clip import Clip
from anymark.video.exr import read_exr
from tests.detect.synthetic import write_locator
from tests.video.clips import write_clip

DEEP = 100_000
LONG = "9" * 5000


def refused(read: Callable[[], Any], name: str) -> None:
    with pytest.raises(AnymarkError) as caught:
        read()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [f"a = {'[' * DEEP}", f"a = {LONG}"])
def test_recipes_that_are_too_deep_or_too_long(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    refused(lambda: load_recipe(path), "recipe.toml")


@pytest.mark.parametrize("text", ["[" * DEEP, f'{{"points_mm": [[1, 2, {LONG}]]}}'])
def test_layouts_that_are_too_deep_or_too_long(tmp_path: Path, text: str) -> None:
    path = tmp_path / "layout.json"
    path.write_text(text)
    refused(lambda: load_layout(path), "layout.json")


def test_cards_that_are_too_deep(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"kind": ' + "[" * DEEP)
    refused(lambda: Model(tmp_path, "locator"), "card.json")
    assert kind_of(tmp_path) is None


@pytest.mark.parametrize("number", [LONG, "400000000"])
def test_points_by_numbers_that_no_table_holds(tmp_path: Path, number: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    path = tmp_path / "labels.csv"
    path.write_text(f"image,point,x,y\nphoto.jpg,{number},1,1\n")
    refused(lambda: read_annotations(path, None), "line 2")
    refused(lambda: find(load_layout("ibug68"), number), "no point")


def test_pictures_that_ask_for_more_than_they_hold(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    path = tmp_path / "wide.exr"
    header = {"displayWindow": (np.array([0, 0], np.int32), np.array([99_999, 99_999], np.int32))}
    openexr.File(header, {"RGB": np.zeros((4, 4, 3), np.float32)}).write(str(path))
    refused(lambda: read_exr(path), "wide.exr")


def test_what_a_network_keeps_outside_of_its_verified_file_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    write_locator(folder)
    network = onnx.load(folder / "locate.onnx")
    biggest = max(network.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    onnx.external_data_helper.set_external_data(biggest, "secret.bin")
    (tmp_path / "secret.bin").write_bytes(biggest.raw_data)
    biggest.ClearField("raw_data")
    content = network.SerializeToString()
    (folder / "locate.onnx").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    import hashlib

    card["files"]["locate.onnx"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    monkeypatch.chdir(tmp_path)
    refused(lambda: Model(folder, "locator").network("locate.onnx", ["score", "geometry"]), "locate.onnx")


def test_shards_that_swell_and_shards_of_other_folders(tmp_path: Path) -> None:
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        info = tarfile.TarInfo("0.jpg")
        info.size = 10
        tar.addfile(info, io.BytesIO(bytes(10)))
    packed = tmp_path / "packed.tar"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(shard, "0.jpg")
    refused(lambda: list(read_shards([packed])), "packed.tar")
    (tmp_path / "index.json").write_text(json.dumps({"shards": ["../shard.tar"], "samples": 1}))
    refused(lambda: read_index(tmp_path), "index.json")


@pytest.mark.skipif(os.name != "posix", reason="links are POSIX's")
def test_links_that_lead_back_are_not_followed(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "z.png").write_bytes(b"")
    (inner / "y.png").write_bytes(b"")
    for i in range(3):
        (inner / f"back{i}").symlink_to(tmp_path)
    assert _deep(str(tmp_path)) == [tmp_path / "z.png", inner / "y.png"]
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "z.png").unlink()
    refused(lambda: _deep(str(tmp_path)), "no images")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.ts\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile other.ts\n"),
    ],
)
def test_lists_of_other_videos_are_no_videos(tmp_path: Path, name: str, text: str) -> None:
    write_clip(tmp_path / "other.ts", [np.zeros((64, 64, 3), np.uint8)] * 3)
    (tmp_path / name).write_text(text)
    Clip(tmp_path / "other.ts")
    refused(lambda: Clip(tmp_path / name), name)


@pytest.mark.parametrize("name", ["red\x1b[31m.jpg", "two\rlines.jpg", "c1\x9b5n.jpg", "gpj\u202e.jpg"])
def test_names_reach_no_terminal_raw(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(b"no picture")
    assert main(["detect", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err.removesuffix("\n")
    assert said.isprintable()
    assert name[-4:] in said
    say(name)
    assert capsys.readouterr().out.removesuffix("\n").isprintable()


@pytest.mark.parametrize("name", ["a\u202fb.png", "写真\u3000一.jpg", "👩\u200d🚀.png", "é ü.png"])
def test_other_names_are_said_as_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(name)
    assert capsys.readouterr().out == f"{name}\n"
