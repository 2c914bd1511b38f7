"""Files spoilt at random, as transfers, disks, editors and attackers spoil them."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers that sizes and counts break at."""
WORDS = (b"nan", b"-inf", b"1e999", b"-1", b"0", b"99999999999999999999", b"null", b"true", b'""', b"[]", b"{}", b"x")
_NUMBER = re.compile(rb"-?\d+\.?\d*(?:[eE][-+]?\d+)?")
_TEXT = bytes(range(32, 127)) + b"\n\r\t"


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Content with one to four things wrong with it."""
    text = all(byte in _TEXT for byte in content[:512])
    ways = [_flipped, _cut, _without, _twice, _noise, _edge, *([_word, _word, _line] if text else [])]
    for _ in range(int(rng.integers(1, 5))):
        way: Callable[[bytes, np.random.Generator], bytes] = ways[int(rng.integers(len(ways)))]
        content = way(content, rng) if content else rng.bytes(16)
    return content


def _span(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + int(rng.integers(1, 2 + min(len(content) // 4, 4096))))


def _flipped(content: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(content)
    for at in rng.integers(len(out), size=int(rng.integers(1, 9))):
        out[at] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content)))]


def _without(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + content[end:]


def _twice(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = _span(content, rng)
    return content[:end] + content[start:]


def _noise(content: bytes, rng: np.random.Generator) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + rng.bytes(end - start) + content[end:]


def _edge(content: bytes, rng: np.random.Generator) -> bytes:
    """A number that something breaks at, in two, four or eight bytes of either order."""
    width, order = int(rng.choice([1, 2, 4, 8])), "little" if rng.random() < 0.5 else "big"
    number = int(rng.choice(EDGES)) % 256**width
    start = int(rng.integers(max(1, len(content) - width)))
    return content[:start] + number.to_bytes(width, order) + content[start + width :]


def _word(content: bytes, rng: np.random.Generator) -> bytes:
    """Another word in the place of a number."""
    numbers = list(_NUMBER.finditer(content))
    if not numbers:
        return _noise(content, rng)
    match = numbers[int(rng.integers(len(numbers)))]
    return content[: match.start()] + WORDS[int(rng.integers(len(WORDS)))] + content[match.end() :]


def _line(content: bytes, rng: np.random.Generator) -> bytes:
    """A line less, or one twice."""
    lines = content.splitlines(keepends=True)
    at = int(rng.integers(len(lines)))
    return b"".join(lines[:at] + lines[at : at + 1] * int(2 * rng.integers(2)) + lines[at + 1 :])
