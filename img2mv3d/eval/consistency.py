"""How well decoded views agree, decoder by decoder, on held-out objects: from exact latents and from spoilt ones.

In: rendered sets, a bundle, decoders. Out: `Record` values, a table. Why here: this is what the cross-view decoder is
for; sharper or closer to the truth alone would not show it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from img2mv3d.bundles.weights import Bundle, load_bundle
from img2mv3d.conventions import FRONT
from img2mv3d.data.renders import RenderSet
from img2mv3d.errors import UsageError
from img2mv3d.eval.arms import SOFTER, Arm, arms_of, named, normals_of, own_views, still_true
from img2mv3d.eval.cases import SETTINGS, Case, cases, held_out, only
from img2mv3d.eval.metrics import depth_warp_error, feature_distance, mask_iou, psnr, sift_matches_by_pair, ssim
from experiments.decoder.equal_sharpness import as_soft_as, sharpness, sharpness_by_view
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.train.features import features
from img2mv3d.train.multiview import MultiViewNets

NOTHING = float("nan")
LEVEL_DB = 100.0  # of equal pictures
NEAR_DEG = 45.0  # views further apart share too little for matches
GROUPS = {"45": (1, 5), "90": (2, 4), "back": (3,)}  # views of `SIX_VIEWS` by their angle to the front


@dataclass(frozen=True)
class Record:
    """One object in one setting by one arm. psnr_*: dB inside the true mask, over white: front view, those at 45 and
    at 90 degrees, the back, and all but the front. ssim: of all but the front. warp: colour disagreement of neighbours
    by true depth, less that of the true views. agreeing, matches: SIFT matches between views up to NEAR_DEG apart, on
    the true surface and in all. sharpness: gradient inside the masks over the truth's, both summed
    over the views. psnr_whole (dB, over white) and features (distance by EfficientNet-Lite0, NaN without its package)
    are of whole pictures, all but the front; iou: of the outlines that a run would cut these views out by, front too.
    agreeing_beside: of the agreeing ones, those between two views that are both not the photo's.
    """

    id: str
    setting: str
    arm: str
    psnr_front: float
    psnr_45: float
    psnr_90: float
    psnr_back: float
    psnr_others: float
    ssim: float
    warp: float
    agreeing: float
    matches: float
    sharpness: float
    psnr_whole: float = NOTHING
    features: float = NOTHING
    iou: float = NOTHING
    agreeing_beside: float = NOTHING


def measure(
    case: Case,
    arm: str,
    pictures: Float[Tensor, "V 3 H W"],
    coded: Float[np.ndarray, "V H W 3"] | None = None,
) -> Record:
    """The figures of one arm; outside of the true mask nothing counts but where `Record` says so. coded: normal maps as
    pictures, which outlines are found by, too; None: no `iou`."""
    found = pictures.movedim(1, -1).contiguous().numpy()
    hit = (case.mask >= 0.5).astype(np.float32)
    error = ((found - case.truth) ** 2).mean(-1)
    by_view = {i: -10 * np.log10(max(float(error[i][hit[i] > 0].mean()), 1e-10)) for i in range(6) if hit[i].any()}
    others = [i for i in by_view if i != FRONT]
    near = sift_matches_by_pair(found, case.true_z, hit, SIX_VIEWS, NEAR_DEG)
    sharp = [sharpness(views, hit) for views in (found, case.truth)]
    floor = depth_warp_error(case.truth, case.true_z, hit, SIX_VIEWS)
    whole = [min(psnr(found[i], case.truth[i]), LEVEL_DB) for i in others]
    return Record(
        case.id,
        case.setting,
        arm,
        by_view.get(FRONT, float("nan")),
        *(float(np.mean([by_view[i] for i in group if i in by_view])) for group in GROUPS.values()),
        float(np.mean([by_view[i] for i in others])),
        float(np.mean([ssim(found[i], case.truth[i]) for i in others])),
        depth_warp_error(found, case.true_z, hit, SIX_VIEWS) - floor,
        float(sum(m.agreeing for m in near.values())),
        float(sum(m.total for m in near.values())),
        sharp[0] / max(sharp[1], 1e-6),
        float(np.mean(whole)),
        float(np.mean([seen_apart(found[i], case.truth[i]) for i in others])),
        NOTHING if coded is None else mask_iou(own_views(pictures, coded, case).mask, case.mask),
        float(sum(m.agreeing for pair, m in near.items() if FRONT not in pair)),
    )


def seen_apart(picture: Float[np.ndarray, "H W 3"], truth: Float[np.ndarray, "H W 3"]) -> float:
    """`feature_distance` by EfficientNet-Lite0; NaN where its package is missing."""
    try:
        return feature_distance(picture, truth, features())
    except UsageError:
        return NOTHING


def table(records: Sequence[Any], against: str) -> str:
    """Markdown by setting: the mean of every arm, and beside it the paired difference to the arm `against` with its
    95 % interval. records: of one class, whose fields are id, setting, arm and figures; a figure that is NaN in all
    of a setting has no column there, and objects of which an arm has none, while it has some of others, are left out of
    that column."""
    lines = []
    for setting in dict.fromkeys(r.setting for r in records):
        names = [f.name for f in fields(records[0])][3:]
        names = [n for n in names if any(np.isfinite(getattr(r, n)) for r in records if r.setting == setting)]
        rows: dict[str, dict[str, Any]] = {}
        for r in records:
            if r.setting == setting:
                rows.setdefault(r.arm, {})[r.id] = r
        common = sorted(set.intersection(*(set(x) for x in rows.values())))
        values = _comparable(rows, common, names)
        lines += [f"\n{setting}, {len(common)} objects:\n", f"| arm | {' | '.join(names)} |"]
        lines.append("|---" * (len(names) + 1) + "|")
        for arm in rows:
            cells = []
            for name in names:
                own = values[arm][name]
                cell = f"{own.mean():.{_decimals(name)}f}" if len(own) else "-"
                other = values.get(against, {}).get(name, np.zeros(0))
                if arm not in (against, "true views") and len(own) == len(other) > 1:
                    gain = own - other
                    half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
                    cell += f" ({gain.mean():+.{_decimals(name)}f} +- {half:.{_decimals(name)}f})"
                cells.append(cell)
            lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _comparable(
    rows: Mapping[str, Mapping[str, Any]], common: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, Float[np.ndarray, " N"]]]:
    """By arm and figure: its values of the objects of which all arms have it; none for an arm that never has it."""
    result: dict[str, dict[str, np.ndarray]] = {arm: {} for arm in rows}
    for name in names:
        found = {arm: np.array([float(getattr(by_id[i], name)) for i in common]) for arm, by_id in rows.items()}
        having = {arm: own for arm, own in found.items() if np.isfinite(own).any()}
        usable = np.isfinite(list(having.values())).all(axis=0) if having else np.zeros(len(common), bool)
        for arm, own in found.items():
            result[arm][name] = own[usable] if arm in having else np.zeros(0)
    return result


def run(
    bundle: Bundle,
    data: Path,
    arms: Mapping[str, Arm],
    out: Path,
    count: int,
    report: Callable[[str], None] = print,
    settings: Sequence[str] = SETTINGS,
    *,
    soften: str | None = None,
    kept: Callable[[str], bool] = lambda arm: True,
) -> list[Record]:
    """All arms on up to `count` held-out objects of `data` (one pose each, the most everyday first), in these of
    SETTINGS; figures that out/consistency.tsv holds already are kept, of the arms for which `kept` says so. soften: an
    arm that is compared with every other one at equal sharpness: in two more rows each has its sharper views blurred
    to the other's. Writes that file and consistency.md after every object."""
    path = out / "consistency.tsv"
    out.mkdir(parents=True, exist_ok=True)
    records = [r for r in load_records(path) if kept(r.arm) and complete(r)] if path.exists() else []
    done = {(r.id, r.setting, r.arm): r for r in records}
    others = [arm for arm in arms if arm not in ("true views", soften)] if soften else []
    softer = {f"{a}{SOFTER}{b}": (a, b) for other in others for a, b in ((str(soften), other), (other, str(soften)))}
    generator, plain = bundle.generator(), bundle.plain_decoder()
    nets = MultiViewNets(generator.unet, generator.condition.tokens).eval()
    sets = RenderSet(data)
    for number, name in enumerate(held_out(sets, count)):
        missing = {s: [a for a in (*arms, *softer) if (name, s, a) not in done] for s in SETTINGS if s in settings}
        wanted = [s for s, without in missing.items() if without]
        if not wanted:
            continue
        for case in only(cases(bundle, nets, name, sets.load(name)), wanted):
            shown: dict[str, Tensor] = {}
            coded = None if case.normals is None else normals_of(case, plain)
            for arm in missing[case.setting]:
                sources = softer.get(arm, (arm,))
                for source in sources:
                    if source not in shown:
                        with torch.no_grad():
                            shown[source] = arms[source](case)
                pictures = as_soft(case, *(shown[s] for s in sources)) if arm in softer else shown[arm]
                done[name, case.setting, arm] = measure(case, arm, pictures, coded)
        save_records(path, list(done.values()))
        (out / "consistency.md").write_text(table(list(done.values()), "plain"))
        report(f"{number + 1} of {count}: {name}")
    return list(done.values())


