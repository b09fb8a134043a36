"""Latents of any generator, and the photo that it was given -> `Latents` and `Subject`, where ours begin.

In: a file with one tensor, a photo, a file of cameras, the bundle that decodes. Out: both values, to be saved as a run
has them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d.plans import PrepareOptions

if TYPE_CHECKING:
    from img2mv3d.values import Latents, Subject


def adopt(
    path: Path, photo: Path, rig: str | None, bundle: Any, *, unscaled: bool, options: PrepareOptions
) -> tuple[Latents, Subject]:
    """What the tensor in `path` holds as latents of these cameras (`readers.bare_latents`), the first of which took the
    photo; and the photo cut out.

    The photo is framed as large as the first view's object, which is decoded for that, unless options.framing_px says
    how large. Raises LatentsError, PhotoError, NothingFoundError, UsageError.
    """
    from img2mv3d.readers.bare_latents import read_bare, rig_of
    from img2mv3d.readers.photos import read_photo
    from img2mv3d.stages.adopt import adopted, first_size
    from img2mv3d.stages.prepare import prepare

    cameras = rig_of(rig)
    color, normal = read_bare(path, len(cameras), unscaled=unscaled)
    framing_px = options.framing_px or first_size(color, normal, decoder=bundle.plain_decoder(), name=str(path))
    subject = prepare(read_photo(photo), framing_px=framing_px, options=replace(options, framing_px=framing_px))
    return adopted(color, normal, subject, rig=cameras, vae=bundle.vae, unscaled=unscaled), subject
