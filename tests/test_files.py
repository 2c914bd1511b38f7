"""Files are written whole or not at all, by one process at a time, and over nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from anymark.errors import AnymarkError
from anymark.files import LOCK, alone_in, atomic, remove_partial


def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with atomic(path, "w") as file:
        file.write("new")
        file.flush()
        assert not path.exists()
        assert len(list(tmp_path.iterdir())) == 1
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic(path, "w") as file:
            file.write("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_write_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"

    def write(letter: bytes) -> None:
        for _ in range(20):
            with atomic(path, "wb") as file:
                for _ in range(50):
                    file.write(100 * letter)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [b"a", b"b", b"c", b"d"]))
    content = path.read_bytes()
    assert content == content[:1] * 5000
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_replaced_file_hands_down_its_permissions_and_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "private.txt", tmp_path / "link.txt"
    path.write_text("old")
    path.chmod(0o600)
    link.symlink_to(path)
    with atomic(link, "w") as file:
        file.write("new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_names_as_long_as_can_be_are_written(tmp_path: Path) -> None:
    path = tmp_path / (250 * "x")
    with atomic(path, "w") as file:
        file.write("new")
    assert path.read_text() == "new"


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, message in ((tmp_path / "file" / "x", "not a directory"), (tmp_path / "none" / "x", "no such file")):
        with pytest.raises(AnymarkError, match=f"cannot write .{message}"), atomic(path, "w"):
            pass
    with pytest.raises(AnymarkError, match="cannot write"), alone_in(tmp_path / "file"):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from anymark.files import alone_in, atomic
folder = Path(sys.argv[1])
with alone_in(folder), atomic(folder / "slow.txt", "w") as file:
    file.write("partial")
    file.flush()
    print("working", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
def test_another_process_is_left_to_its_work_and_what_it_left_is_removed_once_it_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"working\n"
    with pytest.raises(AnymarkError, match="another run is at work here"), alone_in(tmp_path):
        pass
    remove_partial(tmp_path / "slow.txt")
    (partial,) = tmp_path.glob("*.tmp")
    holder.kill()
    holder.communicate()
    with alone_in(tmp_path):
        remove_partial(tmp_path / "other.txt")
        assert partial.exists()
        remove_partial(tmp_path / "slow.txt")
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
