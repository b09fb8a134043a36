"""How well decoded views agree, decoder by decoder, on held-out objects: from exact latents and from spoilt ones.

In: rendered sets, a bundle, decoders. Out: `Record` values, a table. Why here: this is what the cross-view decoder is
for; sharper or closer to the truth alone would not show it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from img2mv3d.conventions import FRONT
from img2mv3d.data.renders import RenderSet, Sample
from img2mv3d.eval.blended import blend
from img2mv3d.eval.metrics import depth_warp_error, edge_sharpness, sift_matches, ssim
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.crossview import CrossViewDecoder
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.nets.window import around
from img2mv3d.plans import DepthOptions
from img2mv3d.stages.depth import fit_depth, plain_views
from img2mv3d.train.corruption import corrupted, imagined
from img2mv3d.train.multiview import MultiViewNets
from img2mv3d.train.pool import Item, as_float, encode_boxed, over_white
from img2mv3d.values import Latents
from img2mv3d.weights import Bundle, load_bundle

SETTINGS = ("exact", "spoilt")
MID_STEP = 450  # noise step of 1000 from which the denoiser paints spoilt latents: shapes stay, detail is imagined
NEAR_DEG = 45.0  # views further apart share too little for matches
GROUPS = {"45": (1, 5), "90": (2, 4), "back": (3,)}  # views of `SIX_VIEWS` by their angle to the front


@dataclass(frozen=True)
class Record:
    """One object in one setting by one arm. psnr_*: dB inside the true mask, over white: front view, those at 45 and
    at 90 degrees, the back, and all but the front. ssim: of all but the front. warp: colour disagreement of neighbours
    by true depth, less that of the true views. agreeing, matches: SIFT matches between views up to NEAR_DEG apart, on
    the true surface and in all. sharpness: gradient inside the masks over the truth's, both summed
    over the views.
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


@dataclass(frozen=True, eq=False)
class Case:
    """What a decoder is given, and the truth. latents: of the colours, scaled. z, hit: the depth it may use. front: the
    rendered front view, RGBA in [0, 1]. truth, true_z, mask: of the object. normals: latents, where depth was fitted
    to what they show. round_share: how far outlines leaned, see `geometry.rounded`."""

    id: str
    setting: str
    latents: Float[Tensor, "V 4 h w"]
    z: Float[Tensor, "V H W"]
    hit: Float[Tensor, "V H W"]
    front: Float[Tensor, "4 H W"]
    truth: Float[np.ndarray, "V H W 3"]
    true_z: Float[np.ndarray, "V H W"]
    mask: Float[np.ndarray, "V H W"]
    normals: Float[Tensor, "V 4 h w"] | None = None
    round_share: float = 0.0


Arm = Callable[[Case], Float[Tensor, "V 3 H W"]]


def cases(bundle: Bundle, nets: MultiViewNets, name: str, sample: Sample, seed: int = 0) -> Iterator[Case]:
    """The settings of one object. exact: its views' own latents and true depth. spoilt: latents painted by the denoiser
    from MID_STEP, shifted, scaled and noised by view, and the depth of a quick fit to the plain views of these, as in a
    run."""
    mask = torch.from_numpy(sample.mask).float() / 255
    hit = (mask >= 0.5).float()
    z = torch.from_numpy(sample.z.astype(np.float32)) * hit
    encoder = bundle.encoder()
    latents = torch.stack(
        [encode_boxed(encoder, as_float(torch.from_numpy(x))) for x in (sample.color, sample.normal)]
    )
    photo = torch.from_numpy(sample.photo)
    photo_latent = encode_boxed(encoder, as_float(over_white(photo))[None])[0]
    alpha = mask[FRONT]
    color = as_float(torch.from_numpy(sample.color[FRONT]))
    front = torch.cat([((color - (1 - alpha)) / alpha.clamp(min=1 / 8)).clamp(0, 1), alpha[None]])
    truth = (sample.color.astype(np.float32) / 255, z.numpy(), mask.numpy())
    yield Case(name, "exact", latents[0], z, hit, front, *truth)

    item = Item(name, None, None, photo, latents, photo_latent, "mini", around(mask >= 0.5))
    painted = imagined(nets, item, MID_STEP, torch.Generator().manual_seed(seed))
    bad = [corrupted(x, torch.Generator().manual_seed(seed + 1)) for x in painted]  # both domains moved alike
    rgba = (front.movedim(0, -1).numpy() * 255 + 0.5).astype(np.uint8)
    told = Latents(bad[0].numpy(), bad[1].numpy(), rgba, SIX_VIEWS, bundle.framing_px, dict(bundle.vae), bundle.name, 0)
    depth = fit_depth(plain_views(told, decoder=bundle.plain_decoder()), options=DepthOptions())
    fitted = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (depth.z, depth.hit))
    yield Case(name, "spoilt", bad[0], *fitted, front, *truth, normals=bad[1])


