"""Who may import whom: the table of arrows, and a proof that breaking it is noticed."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "img2mv3d"
LEAVES = {"conventions", "errors"}  # everybody may import these; they import nothing

# group: (its modules and packages, the groups that it may import). What is imported inside of functions counts, too.
GROUPS = {
    "geometry": {"geometry"},
    "formats": {"formats"},
    "values": {"values"},
    "plans": {"plans"},
    "nets": {"nets"},
    "diffusion": {"diffusion"},
    "neus": {"neus"},
    "mesh": {"mesh"},
    "matting": {"matting"},
    "photos": {"photos"},
    "foreign": {"foreign"},
    "stages": {"stages"},
    "store": {"store", "durable"},
    "weights": {"weights", "manifests", "convert", "inspection", "fetch", "hub", "upstreams", "decoders", "forecast"},
    "pipeline": {
        *("pipeline", "inputs", "outputs", "progress", "verbs", "runs", "sources", "machine", "provenance", "watch"),
    },
    "data": {"data"},
    "train": {"train"},
    "eval": {"eval"},
    "report": {"report"},
    "cli": {"cli", "__main__"},
    "": {"__init__"},
}
ARROWS = {
    "geometry": set(),
    "formats": {"geometry"},
    "values": {"formats", "geometry"},
    "plans": set(),
    "nets": {"geometry"},
    "diffusion": set(),
    "neus": {"geometry"},
    "mesh": {"geometry"},
    "matting": set(),
    "photos": {"values"},
    "foreign": {"values", "formats", "geometry"},
    "stages": {"values", "formats", "geometry", "nets", "diffusion", "neus", "mesh", "matting", "plans"},
    "store": set(),
    "weights": {"nets", "geometry", "store"},
    "pipeline": {"plans", "stages", "values", "formats", "store", "weights", "photos", "mesh", "matting"},
    "data": {"formats", "geometry"},
    # stages, plans and values: a training meets depth as a run makes it
    "train": {"data", "nets", "diffusion", "weights", "geometry", "formats", "stages", "plans", "values"},
    "eval": {
        "train",  # tables spoil views as trainings do
        "foreign",  # views of other programs are arms of a protocol
        "values",
        "formats",
        "geometry",
        "data",
        "nets",
        "diffusion",
        "neus",
        "mesh",
        "plans",
        "stages",
        "weights",
        "pipeline",
    },
    "report": {"values", "formats", "geometry", "mesh", "eval"},
    "cli": set(GROUPS),
    "": set(GROUPS),
}
STRAIGHT_AT_TOP = {"cli": {"plans", "cli"}}  # what commands may import before they know what is wanted


def group_of(module: str) -> str:
    """ "mesh.files" -> "mesh"; a module of no group is an error."""
    first = module.split(".")[0] or "__init__"
    found = [group for group, members in GROUPS.items() if first in members]
    assert found, f"{module} belongs to no group of GROUPS"
    return found[0]


def imports(source: str, *, top_only: bool = False) -> set[str]:
    """Modules of img2mv3d, without the prefix, that the source imports outside of TYPE_CHECKING blocks."""
    tree = ast.parse(source)
    found: set[str] = set()
    nodes = list(tree.body) if top_only else list(ast.walk(tree))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in nodes:
        if id(node) in guarded:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "img2mv3d":
            inside = (node.module or "")[len("img2mv3d.") :]
            found |= {inside} if inside else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name[len("img2mv3d.") :] for a in node.names if a.name.startswith("img2mv3d.")}
    return {name for name in found if name != "__version__"}


def broken_arrows(files: dict[str, str]) -> list[str]:
    """Every import that the table does not allow, as "importer -> imported"."""
    wrong = []
    for module, source in files.items():
        own = group_of(module)
        for other in sorted(imports(source)):
            if other in LEAVES:
                continue
            if module in LEAVES or (group_of(other) != own and group_of(other) not in ARROWS[own]):
                wrong.append(f"{module} -> {other}")
        for other in sorted(imports(source, top_only=True)) if own in STRAIGHT_AT_TOP else ():
            if other not in LEAVES and group_of(other) not in STRAIGHT_AT_TOP[own] and module != "__main__":
                wrong.append(f"{module} -> {other} at the top")
    return wrong


def sources() -> dict[str, str]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if name not in LEAVES:
            found[name] = path.read_text(encoding="utf-8")
    return found


def test_no_import_breaks_an_arrow() -> None:
    assert broken_arrows(sources()) == []


def test_every_arrow_is_walked() -> None:
    walked: dict[str, set[str]] = {group: set() for group in ARROWS}
    for module, source in sources().items():
        walked[group_of(module)] |= {group_of(other) for other in imports(source) - LEAVES}
    idle = {group: ARROWS[group] - walked[group] for group in ARROWS if group not in ("cli", "")}
    assert {group: targets for group, targets in idle.items() if targets} == {}


def test_stages_import_no_other_stage_no_store_no_paths() -> None:
    for name, source in sources().items():
        if not name.startswith("stages."):
            continue
        assert not {i for i in imports(source) if i.startswith("stages")}, name
        if name != "stages.given":  # it reads what somebody named instead of a fit
            assert "pathlib" not in source, name


def test_the_table_has_no_cycles() -> None:
    arrows = {g: set(t) for g, t in ARROWS.items() if g not in ("cli", "")}
    while arrows:
        free = [g for g, targets in arrows.items() if not targets & set(arrows)]
        assert free, f"a cycle among {sorted(arrows)}"
        for group in free:
            del arrows[group]


def test_a_broken_arrow_is_noticed() -> None:
    assert broken_arrows({"nets.vae": "from img2mv3d.stages.decode import decode"}) == ["nets.vae -> stages.decode"]
    late = "def f():\n    import img2mv3d.pipeline"
    assert broken_arrows({"mesh.files": late}) == ["mesh.files -> pipeline"]
    assert broken_arrows({"cli.app": "from img2mv3d.pipeline import run"}) == ["cli.app -> pipeline at the top"]
    assert broken_arrows({"cli.app": "def f():\n    from img2mv3d.pipeline import run"}) == []
    typed = "if TYPE_CHECKING:\n    from img2mv3d.stages.decode import decode"
    assert broken_arrows({"nets.vae": typed}) == []
