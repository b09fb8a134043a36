"""The commands that measure: what they are told is checked, what they find is printed.

In: folders and names as typed. Out: tables on stdout, records under a folder. Why here: `app_eval` is a page of help.
"""

from __future__ import annotations

from pathlib import Path

from img2mv3d.cli.lab import check_data, ready_torch, say
from img2mv3d.errors import InputError, UsageError

SETTINGS = ("exact", "spoilt", "generated")


def consistency(
    data: Path,
    out: Path,
    bundle: str,
    arms: list[str],
    count: int,
    settings: list[str],
    rerender: bool,
    meshes: Path | None,
) -> None:
    """Figures of decoders on held-out objects; the tables on stdout: by the truth, then by each arm's own fit."""
    for setting in settings:
        if setting not in SETTINGS:
            raise UsageError(f"--setting {setting}: expected one of {', '.join(SETTINGS)}")
    own = [s for s in settings if s == "generated" or (rerender and s == "spoilt")]
    if rerender and not own:
        raise UsageError("--rerender: true depth needs no fit; add --setting spoilt or --setting generated")
    if meshes is not None and not rerender:
        raise UsageError("--meshes: surfaces are only fitted with --rerender")
    check_data(data)
    if meshes is not None and not (meshes / "objects").is_dir():
        raise InputError(f"{meshes}: no corpus (objects/) in there")
    ready_torch()
    from img2mv3d.eval import consistency, ownfit

    told = [s for s in settings if s in consistency.SETTINGS]
    if told:
        print(consistency.compare(bundle, data, arms, out, count, say, told))
    if own:
        print(ownfit.compare(bundle, data, arms, out, count, own, rerender=rerender, meshes=meshes, report=say))
