"""One command, one table: arms on the objects of a frozen protocol, with digests of what they were measured against.

In: a protocol's name, a folder of meshes, arms. Out: protocol.json, protocol.md, photos for other programs. Why here:
what is shown stands in `protocol_cases`, who shows views in `protocol_arms`; here they are compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from img2mv3d.conventions import FRONT
from img2mv3d.errors import InputError, NothingFoundError
from img2mv3d.eval.consistency import LEVEL_DB, NEAR_DEG, NOTHING, seen_apart, table
from img2mv3d.eval.metrics import depth_warp_error, mask_iou, psnr, sift_matches, ssim
from img2mv3d.eval.ownfit import measure as own_measure
from img2mv3d.eval.protocol_arms import Arm, brought_to_size
from img2mv3d.eval.protocol_cases import PROTOCOLS, VERSION, Case, case_of, settings
from img2mv3d.eval.rerendered import Fits
from img2mv3d.files.formats import write_json, write_png
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.values import Views


@dataclass(frozen=True)
class Record:
    """One arm on one object. psnr, psnr_mask (dB; whole pictures over white, and inside the true mask), ssim, features
    (distance by EfficientNet-Lite0, NaN without its package), iou (of masks): means over the five views that the photo
    does not show; psnr_front: of the one that it shows, whole. warp: disagreement of neighbours by the true depth, less
    the true views'; agreeing: matches on the true surface. own_warp: disagreement by a fit to the arm's own views;
    epipolar, matches, re_...: as in `ownfit.Record`. What needs the true pictures is NaN where the cameras are others.
    """

    id: str
    setting: str
    arm: str
    psnr: float
    psnr_mask: float
    psnr_front: float
    ssim: float
    features: float
    iou: float
    warp: float
    agreeing: float
    own_warp: float
    epipolar: float
    matches: float
    re_psnr: float = NOTHING
    re_ssim: float = NOTHING
    re_iou: float = NOTHING


def measure(which: str, case: Case, arm: str, views: Views, rerender: bool = False, fits: Fits | None = None) -> Record:
    """The figures of one arm's views, brought to the true ones' size."""
    truth, rig = case.views, views.rig
    if rig == SIX_VIEWS:
        views = brought_to_size(views, truth.mask)
    own = own_measure(case.subject.id, which, arm, views, fits or Fits(), rerender)
    ends = (own.warp, own.epipolar, own.matches, own.re_psnr, own.re_ssim, own.re_iou)
    if rig != SIX_VIEWS:
        return Record(case.subject.id, which, arm, *[NOTHING] * 8, *ends)
    unseen = [i for i in range(len(rig)) if i != FRONT]
    hit = (truth.mask >= 0.5).astype(np.float32)
    floor = depth_warp_error(truth.color, case.z, hit, rig)

    def mean(figure: Callable[[int], float]) -> float:
        return float(np.mean([figure(i) for i in unseen]))

    def db(i: int, mask: Any = None) -> float:
        return min(psnr(views.color[i], truth.color[i], mask), LEVEL_DB)

    return Record(
        case.subject.id,
        which,
        arm,
        mean(db),
        mean(lambda i: db(i, hit[i]) if hit[i].any() else LEVEL_DB),
        db(FRONT),
        mean(lambda i: ssim(views.color[i], truth.color[i])),
        mean(lambda i: seen_apart(views.color[i], truth.color[i])),
        mean(lambda i: mask_iou(views.mask[i], truth.mask[i])),
        depth_warp_error(views.color, case.z, hit, rig) - floor,
        float(sift_matches(views.color, case.z, hit, rig, NEAR_DEG).agreeing),
        *ends,
    )


def run(
    which: str,
    folder: Path,
    arms: Mapping[str, Arm],
    out: Path,
    *,
    count: int | None = None,
    rerender: bool = False,
    report: Callable[[str], None] = print,
) -> str:
    """All arms on a protocol's objects; the table, which also lies in out/protocol.md.

    out/protocol.json: what was rendered (digests), by which settings, and all figures; those of equal renders and arms
    are kept, and under "former" what was measured there before of other arms, weights and objects.
    out/photos/NAME.png: what other programs are to be given. An arm without views of an object has no line for it.
    Raises InputError when an object is missing.
    """
    path = out / "protocol.json"
    (out / "photos").mkdir(parents=True, exist_ok=True)
    subjects = PROTOCOLS[which](folder) if count is None else PROTOCOLS[which](folder, count)
    kept = _kept(path, which)
    objects: dict[str, Any] = {}
    records: list[Record] = []
    for subject in subjects:
        case = case_of(subject)
        name = subject.id
        objects[name] = {"mesh": subject.mesh, "render": case.render, **subject.notes}
        write_png(out / "photos" / f"{name}.png", case.photo)
        for called, arm in arms.items():
            found = kept.get((name, called, case.render, arm.digest))
            if found is None or (rerender and np.isnan(found.re_psnr)):
                try:
                    views = arm.views(case)
                except NothingFoundError as error:
                    report(f"{name}, {called}: {error}")
                    continue
                if views is None:
                    report(f"{name}: no views of {called}")
                    continue
                found = measure(which, case, called, views, rerender)
            records.append(found)
            kept.pop((name, called, case.render, arm.digest), None)
        _write(path, which, arms, objects, records, kept)
        (out / "protocol.md").write_text(_page(which, objects, records), encoding="utf-8")
        report(f"{len(objects)}: {name}")
    if not objects:
        raise InputError(f"{folder}: no objects for the protocol {which}")
    return _page(which, objects, records)


def digest_of(objects: Mapping[str, Any]) -> str:
    """One digest of all renders: people who have the same one measured against the same pictures."""
    lines = "".join(f"{name} {objects[name]['render']}\n" for name in sorted(objects))
    return hashlib.sha256(lines.encode()).hexdigest()


def _page(which: str, objects: Mapping[str, Any], records: Sequence[Record]) -> str:
    head = f"Protocol {which}, version {VERSION}: {len(objects)} objects, renders {digest_of(objects)[:16]}.\n"
    return head + (table(records, records[0].arm) if records else "\nno arm has views of them\n")


def _write(
    path: Path,
    which: str,
    arms: Mapping[str, Arm],
    objects: Mapping[str, Any],
    records: Sequence[Record],
    former: Mapping[tuple[str, str, str, str], Record],
) -> None:
    plain = [_as_json(r) for r in records]
    before = [{"render": render, "made_by": arm, **_as_json(r)} for (_, _, render, arm), r in former.items()]
    notes = {"protocol": which, "version": VERSION, "settings": settings(which), "digest": digest_of(objects)}
    told = {"arms": {name: arm.digest for name, arm in arms.items()}, "objects": dict(objects), "records": plain}
    write_json(path, notes | told | {"former": before})


def _as_json(record: Record) -> dict[str, Any]:
    return {k: None if v != v else v for k, v in asdict(record).items()}  # NaN is no JSON


def _kept(path: Path, which: str) -> dict[tuple[str, str, str, str], Record]:
    """Figures of former runs, by object, arm, digest of the render and of the arm."""
    if not path.exists():
        return {}
    former = json.loads(path.read_text(encoding="utf-8"))
    if (former.get("protocol"), former.get("version")) != (which, VERSION):
        raise InputError(f"{path}: of another protocol or version; name another folder with -o")
    names, found = {f.name for f in fields(Record)}, {}
    for row in (*former.get("former", []), *former["records"]):
        record = Record(**{k: NOTHING if v is None else v for k, v in row.items() if k in names})
        render = row.get("render") or former["objects"][record.id]["render"]
        arm = row.get("made_by") or former["arms"][record.arm]
        found[record.id, record.arm, render, arm] = record
    return found
