"""A user's own photo of the back, cut out -> BackSubject, its outline checked against the front's.

In: two Subjects, framed alike. Out: BackSubject, whose warnings say whether the two outlines can belong together. A
stage of its own: a photo of the back that comes later must not cost new views.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from img2mv3d.geometry.similarity import pixel_iou
from img2mv3d.values import BackSubject, Subject

# IoU of the back's outline with the mirrored front's below which a sentence is said. Two photos by hand, a few degrees
# and a perspective apart, reach 0.9; a cup with its handle on the wrong side 0.7.
SAME_OUTLINE = 0.8


def back(found: Subject, subject: Subject, name: str) -> BackSubject:
    """What `prepare` found on a photo from behind, checked against the front. name: of that photo.

    Parallel rays have no side: from behind, an outline is its own mirror image. A warning when it is not, by more than
    SAME_OUTLINE.
    """
    overlap = outline_iou(subject.image, found.image)
    warnings = found.warnings
    if overlap < SAME_OUTLINE:
        mirrored = outline_iou(subject.image, found.image[:, ::-1]) > SAME_OUTLINE
        guess = "is it a mirror image?" if mirrored else "take it from straight behind"
        warnings += (
            f"{name}: its outline matches the mirrored front outline with an IoU of {overlap:.2f} "
            f"(expected {SAME_OUTLINE}); {guess}",
        )
    return BackSubject(found.image, found.full, found.framing, found.remover, warnings)


def outline_iou(front: UInt8[np.ndarray, "H W 4"], behind: UInt8[np.ndarray, "H W 4"]) -> float:
    """Intersection over union, 0..1, of the mirrored front's alpha and the other's (both framed, above 1/2)."""
    ours, theirs = front[:, ::-1, 3] > 127, behind[..., 3] > 127
    return pixel_iou(ours, theirs, empty=0.0)
