"""The commands that measure: what they are told is checked, what they find is printed.

In: folders and names as typed. Out: tables on stdout, records under a folder. Why here: `app_eval` is a page of help.
"""

from __future__ import annotations

from pathlib import Path

from img2mv3d.cli.lab import check_data, ready_torch, say
from img2mv3d.errors import InputError, UsageError

SETTINGS = ("exact", "spoilt", "generated")
PROTOCOLS = ("gso30", "val")


def consistency(
    data: Path,
    out: Path,
    bundle: str,
    arms: list[str],
    count: int,
    settings: list[str],
    rerender: bool,
    meshes: Path | None,
    zooms: int = 0,
    more: bool = False,
    soften: str | None = None,
) -> None:
    """Figures of decoders on held-out objects; the tables on stdout: by the truth, then by each arm's own fit; before
    them sheets of the first `zooms` objects."""
    for setting in settings:
        if setting not in SETTINGS:
            raise UsageError(f"--setting {setting}: expected one of {', '.join(SETTINGS)}")
    own = [s for s in settings if s == "generated" or (rerender and s == "spoilt")]
    if rerender and not own:
        raise UsageError("--rerender: true depth needs no fit; add --setting spoilt or --setting generated")
    if meshes is not None and not rerender:
        raise UsageError("--meshes: surfaces are only fitted with --rerender")
    if zooms and not set(settings) - {"generated"}:
        raise UsageError("--zooms: points correspond by true depth; add --setting exact or --setting spoilt")
    if (more or soften) and not set(settings) - {"generated"}:
        word = "--more" if more else "--soften"
        raise UsageError(f"{word}: that is told with the truth at hand; add --setting exact or --setting spoilt")
    check_data(data)
    if meshes is not None and not (meshes / "objects").is_dir():
        raise InputError(f"{meshes}: no corpus (objects/) in there")
    ready_torch()
    from img2mv3d.eval import consistency, ownfit

    told = [s for s in settings if s != "generated"]
    if zooms:
        from experiments.decoder.zoom_sheets import compare as enlarge

        enlarge(bundle, data, arms, out / "zooms", zooms, told, say)
    if told:
        print(consistency.compare(bundle, data, arms, out, count, say, told, more=more, soften=soften))
    if own:
        print(ownfit.compare(bundle, data, arms, out, count, own, rerender=rerender, meshes=meshes, report=say))


def protocol(
    which: str, meshes: Path, out: Path, bundle: str, arms: list[str], count: int | None, rerender: bool
) -> None:
    """Figures of arms on a protocol's objects; the table on stdout."""
    if which not in PROTOCOLS:
        raise UsageError(f"protocol {which}: expected one of {', '.join(PROTOCOLS)}")
    if which == "val" and not (meshes / "manifest.tsv").is_file():
        raise InputError(f"{meshes}: no corpus (manifest.tsv and objects/) in there")
    ready_torch()
    from img2mv3d.eval import protocol as protocols
    from img2mv3d.eval.protocol_arms import arms_of

    print(protocols.run(which, meshes, arms_of(bundle, arms), out, count=count, rerender=rerender, report=say))
