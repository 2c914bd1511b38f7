"""`anymark data`: photos and labels to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from anymark.commands.data_build import Build
from anymark.commands.data_label import Label
from anymark.commands.data_markers import DataMarkers
from anymark.commands.data_show import Show
from anymark.commands.data_tracks import DataTracks


@dataclass
class Data:
    """Make photos and labels to learn from."""

    what: OmitArgPrefixes[
        OmitSubcommandPrefixes[
            Annotated[Label, subcommand("label")]
            | Annotated[Build, subcommand("build")]
            | Annotated[Show, subcommand("show")]
            | Annotated[DataTracks, subcommand("tracks")]
            | Annotated[DataMarkers, subcommand("markers")]
        ]
    ]

    def run(self) -> int:
        """As the subcommand's."""
        return self.what.run()
