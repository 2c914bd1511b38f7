"""Spoilt files of all kinds: read, or refused in one line. scripts/fuzz_readers.py tries very many more."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from anymark.errors import AnymarkError
from tests.hardening.mutations import mutated
from tests.hardening.readers import READERS

TRIES = 25


@pytest.mark.parametrize("name", READERS)
def test_spoilt_files_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    rng = np.random.default_rng(list(name.encode()))
    said: list[AnymarkError] = []
    for suffix in reader.suffixes:
        whole = tmp_path / f"whole{suffix}"
        reader.write(whole)
        reader.read(whole)
        spoilt = tmp_path / f"spoilt{suffix}"
        for companion in tmp_path.glob("whole.*"):  # pictures beside labels
            spoilt.with_suffix(companion.suffix).write_bytes(companion.read_bytes())
        for _ in range(TRIES):
            spoilt.write_bytes(mutated(whole.read_bytes(), rng))
            try:
                with warnings.catch_warnings(action="ignore"):
                    reader.read(spoilt)
            except AnymarkError as error:
                said.append(error)
    assert len(said) > TRIES // 5
    assert all(spoilt.stem in str(error) or "whole" in str(error) for error in said)  # what is wrong is named
