"""Photo, Body -> what the photo tells of the body's colours: itself, and once more for each side that looks like it."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, runtime_checkable

from jaxtyping import Float32
from numpy import ndarray

from img2mv3d.mesh.photographs import (
    ROOTS,
    flanks,
    half_turned_source,
    mirrored_source,
    round_share,
    without_roots,
)
from img2mv3d.mesh.sources import Source


@runtime_checkable
class Shown(Protocol):
    """What is asked of a `Body`; as it has them."""

    @property
    def field(self) -> Float32[ndarray, "N N N"]: ...
    @property
    def far(self) -> Float32[ndarray, "T T 3"]: ...
    @property
    def mirror(self) -> tuple[float, float, float, float] | None: ...
    @property
    def frontal(self) -> bool: ...
    @property
    def axis(self) -> tuple[float, float, float] | None: ...
    @property
    def handles(self) -> bool: ...


def likenesses(photo: Source, body: Shown) -> tuple[Source, list[Source]]:
    """(the photo without what would be drawn out over the flanks, the photo once more, as those sides of the body would
    show it that look like the one in the photo)"""
    if body.axis is None:
        return photo, [] if body.mirror is None else [mirrored_source(photo, body.mirror, body.far, body.frontal)]
    if not body.handles:
        return photo, [half_turned_source(photo, body.axis), *flanks(photo, body.axis)]
    share = round_share(photo, body.field, body.axis)
    photo = without_roots(photo, share, body.axis[0])
    # Between its handles it is round: there it goes on as on a thing without any, and so does the other half.
    beside = flanks(replace(photo, alpha=photo.alpha * (share < ROOTS)), body.axis)
    if body.mirror is None:
        return photo, beside
    other = mirrored_source(photo, body.mirror, body.far, body.frontal)
    return photo, [other, *beside, *(mirrored_source(flank, body.mirror) for flank in beside)]
