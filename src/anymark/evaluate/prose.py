"""The report of a folder of measurements: prose by hand, numbers out of the JSON files beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anymark.errors import AnymarkError
from anymark.files import reading

SOURCE, REPORT = "report.md", "README.md"
_NUMBER = re.compile(r"\{\{(.+?)\}\}")
_STEP = " > "


def fill(folder: Path) -> str:
    """The text of `SOURCE`, its numbers filled in.

    `{{pose > pose: mean errors > all > rotation : .2f}}` is a number of pose.json. Steps are keys on the way to it, in
    their order, whole or a part of them; levels may be left out as long as one number answers. After the last colon
    stands a format as Python has it; one that ends in % shows a fraction in percent, without the sign.

    Raises:
        AnymarkError: the text or a file is missing or damaged, no number answers or several do, or a format is none.
    """
    source = folder / SOURCE
    with reading(source, "a text"):
        text = source.read_text("utf-8")
    files: dict[str, Any] = {}

    def number(match: re.Match[str]) -> str:
        path, _, kind = match[1].rpartition(" : ")
        name, *steps = (step.strip() for step in path.split(_STEP))
        where = f"{source}: {{{{{match[1]}}}}}"
        if not steps:
            raise AnymarkError(f"{where}: FILE > KEY > ... : FORMAT is needed")
        if name not in files:
            place = folder / f"{name}.json"
            with reading(place, "a file of measurements"):
                files[name] = json.loads(place.read_text("utf-8"))
        try:
            value = find(files[name], steps)
            return f"{100 * value:{kind[:-1]}}" if kind.endswith("%") else f"{value:{kind}}"
        except (ValueError, TypeError) as error:
            raise AnymarkError(f"{where}: {error}") from None

    return _NUMBER.sub(number, text)


def find(content: Any, steps: list[str]) -> Any:
    """The one number or text at the end of some steps: of those whose keys have them, the one with most of them to the
    letter.

    Raises:
        AnymarkError: there is none, or there are several.
    """
    found = list(_ways(content, steps, (), 0))
    most = max((exact for _, exact, _ in found), default=0)
    best = [(way, value) for way, exact, value in found if exact == most]
    if len(best) != 1:
        said = ", ".join(_STEP.join(way) for way, _ in best[:3])
        raise AnymarkError(f"{len(best)} numbers answer{f': {said}' if said else ''}")
    return best[0][1]


def _ways(
    content: Any, steps: list[str], way: tuple[str, ...], exact: int
) -> Iterator[tuple[tuple[str, ...], int, Any]]:
    """Ways to all leaves whose keys have the steps in them, the last one at the leaf; and how many to the letter."""
    if not isinstance(content, dict):
        if not steps and not isinstance(content, list):
            yield way, exact, content
        return
    if not steps:
        return
    for key, value in content.items():
        if steps[0] in key:
            yield from _ways(value, steps[1:], (*way, key), exact + (steps[0] == key))
        if isinstance(value, dict):
            yield from _ways(value, steps, (*way, key), exact)