def complete(record: Record) -> bool:
    """Whether a line has every figure: earlier versions knew fewer."""
    return not np.isnan(record.agreeing_beside)


def as_soft(
    case: Case, pictures: Float[Tensor, "V 3 H W"], other: Float[Tensor, "V 3 H W"]
) -> Float[Tensor, "V 3 H W"]:
    """The pictures, each blurred to the sharpness of the other's where it is sharper."""
    hit = (case.mask >= 0.5).astype(np.float32)
    views, others = (p.movedim(1, -1).contiguous().numpy() for p in (pictures, other))
    return torch.from_numpy(as_soft_as(views, hit, sharpness_by_view(others, hit))).movedim(-1, 1)


def save_records(path: Path, records: Sequence[Record]) -> None:
    """A line each, figures with five significant digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(f.name for f in fields(Record))
        for record in records:
            writer.writerow(f"{v:.5g}" if isinstance(v, float) else v for v in asdict(record).values())


def load_records(path: Path) -> list[Record]:
    """What `save_records` wrote; docs/ablation.tsv is such a file."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    words = ("id", "setting", "arm")
    return [Record(**{k: v if k in words else float(v) for k, v in row.items()}) for row in rows]


def compare(
    name: str,
    data: Path,
    decoders: Sequence[str],
    out: Path,
    count: int,
    report: Callable[[str], None] = print,
    settings: Sequence[str] = SETTINGS,
    *,
    more: bool = False,
    soften: str | None = None,
) -> str:
    """The table of `run` for the arms of `arms_of`. Raises UsageError when `soften` is none of them."""
    bundle = load_bundle(name)
    arms = arms_of(bundle, name, decoders, more)
    if soften is not None and soften not in arms:
        raise UsageError(f"--soften {soften}: expected one of {', '.join(arms)}")
    out.mkdir(parents=True, exist_ok=True)
    kept = still_true(out, bundle, named(name, decoders))
    return table(run(bundle, data, arms, out, count, report, settings, soften=soften, kept=kept), "plain")


def _decimals(name: str) -> int:
    if name.startswith("f_") or name.endswith(("ssim", "iou", "features")):
        return 3
    return {"warp": 4, "own_warp": 4, "agreeing": 1, "epipolar": 1, "matches": 0}.get(name, 2)
