"""Model folders: a card.json beside the ONNX files it vouches for with their SHA-256."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from anymark.errors import AnymarkError

MODELS = Path(__file__).parents[1] / "models"
"""The models that ship in the package."""

CARD_FORMATS = {"landmarks": 2, "locator": 1, "dense": 1, "markers": 1}
"""Kind of model -> the format of its card."""

_QUIET = 4  # onnxruntime's log level "fatal only": its errors reach us as exceptions, and one line is to be printed


class Model:
    """A verified model folder.

    Args:
        name_or_folder: A model of the package by name, or a folder.
        kind: What its card must say, one of `CARD_FORMATS`.
        providers: onnxruntime's execution providers, best first; None is the CPU.
        threads: Threads of a network; None is all cores.

    Raises:
        AnymarkError: no such model, a damaged card, or another kind of model than asked for.
    """

    def __init__(
        self,
        name_or_folder: str | os.PathLike[str],
        kind: str,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        self.folder = _find(name_or_folder, kind)
        self.card = _read_card(self.folder / "card.json", kind)
        self._providers = list(providers) if providers is not None else ["CPUExecutionProvider"]
        available = onnxruntime.get_available_providers()
        for provider in self._providers:
            if provider not in available:
                raise AnymarkError(f"{provider}: onnxruntime has no such provider here; it has {', '.join(available)}")
        self._threads = threads

    def need(self, key: str) -> Any:
        """A value of the card; dots in the key lead into its objects.

        Raises:
            AnymarkError: the card lacks it.
        """
        value: Any = self.card
        for name in key.split("."):
            if not isinstance(value, dict) or name not in value:
                raise AnymarkError(f"{self.folder / 'card.json'}: lacks {key!r}")
            value = value[name]
        return value

    def number(self, key: str, default: float | None = None, above: float = 0, most: float = 1e6) -> float:
        """A number of the card within bounds; `default`, if there is one, where the card has no such key.

        Raises:
            AnymarkError: the card lacks it without a default, or it is something else.
        """
        value = self.card.get(key, default) if default is not None else self.need(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= most:  # NaN fails too
            said = f"must be a number above {above:g}, at most {most:g}, not {value!r:.40}"
            raise AnymarkError(f"{self.folder / 'card.json'}: {key!r} {said}")
        return float(value)

    def whole_number(self, key: str, most: int) -> int:
        """A whole number of the card, from 1 to `most`.

        Raises:
            AnymarkError: the card lacks it, or it is something else.
        """
        value = self.number(key, most=most)
        if value != int(value):
            raise AnymarkError(f"{self.folder / 'card.json'}: {key!r} must be whole, not {value:g}")
        return int(value)

    def sha256(self, file: str) -> str:
        """What the card says that a file's SHA-256 is.

        Raises:
            AnymarkError: the card has no table of files.
        """
        entry = self.need("files").get(file)
        return str(entry.get("sha256")) if isinstance(entry, dict) else "none"

    def network(self, file: str, outputs: Sequence[str], small: bool = False) -> Network:
        """One of the model's networks, read and checked against the card's SHA-256.

        Args:
            file: Its name in the folder.
            outputs: The names of the outputs that are wanted.
            small: It runs on one thread whatever the model was given: to wake others would take longer.

        Raises:
            AnymarkError: the file is missing, empty, not the one of the card, or not a network with these outputs.
        """
        path = self.folder / file
        wanted = self.sha256(file)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise AnymarkError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        if not content:
            raise AnymarkError(f"{path}: empty file")
        found = hashlib.sha256(content).hexdigest()
        if found != wanted:
            raise AnymarkError(f"{path}: SHA-256 is {found[:12]}..., the card says {wanted[:12]}...")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        # what a network keeps in other files is not what the card vouches for: there is none in a folder that is none
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        threads = 1 if small else self._threads
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(content, options, providers=self._providers)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise AnymarkError(f"{path}: onnxruntime cannot load it ({_first_line(error)})") from None
        missing = [name for name in self._providers if name not in session.get_providers()]
        if missing:  # onnxruntime would go on with the processor and say nothing
            raise AnymarkError(f"{missing[0]}: onnxruntime has it, but it does not start on this machine")
        names = [output.name for output in session.get_outputs()]
        if not set(outputs) <= set(names):
            raise AnymarkError(f"{path}: gives {', '.join(names)}, not {', '.join(outputs)}")
        return Network(path, session, list(outputs))


class Network:
    """A loaded ONNX file with named inputs and outputs."""

    def __init__(self, path: Path, session: onnxruntime.InferenceSession, outputs: list[str]) -> None:
        self.path = path
        self._session = session
        self._outputs = outputs

    def __call__(self, **inputs: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
        """Run it; arrays in by name, arrays out in the order that `Model.network` was given.

        Raises:
            AnymarkError: the network refuses these inputs.
        """
        try:
            results: Any = self._session.run(self._outputs, inputs)
        except Exception as error:
            raise AnymarkError(f"{self.path}: {_first_line(error)}") from None
        return results


def available_models(kind: str) -> list[str]:
    """Names of the models of one kind that ship in the package."""
    cards = sorted(MODELS.glob("*/card.json"))
    return [card.parent.name for card in cards if json.loads(card.read_bytes()).get("kind") == kind]


def kind_of(name_or_folder: str | os.PathLike[str]) -> str | None:
    """What a model's card says that it is; None where there is no model, or its card says nothing."""
    for folder in (MODELS / name_or_folder, Path(name_or_folder)):
        try:
            return str(json.loads((folder / "card.json").read_text("utf-8")).get("kind"))
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
    return None


def _find(name_or_folder: str | os.PathLike[str], kind: str) -> Path:
    folder = Path(name_or_folder)
    # os.path rather than pathlib, whose questions raise where a name is too long or a folder may not be looked into
    # a name is a bare word: ./small is a folder here, whatever ships
    if os.fspath(name_or_folder) == folder.name and os.path.isfile(MODELS / folder / "card.json"):
        return MODELS / folder
    if os.path.isfile(folder / "card.json"):
        return folder
    if os.path.isdir(folder):
        raise AnymarkError(f"{folder}: not a model (no card.json)")
    known = available_models(kind)
    near = difflib.get_close_matches(str(name_or_folder), known, n=3, cutoff=0.4) or known
    raise AnymarkError(f"{name_or_folder}: no such model" + (f"; did you mean {', '.join(near)}?" if near else ""))


def _read_card(path: Path, kind: str) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AnymarkError(f"{path}: not a model card ({_first_line(error)})") from None
    if not isinstance(card, dict) or not isinstance(card.get("files", {}), dict):
        raise AnymarkError(f"{path}: not a model card")
    if card.get("kind") != kind:
        raise AnymarkError(f"{path}: a model of kind {card.get('kind')!r}, not {kind!r}")
    if card.get("format") != CARD_FORMATS[kind]:
        raise AnymarkError(f"{path}: format {card.get('format')!r}; this anymark reads {CARD_FORMATS[kind]}")
    return card


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
