"""The command line's table, and how little is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

import anymark
from anymark.cli import COMMANDS, Entry, main


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_anymark_imports_next_to_nothing() -> None:
    heavy = "{'torch', 'onnxruntime', 'PIL', 'numpy', 'tyro'}"
    assert python(f"import anymark, sys; print({heavy} & set(sys.modules))") == "set()\n"


def test_run_time_never_imports_torch() -> None:
    code = (
        "import sys, anymark, anymark.cli\n"
        "anymark.Detector, anymark.draw, anymark.load_layout('ibug68')\n"
        "assert anymark.cli.main(['detect', '--help']) == 0\n"
        "print([name for name in ('torch', 'timm', 'lightning', 'skimage', 'scipy') if name in sys.modules])"
    )
    assert python(code).splitlines()[-1] == "[]"


def test_no_module_outside_of_learn_imports_torch() -> None:
    code = (
        "import importlib, pkgutil, sys, anymark\n"
        "names = [module.name for module in pkgutil.walk_packages(anymark.__path__, 'anymark.')]\n"
        "for name in names:\n"
        "    if not name.startswith('anymark.learn'):\n"
        "        try:\n"
        "            importlib.import_module(name)\n"
        "        except ModuleNotFoundError as error:\n"
        "            assert error.name not in ('torch', 'timm', 'lightning'), (name, error)\n"
        "print(len(names) > 200, [name for name in ('torch', 'timm', 'lightning') if name in sys.modules])"
    )
    assert python(code) == "True []\n"


def test_every_public_name_is_there() -> None:
    assert len(anymark.__all__) <= 20
    assert set(anymark.__all__) <= set(dir(anymark))
    for name in anymark.__all__:
        assert getattr(anymark, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = anymark.no_such_name


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"], ["-h"]):
        assert main(argv) == 0
        out = capsys.readouterr().out
        assert all(f"  {name} " in out for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"anymark {anymark.__version__}\n"


@pytest.mark.parametrize(("name", "hint"), [("detct", "did you mean detect?"), ("zzzzz", "there are detect")])
def test_an_unknown_command(capsys: pytest.CaptureFixture[str], name: str, hint: str) -> None:
    assert main([name]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"anymark: {name}: no such command; {hint}")
    assert len(err.splitlines()) == 1


def test_help_of_detect_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(option in out for option in ("FILES", "--layout", "--point", "--out", "--json", "--csv", "--max-heads"))
    assert "--search-px" in out
    assert "about 20 px wide" in " ".join(out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("detect a.jpg --layut x", "--layut, x; did you mean --layout?"),
        ("detect a.jpg --max-heads many", "--max-heads: .*'many'"),
        ("detect a.jpg --search-px=1.5", "--search-px: .*'1.5'"),
        ("detect a.jpg --json", "'--json'"),
        ("eval", "300w, .*facelab189, photos"),
        ("eval 300w", "--root"),
        ("eval 300w --root a --subset none", "'none'.*'challenging'"),
        ("export", "RUN.*OUT"),
        ("demo a b", "Unrecognized options: b"),
    ],
)
def test_options_that_a_command_does_not_take_are_named_in_one_line(
    capsys: pytest.CaptureFixture[str], argv: str, said: str
) -> None:
    assert main(argv.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"anymark: .*{said}.* \(anymark {argv.split()[0]} --help says more\)\n", err)


@pytest.mark.parametrize(
    ("name", "usage"),
    [("detect", "FILES..."), ("demo", "[FILE] [--layout"), ("train", "RECIPE"), ("export", "RUN OUT [--name NAME]")],
)
def test_help_names_what_is_wanted(capsys: pytest.CaptureFixture[str], name: str, usage: str) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert usage in out.splitlines()[0]
    assert "{None}" not in out
    assert "(default: )" not in out


@dataclass
class Needy:
    """A command whose library is not installed."""

    def run(self) -> int:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")


def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "train", Entry(f"{__name__}:Needy", "", extra="train"))
    assert main(["train"]) == 2
    assert capsys.readouterr().err == "anymark: train needs torch: pip install 'anymark[train]'\n"
    monkeypatch.setitem(COMMANDS, "train", Entry(f"{__name__}:Needy", ""))
    with pytest.raises(ModuleNotFoundError):  # not an extra's: a bug, to be seen whole
        main(["train"])


@dataclass
class Stopped:
    """A command that Ctrl-C hits while a library loads."""

    def run(self) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as stop:
            raise ImportError("initialization failed") from stop


@dataclass
class Unlucky:
    """A command whose library is broken."""

    def run(self) -> int:
        raise ImportError("initialization failed")


def test_stopping_while_a_library_loads_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "eval", Entry(f"{__name__}:Stopped", ""))
    assert main(["eval"]) == 130
    assert capsys.readouterr().err == "anymark: stopped\n"
    monkeypatch.setitem(COMMANDS, "eval", Entry(f"{__name__}:Unlucky", ""))
    with pytest.raises(ImportError):
        main(["eval"])


def test_the_command_exits_with_its_code() -> None:
    done = subprocess.run([sys.executable, "-m", "anymark.cli", "detect"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "anymark: no photos given: anymark detect FILES...\n")


def test_whoever_reads_may_go_before_all_is_said() -> None:
    command = [sys.executable, "-m", "anymark.cli", "layout", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == "anymark: stopped: nobody reads what is printed\n"
    assert process.returncode == 2
