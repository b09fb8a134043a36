"""A run's story -> rows of figures that need no truth, with their words."""

from __future__ import annotations

from typing import Any

from img2mv3d.conventions import FRONT
from img2mv3d.flow.graph import GRAPH
from img2mv3d.geometry.similarity import LEVEL_DB, psnr
from img2mv3d.report.gather import Story

HOW = {"computed": "", "cached": "from the cache", "kept": "unchanged", "edited": "edited by hand", "given": "given"}


def figures(story: Story) -> list[tuple[str, str, str]]:
    """(label, number, what it means) of everything that can be said without knowing the true shape."""
    rows = []
    for name, words in (("plain", "plain views"), ("views", "cross-view views")):
        if name in story.agree:
            found = story.agree[name]
            meaning = (
                f"mean colour difference (of 1) where neighbours see one fitted point: {found.shared:.0%} of pixels"
            )
            rows.append((f"Reprojection error, {words}", f"{found.reprojection_error:.4f}", meaning))
        front = front_psnr(story, name)
        if front is not None:
            rows.append((f"Front against the photo, {words}", f"{front:.1f} dB", "PSNR inside the cut-out, at 256 px"))
    if "plain" in story.agree:
        rows.append(
            ("Fitted outlines", f"{story.agree['plain'].iou:.3f}", "IoU of coarse fit and masks, mean of views")
        )
    return rows + _of_mesh(story.notes)


def spent(record: dict[str, Any]) -> list[tuple[str, float, str, str]]:
    """(stage, seconds it took when it was computed, peak memory, where it came from this time) by stage."""
    last = record.get("last") or {}
    rows = []
    for stage in GRAPH:
        about = (record.get("stages") or {}).get(stage)
        if not isinstance(about, dict) or "seconds" not in about:
            continue
        peak = f"{about['peak_bytes'] / 1e9:.2f} GB" if about.get("peak_bytes") else ""
        how = (last.get(stage) or {}).get("how", "")
        rows.append((stage, float(about["seconds"]), peak, HOW.get(how, how)))
    return rows


def front_psnr(story: Story, name: str) -> float | None:
    """PSNR in dB of the front view against the framed photo, inside of the cut-out; None without either."""
    views = getattr(story, name)
    if views is None or story.subject is None or views.mask.shape[-1] != story.subject.shape[0]:
        return None
    inside = story.subject[..., 3] == 255
    if not inside.any():
        return None
    return min(psnr(views.color[FRONT][inside], story.subject[inside][:, :3] / 255), LEVEL_DB)


def _of_mesh(notes: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    if "silhouette_iou" in notes:
        overlap = notes["silhouette_iou"]
        meaning = "IoU of mesh and masks, mean"
        if overlap["views"]:
            worst = min(overlap["views"], key=overlap["views"].get).replace("_", " ")
            meaning += f"; least {overlap['min']:.3f} in the {worst} view"
        rows.append(("Outlines of the mesh", f"{overlap['mean']:.3f}", meaning))
    if "seen" in notes:
        seen = notes["seen"]
        meaning = f"share of the surface that it paints; views {seen['views']:.0%}, seen by none {seen['none']:.0%}"
        rows.append(("Photo on the mesh", f"{seen['photo']:.0%}", meaning))
    if "likeness" in notes:
        like = notes["likeness"]
        meaning = f"PSNR from the front, over the {like['front_covered']:.0%} of the cut-out that the mesh covers"
        rows.append(("Mesh against the photo", f"{like['front_db']:.1f} dB", meaning))
        meaning = (
            f"colour step where the photo's part ends, seen from 45 degrees; usual near it: {like['seam_usual']:.3f}"
        )
        rows.append(("Seam", f"{like['seam_jump']:.3f}", meaning))
    if "watertight" in notes:
        rows.append(("Watertight", "yes" if notes["watertight"] else "no", f"{notes.get('pieces', 1)} piece(s)"))
    return rows
