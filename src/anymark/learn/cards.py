"""What a model card says of the data that a model learned from: what is stated, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from anymark.engine.samples import RECIPE
from anymark.errors import AnymarkError
from anymark.files import read_json
from anymark.learn.data.heads import FACES, WHOLE
from anymark.learn.data.photos import DATA_CARDS
from anymark.photo_files import CARD_KEYS, LABELS, read_card

PANORAMAS = {"what": "light and backgrounds, by Poly Haven", "licence": "CC0"}
HANDS = {"what": "hands, WebXR input profiles", "licence": "MIT, (c) 2019 Amazon"}


def data_entries(photos: Path, sources: Iterable[str], known_sources: bool) -> list[dict[str, str]]:
    """Name, content and licence of each photo set, once each; parts of the whole photos under their sources' names.

    A set's own words (`read_card`) come first, then `DATA_CARDS` where the recipe says that the sets are those.

    Raises:
        AnymarkError: a set's labels cannot be read.
    """
    entries: list[dict[str, str]] = []
    for source in sources:
        whole = source == WHOLE or source.startswith(f"{WHOLE}-")
        name = source.removeprefix(f"{WHOLE}-")
        own = read_card(photos / WHOLE / FACES if whole else photos / source / LABELS)
        known = DATA_CARDS.get(name, {}) if known_sources else {}
        entry = stated(name, own or known)
        if entry not in entries:
            entries.append(entry)
    return entries


def shard_entries(
    photos: Path, folders: Iterable[str], known_sources: bool, so_far: Sequence[dict[str, str]]
) -> list[dict[str, str]]:
    """What sets of `anymark data build` add to the entries so far: their photo sets, panoramas and hands.

    Raises:
        AnymarkError: a folder holds no such set, or a photo set's labels cannot be read.
    """
    entries: list[dict[str, str]] = []
    for folder in folders:
        try:
            recipe = read_json(Path(folder) / RECIPE, "a recipe")
            preset, sources = recipe["preset"], list(recipe["sources"])
        except (AnymarkError, KeyError, TypeError):
            raise AnymarkError(f"{folder}: no data set of anymark data build (no {RECIPE} of one)") from None
        found = data_entries(photos, sources, known_sources)
        if preset != "photos":
            found.append(stated("panoramas", PANORAMAS if known_sources else {"what": "light and backgrounds"}))
            found.append(stated("hands", HANDS if known_sources else {"what": "hands"}))
        entries += [entry for entry in found if entry not in (*so_far, *entries)]
    return entries


def stated(name: str, said: dict[str, str]) -> dict[str, str]:
    """An entry of a card's `data`."""
    return {"name": name, **{key: said.get(key, "not stated") for key in CARD_KEYS}}
