"""A few of many."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.spread import spread


@pytest.mark.parametrize("available", [0, 1, 2, 5, 12, 100])
def test_as_many_as_wanted_or_as_there_are_and_none_twice(available: int) -> None:
    for count in range(available + 3):
        found = spread(available, count)
        assert len(found) == min(count, available)
        assert (np.diff(found) > 0).all()
        assert ((found >= 0) & (found < available)).all()


def test_evenly_from_the_first_to_the_last() -> None:
    assert spread(9, 3).tolist() == [0, 4, 8]
    assert spread(100, 1).tolist() == [0]
    assert set(np.diff(spread(1000, 37))) <= {27, 28}
