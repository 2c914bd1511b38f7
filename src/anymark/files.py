"""Files in and out: what is no file of its kind is named; each is written whole or not at all, none over another; and
one process at a time works in a folder."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

from anymark.errors import AnymarkError

LOCK = ".lock"
"""The file by whose lock one process at a time works in a folder."""


@contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Whatever goes wrong in the block, as what is read is missing, damaged or something else, is said of the file.

    Args:
        what: that the file should be, as in "a track".

    Raises:
        AnymarkError: it cannot be read, or is none.
    """
    try:
        yield
    except AnymarkError as error:
        if str(error).startswith(str(path)):
            raise
        raise AnymarkError(f"{path}: {error}") from None
    except ImportError:
        raise
    except MemoryError:
        raise AnymarkError(f"{path}: needs more memory than there is") from None
    except Exception as error:  # readers of damaged files raise whatever they stumble over
        if isinstance(error, OSError) and error.strerror:
            raise AnymarkError(f"{path}: {error.strerror.lower()}") from None
        said = (str(error).splitlines() or [""])[0].rstrip(":") or type(error).__name__
        said = "no numbers" if "allow_pickle" in said else said  # numpy's advice is to run what is in it
        raise AnymarkError(f"{path}: not {what} ({said})") from None


@contextmanager
def atomic(path: Path, mode: Literal["w", "wb"]) -> Iterator[IO[Any]]:
    """A file that appears under its name, whole, when the block ends well, and not at all otherwise.

    A link stays one: the file that it names is written, and a file that is replaced hands down its permissions. Devices
    and pipes cannot be replaced; they are written to as the block goes on.

    Raises:
        AnymarkError: the file cannot be written.
    """
    replace = os.path.isfile(path) or not os.path.exists(path)
    target = Path(os.path.realpath(path)) if replace else path  # a pipe's real path (/dev/stdout) is no path
    written = target.with_name(f"{_partial(target)}{secrets.token_hex(6)}.tmp") if replace else target
    try:
        text: dict[str, Any] = {} if mode == "wb" else {"encoding": "utf-8", "newline": ""}
        with open(written, mode, opener=_new if replace else None, **text) as file:
            if replace:
                _lock(file)
                with suppress(OSError):  # it is new, or the drive knows no permissions
                    os.chmod(written, target.stat().st_mode & 0o777)
            yield file
            if replace:
                file.flush()
                os.replace(written, target)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        if replace:
            with suppress(OSError):  # gone by now, or never there
                written.unlink()


def remove_partial(target: Path) -> None:
    """What `atomic` had written of a file when its process was killed; it may be as large as that."""
    place = Path(os.path.realpath(target))
    with suppress(OSError):  # there is no such folder yet, or another process still writes
        for path in place.parent.glob(f"{glob.escape(_partial(place))}*.tmp"):
            with path.open("ab") as file:
                if _lock(file):
                    path.unlink()


def cannot_write(path: str | os.PathLike[str], error: OSError) -> AnymarkError:
    """What to say where a file or folder cannot be written."""
    return AnymarkError(f"{path}: cannot write ({(error.strerror or str(error)).lower()})")


def make_folder(folder: Path) -> None:
    """A folder, with those it lies in; it may be there.

    Raises:
        AnymarkError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While the block lasts, no other process works in a folder, which is made if it is not there; where the system has
    no locks, that is not known.

    Raises:
        AnymarkError: one does, or the folder cannot be written to.
    """
    make_folder(folder)
    try:
        file = (folder / LOCK).open("ab")
    except OSError as error:
        raise cannot_write(folder, error) from None
    with file:
        if not _lock(file):
            raise AnymarkError(f"{folder}: another run is at work here")
        yield


def _lock(file: IO[Any]) -> bool:
    """Lock an open file for as long as it is open; False where another process has it."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network drive that knows no locks
        pass
    return True


def _new(path: str, flags: int) -> int:
    """Open a file that is not there: no one else's is written to, nor where a link leads that someone has laid."""
    return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)


def _partial(target: Path) -> str:
    """How the name of a file begins that is not whole yet: short, as the file's own may be as long as a name can be."""
    return f".anymark-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:10]}-"


def read_json(path: Path, what: str) -> dict[str, Any]:
    """One JSON object.

    Args:
        what: that the file should be.

    Raises:
        AnymarkError: it is missing, damaged or something else.
    """
    with reading(path, what):
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no object")
        return content


def write_json(path: Path, content: Mapping[str, Any], indent: int | None = None) -> None:
    """One JSON object.

    Raises:
        AnymarkError: the file cannot be written.
    """
    with atomic(path, "w") as file:
        file.write(json.dumps(content, indent=indent, allow_nan=False) + "\n")


def shared_folder(given: Path | None, name: str, option: str) -> Path:
    """A folder of shared data: the one given, else `name` beside $ANYMARK_ASSETS, else ../shared/`name`.

    Raises:
        AnymarkError: there is no such folder.
    """
    if given is None:
        assets = Path(os.environ.get("ANYMARK_ASSETS") or "../shared/assets")
        given = assets if name == "assets" else assets.parent / name
    if not given.is_dir():
        raise AnymarkError(f"{given}: no such folder (give {option})")
    return given


def check_writable(targets: Sequence[Path]) -> None:
    """That files to be written have their folders, are no folders themselves and are as many as there are names.

    Raises:
        AnymarkError: it is not so.
    """
    for path in targets:
        check_file(path)
    check_targets(targets)


def check_file(path: Path, made: Path | None = None) -> None:
    """That a file can be at a path: it is no folder, and lies in one, which may be `made` later.

    Raises:
        AnymarkError: it cannot.
    """
    folder = path.absolute().parent
    to_come = () if made is None else (made.absolute(), *made.absolute().parents)
    if path.is_dir():
        raise AnymarkError(f"{path}: cannot write (is a folder)")
    if not folder.is_dir() and folder not in to_come:
        raise AnymarkError(f"{path}: cannot write (its folder does not exist)")


def check_targets(targets: Iterable[Path], inputs: Iterable[Path] = ()) -> None:
    """That each file to be written is another one than the rest, and none that is read.

    Raises:
        AnymarkError: a file would be written over.
    """
    read, written = {os.path.realpath(path) for path in inputs}, set[str]()
    for target in targets:
        place = os.path.realpath(target)
        if place in read:
            raise AnymarkError(f"{target}: would overwrite what is read")
        if place in written:
            raise AnymarkError(f"{target}: is to be written twice, one over the other")
        written.add(place)
