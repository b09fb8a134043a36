"""The cross-view decoders that are compared: ours, the paper's, and each with one part left out or done otherwise.

In: a name. Out: `Variant`. Why here: training, tables and the command line mean the same by the same word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

AGREEMENT = 0.5  # weight of the loss on disagreement, beside 1 of the colours
FEATURES = 0.02  # on three bands as a plain decoder shows them: 0.3 to 0.9 of the loss on colours


@dataclass(frozen=True)
class Variant:
    """net: numbers for `CrossViewDecoder` beside those of its base. attention: whether it looks across views at all.
    noise: kind of the depth noise, see `corruption.depth_noise`; "fitted": see `fitted`. growing: its amplitude
    is drawn anew for every step and grows; else it is the paper's, always. agreement: weight of
    `agreement_loss`, forgiving: only where latents are spoilt; features: weight of `feature_loss`. rough: outlines are
    off, too, in most steps, see `corruption.rough_outlines`.
    """

    name: str
    about: str
    net: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    attention: bool = True
    noise: str = "structured"
    growing: bool = True
    agreement: float = AGREEMENT
    forgiving: bool = False
    features: float = 0.0
    rough: bool = False


# the whole line instead of a piece of it: where the paper has it, below 128 px, with as many points as memory allows
WHOLE_LINE = {"points": (32, 32, 0, 0), "whole_line": True}
BEST = "rough-outlines"  # what mini has and what is trained unless another is asked for
PAPER = {"carry": False, "occlusion": False}
START = 0.01  # adds about a tenth of what it is added to

VARIANTS = {
    v.name: v
    for v in (
        Variant("ours", "everything, told true outlines in training"),
        Variant("no-epipolar", "photo branches only, nothing looks into other views", attention=False),
        Variant("full-epipolar", "the whole line at 32 and 64 px instead of a piece round the depth", WHOLE_LINE),
        Variant("no-depth-noise", "trained on exact depth", noise="none"),
        Variant("full-noise", "depth is off by all of the paper's amplitude from the first step", growing=False),
        Variant("independent-noise", "every pixel's depth is off on its own", noise="independent"),
        Variant("coarse-only", "the piece of the line at 32 and 64 px alone", {"points": (7, 7, 0, 0)}),
        Variant("no-carry", "the photo's pixels do not travel", {"carry": False}),
        Variant("no-visibility", "the attention is not told what is hidden", {"occlusion": False}),
        Variant("front-to-all", "the photo's pyramid to every view, not to the front view alone", {"front_to": "all"}),
        Variant("mean-mixing", "views are averaged, not known by their place", {"by_slot": False}),
        Variant("open-start", "the new parts start a little open, not closed", {"start": START}),
        Variant("no-agreement", "without the loss on disagreement", agreement=0.0),
        Variant("forgiving", "the loss on disagreement only where latents are spoilt", forgiving=True),
        Variant("fitted-noise", "depth is off as fits to such views are", noise="fitted"),
        Variant("rough-outlines", "outlines are off, too, as far as those of fits are", rough=True),
        Variant("feature-loss", "with a loss on what EfficientNet-Lite0 sees", features=FEATURES),
        Variant("paper", "the paper's parts alone, our loss on colours", PAPER, agreement=0.0),
        Variant("paper-no-epipolar", "its front condition alone", PAPER, attention=False, agreement=0.0),
    )
}
