"""`anymark eval`: score a detector on a benchmark; a module each. Those that score annotated faces derive from
`anymark.commands.eval.evaluation.Evaluation`; all that is asked of a subcommand is `run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from anymark.commands.eval.across import Across
from anymark.commands.eval.aflw2000_3d import Aflw20003d
from anymark.commands.eval.anatomy import Anatomy
from anymark.commands.eval.capture import Capture
from anymark.commands.eval.cofw68 import Cofw68
from anymark.commands.eval.face_synthetics import FaceSynthetics
from anymark.commands.eval.facelab189 import Facelab189
from anymark.commands.eval.headtrack import Headtrack
from anymark.commands.eval.markers import Markers
from anymark.commands.eval.painted import Painted
from anymark.commands.eval.pairs import Pairs
from anymark.commands.eval.photos import Photos
from anymark.commands.eval.points import Points
from anymark.commands.eval.pose import Pose
from anymark.commands.eval.samples import Samples
from anymark.commands.eval.segment import Segment
from anymark.commands.eval.sigma import Sigma
from anymark.commands.eval.stability import Stability
from anymark.commands.eval.three_hundred_vw import ThreeHundredVW
from anymark.commands.eval.three_hundred_w import ThreeHundredW
from anymark.commands.eval.video import Video
from anymark.commands.eval.visibility import Visibility
from anymark.commands.eval.wflw import Wflw


@dataclass
class Eval:
    """Score a landmark model on a benchmark; the last line is its NME."""

    benchmark: OmitArgPrefixes[
        OmitSubcommandPrefixes[
            Annotated[ThreeHundredW, subcommand("300w")]
            | Annotated[ThreeHundredVW, subcommand("300vw")]
            | Annotated[Wflw, subcommand("wflw")]
            | Annotated[Cofw68, subcommand("cofw68")]
            | Annotated[Aflw20003d, subcommand("aflw2000-3d")]
            | Annotated[FaceSynthetics, subcommand("facesynthetics")]
            | Annotated[Facelab189, subcommand("facelab189")]
            | Annotated[Photos, subcommand("photos")]
            | Annotated[Samples, subcommand("samples")]
            | Annotated[Pose, subcommand("pose")]
            | Annotated[Visibility, subcommand("visibility")]
            | Annotated[Sigma, subcommand("sigma")]
            | Annotated[Stability, subcommand("stability")]
            | Annotated[Video, subcommand("video")]
            | Annotated[Points, subcommand("points")]
            | Annotated[Markers, subcommand("markers")]
            | Annotated[Segment, subcommand("segment")]
            | Annotated[Anatomy, subcommand("anatomy")]
            | Annotated[Capture, subcommand("capture")]
            | Annotated[Painted, subcommand("painted")]
            | Annotated[Pairs, subcommand("pairs")]
            | Annotated[Across, subcommand("across")]
            | Annotated[Headtrack, subcommand("headtrack")]
        ]
    ]

    def run(self) -> int:
        """As the subcommand's."""
        return self.benchmark.run()
