"""What a model card says of the data that a model learned from: what is stated, and no more."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anymark.evaluate.photo_files import CARD_KEYS, LABELS, read_card
from anymark.learn.data.heads import FACES, WHOLE
from anymark.learn.data.photos import DATA_CARDS

PANORAMAS = {"what": "backgrounds, by Poly Haven", "licence": "CC0"}


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


def stated(name: str, said: dict[str, str]) -> dict[str, str]:
    """An entry of a card's `data`."""
    return {"name": name, **{key: said.get(key, "not stated") for key in CARD_KEYS}}
