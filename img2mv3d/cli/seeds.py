"""Several seeds for one photo: each as far as its views, a sheet of all, and the most plausible one.

In: a photo, a plan, how many seeds. Out: `Choice`; out/seeds/, out/seeds.png, out/seeds.json. Why here: what the photo
does not show is a guess, and a few guesses cost less than one mesh that is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d.errors import UsageError

if TYPE_CHECKING:
    from img2mv3d.flow.entry import Source
    from img2mv3d.flow.store import Store
    from img2mv3d.geometry.agreement import Agreement
    from img2mv3d.plans import Plan

SHEET = "seeds.png"
TILE = 128  # px of a view on the sheet


@dataclass(frozen=True)
class Seeds:
    """count: seeds that are tried for a photo. pick: "auto" or the seed that was chosen by eye."""

    count: int = 1
    pick: str = "auto"


ONE = Seeds()


@dataclass(frozen=True)
class Plausibility:
    """score: one number to choose by, larger is better. figures: what it is made of, by name."""

    score: float
    figures: dict[str, float]


@dataclass(frozen=True)
class Choice:
    """seed: the one to go on with. tried: every seed with its figures, best first. sheet: the picture of all."""

    seed: int
    tried: tuple[tuple[int, Plausibility], ...]
    sheet: Path

    def facts(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = [{"seed": seed, "score": round(found.score, 4), **found.figures} for seed, found in self.tried]
        return {"picked": self.seed, "seeds": rows, "sheet": str(self.sheet)}


def pick_seed(source: Source, out: Path, plan: Plan, until: str, tries: Seeds, store: Store, screen: Any) -> Choice:
    """Try `tries.count` seeds from plan.seed on, each into out/seeds/SEED as far as decode, and choose: the best score,
    or the seed that `tries.pick` names. Candidates that were tried before come from the cache.

    With a body, whose views agree by construction, the score is how likely the shape network holds its depth, 1 being
    the likeliest; else that of `agreement` of the plain views with the depth fitted to them (the views that are decoded
    together would agree because they are made to). Raises UsageError when that makes no sense.
    """
    from img2mv3d.files.contents import write_json
    from img2mv3d.flow.pipeline import run

    seeds = [plan.seed + i for i in range(tries.count)]
    if until not in ("decode", "reconstruct", "export"):
        raise UsageError(f"--seeds compares decoded views: it needs --until decode or later, not {until}")
    if tries.pick != "auto" and tries.pick not in map(str, seeds):
        raise UsageError(f"--pick {tries.pick}: expected auto or one of the seeds {seeds[0]} to {seeds[-1]}")
    tried = []
    for seed in seeds:
        place = out / "seeds" / str(seed)
        run(source, place, replace(plan, seed=seed), until="decode", store=store, report=screen)
        tried.append((seed, _plausibility(place)))
        screen.note(f"seed {seed}: score {tried[-1][1].score:.3f}")
    tried.sort(key=lambda pair: (-pair[1].score, pair[0]))
    seed = tried[0][0] if tries.pick == "auto" else int(tries.pick)
    choice = Choice(seed, tuple(tried), (out / SHEET).absolute())
    _sheet(out, choice).save(out / SHEET)
    write_json(out / "seeds.json", choice.facts() | {"sheet": SHEET})
    screen.note(f"seed {seed} was picked; {SHEET} shows all {len(seeds)}, --pick N picks another")
    return choice


def _plausibility(place: Path) -> Plausibility:
    from img2mv3d.geometry.agreement import agreement
    from img2mv3d.values import Body, load_depth, load_views

    if (place / "shape.npz").exists():
        body = Body.load(place)
        return Plausibility(body.likelihood, {"depth_ratio": round(body.depth_ratio, 4)})
    plain = load_views(place / "plain")
    z, hit, _ = load_depth(place / "depth.npz", plain.mask.shape)
    found = agreement(plain.color, plain.mask, z, hit, plain.rig)
    return Plausibility(found.score, agreed(found))


def agreed(found: Agreement) -> dict[str, float]:
    """The figures, the error also under the name of version 0.1.0."""
    figures = {name: round(value, 4) for name, value in found._asdict().items()}
    return figures | {"warp_error": figures["reprojection_error"]}


def _sheet(out: Path, choice: Choice) -> Any:
    """A row of views for every seed, best first, its figures in the captions."""
    from PIL import Image

    from img2mv3d.files.contents import to_bytes
    from img2mv3d.report.sheet import grid
    from img2mv3d.values import load_views

    rows = []
    for seed, found in choice.tried:
        views = load_views(out / "seeds" / str(seed) / "views")
        pictures = [Image.fromarray(to_bytes(c)).resize((TILE, TILE)) for c in views.color]
        taken = " *" if seed == choice.seed else ""
        figures = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in found.figures.items()]
        words = [f"seed {seed}{taken}", f"score {found.score:.3f}", *figures]
        rows.append([(w, p) for w, p in zip((words + [""] * len(pictures))[: len(pictures)], pictures, strict=True)])
    return grid(rows, TILE)
