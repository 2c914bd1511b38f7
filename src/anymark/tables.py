"""Recipes' tables: TOML into dataclasses, with what is wrong said in one line."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from anymark.errors import AnymarkError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)
else:
    T = TypeVar("T")


ABOVE_0 = math.ulp(0.0)
"""The least number above 0, as a bound."""


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file.

    Raises:
        AnymarkError: it is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # numbers may be too long, and tables too deep
        raise AnymarkError(f"{path}: not a TOML file ({error})") from error


def from_table(kind: type[T], table: dict[str, Any], where: str) -> T:
    """Build a config dataclass from a TOML table.

    Raises:
        AnymarkError: an unknown key, with the nearest known ones, or a value that is of the wrong type or range.
    """
    known = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 3)
            advice = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
            raise AnymarkError(f"{where}: unknown key {key!r}; {advice}")
        hint = known[key]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise AnymarkError(f"{where}: {key} must be a table")
            values[key] = from_table(hint, value, f"{where}: {key}")
        else:
            values[key] = _checked(value, hint, f"{where}: {key}")
    try:
        return kind(**values)
    except AnymarkError as error:
        raise AnymarkError(f"{where}: {error}") from None


def check_numbers(config: object, *keys: str, least: float = -math.inf, most: float = math.inf) -> None:
    """That fields of a config, numbers or tuples or tables of them, are finite and in a range.

    Raises:
        AnymarkError: one is not.
    """
    for key in keys:
        value = getattr(config, key)
        if isinstance(value, dict):
            parts = [(f"{key}.{name}", number) for name, number in value.items()]
        else:
            parts = [(key, number) for number in (value if isinstance(value, tuple) else (value,))]
        for name, number in parts:
            if not (math.isfinite(number) and least <= number <= most):
                raise AnymarkError(f"{name}: {number!r} must be {_range_words(least, most)}")


def check_ends(config: object, *keys: str) -> None:
    """That pairs of a config, the ends of ranges, are in their order.

    Raises:
        AnymarkError: one is not.
    """
    for key in keys:
        low, high = getattr(config, key)
        if low > high:
            raise AnymarkError(f"{key}: from {low:g} to {high:g} is no range")


def _range_words(least: float, most: float) -> str:
    words = ["finite"] * (most == math.inf)
    if least > -math.inf:
        words.append("above 0" if least == ABOVE_0 else f"at least {least:g}")
    if most < math.inf:
        words.append(f"at most {most:g}")
    return " and ".join(words)


def _checked(value: Any, hint: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in args:
            raise AnymarkError(f"{where}: {value!r} is none of {', '.join(map(repr, args))}")
        return value
    if origin is dict:
        if not isinstance(value, dict):
            raise AnymarkError(f"{where}: must be a table")
        return {str(k): _checked(v, args[1], f"{where}.{k}") for k, v in value.items()}
    if origin is tuple:
        if not isinstance(value, list):
            raise AnymarkError(f"{where}: must be a list")
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise AnymarkError(f"{where}: must be a list of {len(args)}, not of {len(value)}")
        return tuple(_checked(v, args[0], f"{where}[{i}]") for i, v in enumerate(value))
    options = tuple(a for a in args if a is not type(None)) or (hint,)
    if len(options) > 1 and any(map(typing.get_origin, options)):
        return _first_that_fits(value, options, where)
    if float in options and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, options) or (isinstance(value, bool) and bool not in options):
        raise AnymarkError(f"{where}: {value!r} is not {' or '.join(o.__name__ for o in options)}")
    return value


def _first_that_fits(value: Any, options: tuple[Any, ...], where: str) -> Any:
    reasons = []
    for option in options:
        try:
            return _checked(value, option, where)
        except AnymarkError as error:
            reasons.append(str(error).removeprefix(f"{where}: "))
    raise AnymarkError(f"{where}: {'; or '.join(reasons)}")
