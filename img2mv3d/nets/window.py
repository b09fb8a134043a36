"""The window of the latents in which something is drawn. All cameras stand at one elevation, so an object fills the
same rows of every view, and the front silhouette tells which.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float
from torch import Tensor

from img2mv3d.conventions import LATENT_FACTOR

MARGIN = 2  # cells round a silhouette whose latents are not yet those of plain white
STEP = 4  # a UNet that halves twice wants multiples of it


@dataclass(frozen=True)
class Window:
    """Cells [top, top + height) x [left, left + width) of latents of `whole` cells a side. The columns lie evenly about
    the middle, so that cutting and mirroring may change places."""

    top: int
    height: int
    left: int
    width: int
    whole: int

    def cut(self, latents: Float[Tensor, "*N h w"]) -> Float[Tensor, "*N kh kw"]:
        """A view of this part of latents of `whole` cells a side."""
        return latents[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def paste(self, part: Float[Tensor, "N c kh kw"], white: Float[Tensor, " c"]) -> Float[Tensor, "N c h w"]:
        """`part` in its place, with the latent of white round it."""
        out = white[None, :, None, None].repeat(len(part), 1, self.whole, self.whole)
        self.cut(out).copy_(part)
        return out

    def wide(self) -> Window:
        """The same rows, all columns."""
        return self.at_least(self.whole)

    def all(self) -> Window:
        """Everything."""
        return replace(self.wide(), top=0, height=self.whole)

    def at_least(self, columns: int) -> Window:
        """The same rows and no fewer columns than that (made a multiple of STEP), or than there are."""
        width = min(max(self.width, -(-columns // STEP) * STEP), self.whole)
        return replace(self, left=(self.whole - width) // 2, width=width)


def around(covered: Bool[Tensor, "V H W"]) -> Window:
    """The smallest window with MARGIN cells round all silhouettes (square pictures, pixels), in multiples of STEP.
    Where nothing is covered: everything."""
    whole = covered.shape[-1] // LATENT_FACTOR
    rows, columns = covered.any(dim=2).any(dim=0).nonzero(), covered.any(dim=1).any(dim=0).nonzero()
    if not len(rows):
        return Window(0, whole, 0, whole, whole)
    top = max(int(rows[0]) // LATENT_FACTOR - MARGIN, 0)
    end = min(int(rows[-1]) // LATENT_FACTOR + 1 + MARGIN, whole)
    height = min(-(-(end - top) // STEP) * STEP, whole)
    top = min(top, whole - height)
    reach = max(whole / 2 - int(columns[0]) // LATENT_FACTOR, int(columns[-1]) // LATENT_FACTOR + 1 - whole / 2)
    half = min(-(-int(reach + MARGIN) * 2 // STEP) * STEP // 2, whole // 2)
    return Window(top, height, whole // 2 - half, 2 * half, whole)