def plain_arm(decoder: PlainDecoder) -> Arm:
    """One view at a time."""
    return lambda case: torch.cat([decoder.decode(one[None]).clamp(0, 1) for one in case.latents])


def blended_arm(decoder: PlainDecoder) -> Arm:
    """Plain views and the photo, blended on the surface of the given depth."""
    plain = plain_arm(decoder)
    return lambda case: blend(plain(case), case.z, case.hit, case.front, SIX_VIEWS)


def crossview_arm(decoder: CrossViewDecoder, **switches: bool) -> Arm:
    """A cross-view decoder. switches: attention_on, front_on, carry_on."""

    def run(case: Case) -> Tensor:
        before = {key: getattr(decoder, key) for key in switches}
        try:
            for key, value in switches.items():
                setattr(decoder, key, value)
            return decoder.decode(case.latents, case.z, case.hit, case.front, SIX_VIEWS).clamp(0, 1)
        finally:
            for key, value in before.items():
                setattr(decoder, key, value)

    return run


def true_arm(case: Case) -> Float[Tensor, "V 3 H W"]:
    """The true views themselves: what there is to reach."""
    return torch.from_numpy(case.truth).movedim(-1, 1)


def measure(case: Case, arm: str, pictures: Float[Tensor, "V 3 H W"]) -> Record:
    """The figures of one arm; outside of the true mask nothing counts but SSIM, which is of whole pictures."""
    found = pictures.movedim(1, -1).contiguous().numpy()
    hit = (case.mask >= 0.5).astype(np.float32)
    error = ((found - case.truth) ** 2).mean(-1)
    by_view = {i: -10 * np.log10(max(float(error[i][hit[i] > 0].mean()), 1e-10)) for i in range(6) if hit[i].any()}
    others = [i for i in by_view if i != FRONT]
    near = sift_matches(found, case.true_z, hit, SIX_VIEWS, NEAR_DEG)
    sharp = [sum(edge_sharpness(views[i], hit[i]) for i in by_view) for views in (found, case.truth)]
    floor = depth_warp_error(case.truth, case.true_z, hit, SIX_VIEWS)
    return Record(
        case.id,
        case.setting,
        arm,
        by_view.get(FRONT, float("nan")),
        *(float(np.mean([by_view[i] for i in group if i in by_view])) for group in GROUPS.values()),
        float(np.mean([by_view[i] for i in others])),
        float(np.mean([ssim(found[i], case.truth[i]) for i in others])),
        depth_warp_error(found, case.true_z, hit, SIX_VIEWS) - floor,
        float(near.agreeing),
        float(near.total),
        sharp[0] / max(sharp[1], 1e-6),
    )


