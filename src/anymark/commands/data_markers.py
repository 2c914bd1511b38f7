"""`anymark data markers`: marked and unmarked pictures whose points are known, to try marker models on."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, arg, subcommand

from anymark.engine.marker_sets import (
    HELD_OUT,
    MARKED,
    SEQUENCE,
    SEQUENCE_MARKED,
    TEMPLATE,
    UNMARKED,
    Known,
    face_of,
    face_template,
    hand_sequence,
    hand_template,
    hands,
    plain_grounds,
    write_pictures,
)
from anymark.engine.samples import Sample, finished_shards, read_shards
from anymark.errors import AnymarkError
from anymark.files import make_folder, shared_folder
from anymark.tables import check_numbers


@dataclass(kw_only=True)
class Hands:
    """Hands, posed within what joints allow, with lines along the bones of the back: others are marked than unmarked.

    Writes template.json, marked/, unmarked/, held-out/ with truth.npz, and sequence/ and sequence-marked/, frames of
    one moving hand, with theirs.
    """

    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for what is written."""
    count: Annotated[int, arg(metavar="N")] = 3000
    """Pictures of each set."""
    held_out: Annotated[int, arg(metavar="N")] = 300
    """Unmarked pictures of others to score on; as many frames of each sequence."""
    actors: Annotated[int, arg(metavar="N")] = 40
    """People of each set; with 1, the marked, the unmarked and the held-out hand are one person's."""
    size: Annotated[int, arg(metavar="N")] = 128
    """Side of the pictures, pixels."""
    seed: int = 0
    assets: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder that holds hands/ and hdri/; ../shared/assets or $ANYMARK_ASSETS by default."""

    def run(self) -> int:
        """Returns the exit code."""
        from anymark.engine.hand_pictures import draw_actor
        from anymark.engine.hands import read_hand

        check_numbers(self, "count", "held_out", "actors", least=1)
        check_numbers(self, "size", least=32, most=1024)
        assets = shared_folder(self.assets, "assets", "--assets DIR with hands/ and hdri/")
        hand = read_hand(assets / "hands" / "left.glb")
        rng = np.random.default_rng(self.seed)
        grounds = plain_grounds(assets / "hdri", self.size, rng)
        people = [draw_actor(rng) for _ in range(3 * self.actors)]
        of_set = [people[i::3] for i in range(3)] if self.actors > 1 else [people[:1]] * 3
        make_folder(self.out)
        hand_template(hand).save(self.out / TEMPLATE)
        sets = {
            MARKED: hands(hand, grounds, self.size, of_set[0], self.count, True, self.seed + 1),
            UNMARKED: hands(hand, grounds, self.size, of_set[1], self.count, False, self.seed + 2),
            HELD_OUT: hands(hand, grounds, self.size, of_set[2], self.held_out, False, self.seed + 3),
            SEQUENCE: hand_sequence(hand, grounds, self.size, of_set[2][0], self.held_out, False, self.seed + 4),
            SEQUENCE_MARKED: hand_sequence(hand, grounds, self.size, of_set[2][0], self.held_out, True, self.seed + 4),
        }
        _write(self.out, sets)
        return 0


@dataclass(kw_only=True)
class Faces:
    """Faces out of data sets of `anymark data build`: one of preset marked, one without marks of other people.

    Writes the same as for hands; the template is the layout ibug68, projected once.
    """

    marked: Annotated[Path, arg(metavar="SHARDS")]
    """Data set of preset marked."""
    unmarked: Annotated[Path, arg(metavar="SHARDS")]
    """Data set of preset photos or views. Half of all people are taken from each, so that nobody is in both."""
    held_out: Annotated[Path, arg(metavar="SHARDS")]
    """The same of people who are never trained on."""
    sequence: Annotated[Path | None, arg(metavar="SHARDS")] = None
    """Data set of preset sequences, without marks."""
    sequence_marked: Annotated[Path | None, arg(metavar="SHARDS")] = None
    """The same sequences with marks."""
    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for what is written."""
    size: Annotated[int, arg(metavar="N")] = 128
    """Side of the pictures, pixels."""

    def run(self) -> int:
        """Returns the exit code."""
        check_numbers(self, "size", least=32, most=1024)
        make_folder(self.out)
        face_template().save(self.out / TEMPLATE)
        sets = {
            MARKED: self._faces(self.marked, 0),
            UNMARKED: self._faces(self.unmarked, 1),
            HELD_OUT: self._faces(self.held_out),
        }
        for name, folder in ((SEQUENCE, self.sequence), (SEQUENCE_MARKED, self.sequence_marked)):
            if folder is not None:
                sets[name] = self._faces(folder)
        _write(self.out, sets)
        return 0

    def _faces(self, folder: Path, half: int | None = None) -> Iterator[Known]:
        for sample in read_shards(finished_shards(folder)):
            if half is None or _half_of(sample) == half:
                yield face_of(sample, self.size)


def _half_of(sample: Sample) -> int:
    """0 or 1 by the person's photo, after which keys begin."""
    person = "-".join(sample.key.split("-")[:2])
    return zlib.crc32(person.encode()) % 2


def _write(out: Path, sets: dict[str, Iterator[Known]]) -> None:
    for name, pictures in sets.items():
        count = write_pictures(out / name, pictures, name not in (MARKED, UNMARKED))
        if not count:
            raise AnymarkError(f"{out / name}: not a single picture")
        print(f"{out / name}  {count} pictures")


@dataclass
class DataMarkers:
    """Make marked and unmarked pictures whose points are known."""

    what: OmitArgPrefixes[
        OmitSubcommandPrefixes[Annotated[Hands, subcommand("hands")] | Annotated[Faces, subcommand("faces")]]
    ]

    def run(self) -> int:
        """As the subcommand's."""
        return self.what.run()