def table(records: Sequence[Any], against: str) -> str:
    """Markdown by setting: the mean of every arm, and beside it the paired difference to the arm `against` with its
    95 % interval. records: of one class, whose fields are id, setting, arm and figures; a figure that is NaN in all
    of a setting has no column there."""
    lines = []
    for setting in dict.fromkeys(r.setting for r in records):
        names = [f.name for f in fields(records[0])][3:]
        names = [n for n in names if any(np.isfinite(getattr(r, n)) for r in records if r.setting == setting)]
        rows: dict[str, dict[str, Record]] = {}
        for r in records:
            if r.setting == setting:
                rows.setdefault(r.arm, {})[r.id] = r
        common = set.intersection(*(set(x) for x in rows.values()))
        lines += [f"\n{setting}, {len(common)} objects:\n", f"| arm | {' | '.join(names)} |"]
        lines.append("|---" * (len(names) + 1) + "|")
        for arm, found in rows.items():
            cells = []
            for name in names:
                own = np.array([getattr(found[i], name) for i in sorted(common)])
                cell = f"{np.nanmean(own):.{_decimals(name)}f}" if np.isfinite(own).any() else "-"
                if arm not in (against, "true views") and against in rows and len(common) > 1:
                    other = np.array([getattr(rows[against][i], name) for i in sorted(common)])
                    gain = (own - other)[np.isfinite(own - other)]
                    half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
                    if np.isfinite(half):
                        cell += f" ({gain.mean():+.{_decimals(name)}f} +- {half:.{_decimals(name)}f})"
                cells.append(cell)
            lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def run(
    bundle: Bundle,
    data: Path,
    arms: Mapping[str, Arm],
    out: Path,
    count: int,
    report: Callable[[str], None] = print,
    settings: Sequence[str] = SETTINGS,
) -> list[Record]:
    """All arms on up to `count` held-out objects of `data` (one pose each, the most everyday first), in these of
    SETTINGS; figures that out/consistency.tsv holds already are kept. Writes that file and consistency.md after every
    object."""
    path = out / "consistency.tsv"
    out.mkdir(parents=True, exist_ok=True)
    records = load_records(path) if path.exists() else []
    done = {(r.id, r.setting, r.arm) for r in records}
    generator = bundle.generator()
    nets = MultiViewNets(generator.unet, generator.condition.tokens).eval()
    sets = RenderSet(data)
    for number, name in enumerate(held_out(sets, count)):
        wanted = [s for s in SETTINGS if s in settings and any((name, s, arm) not in done for arm in arms)]
        if not wanted:
            continue
        for case in only(cases(bundle, nets, name, sets.load(name), seed=number), wanted):
            for arm, make in arms.items():
                if (name, case.setting, arm) not in done:
                    with torch.no_grad():
                        records.append(measure(case, arm, make(case)))
        save_records(path, records)
        (out / "consistency.md").write_text(table(records, "plain"))
        report(f"{number + 1} of {count}: {name}")
    return records


def only(made: Iterator[Case], wanted: Sequence[str]) -> Iterator[Case]:
    """The cases of these settings; none is made after the last of them."""
    for case in made:
        if case.setting in wanted:
            yield case
        if case.setting == wanted[-1]:
            return


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


def held_out(sets: RenderSet, count: int) -> list[str]:
    """Up to `count` sets of the split `val`, one of each object, in the order of their weight in training."""
    first: dict[str, str] = {}
    weights = sets.weights("val")
    for name in weights:
        first.setdefault(name.rsplit(".", 1)[0], name)
    return sorted(first.values(), key=lambda n: -weights[n])[:count]


def compare(
    name: str,
    data: Path,
    decoders: Sequence[str],
    out: Path,
    count: int,
    report: Callable[[str], None] = print,
    settings: Sequence[str] = SETTINGS,
) -> str:
    """The table of `run` for the arms of `arms_of`."""
    bundle = load_bundle(name)
    return table(run(bundle, data, arms_of(bundle, name, decoders), out, count, report, settings), "plain")


def arms_of(bundle: Bundle, name: str, decoders: Sequence[str]) -> dict[str, Arm]:
    """True views, plain ones, plain ones blended, and cross-view decoders given as "NAME=BUNDLE" (none: the bundle's
    own), each as it is and with its attention switched off. name: the bundle's own."""
    plain = bundle.plain_decoder()
    arms: dict[str, Arm] = {"true views": true_arm, "plain": plain_arm(plain), "plain, blended": blended_arm(plain)}
    for arm in decoders or [f"cross-view={name}"]:
        called, _, source = arm.partition("=")
        decoder = load_bundle(source or called).crossview_decoder()
        arms[called] = crossview_arm(decoder)
        arms[f"{called}, attention off"] = crossview_arm(decoder, attention_on=False)
    return arms


def _decimals(name: str) -> int:
    if name.startswith("f_") or name.endswith(("ssim", "iou", "features")):
        return 3
    return {"warp": 4, "own_warp": 4, "agreeing": 1, "epipolar": 1, "matches": 0}.get(name, 2)

