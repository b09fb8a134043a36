"""Who may import whom: the table of arrows by folder, no circle of modules, and a proof that breaking either shows."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
LEAVES = {"conventions", "errors", "plans", "machine", "__init__"}  # everybody may import these; they import nothing

# A folder (or root module): the folders that its modules may import. Imports inside of functions and those of types
# only count, too.
ARROWS: dict[str, set[str]] = {
    # wing 1, the method: knows no command and no flow
    "geometry": set(),
    "nets": {"geometry"},
    "diffusion": set(),
    "neus": {"geometry"},
    "mesh": {"geometry"},
    "matting": set(),
    # wing 2, the product
    "files": {"geometry"},
    "values": {"files", "geometry"},
    "readers": {"values", "files", "geometry"},
    "stages": {"values", "files", "geometry", "nets", "diffusion", "neus", "mesh", "matting"},
    "bundles": {"nets", "geometry", "files", "values"},
    "flow": {"stages", "values", "files", "bundles", "readers", "nets", "mesh", "matting"},
    "report": {"flow", "values", "files", "geometry", "mesh"},  # of flow the graph: names and order of the stages
    "serve": {"flow", "bundles", "readers", "report", "matting", "mesh", "files"},
    "cluster": {"serve", "flow", "files"},  # of serve the worker processes
    "client": set(),  # standard library alone
    # wing 3, learning and measuring
    "data": {"files", "geometry", "nets", "diffusion", "mesh"},  # perturbed latents; scans from mesh files
    "train": {"data", "nets", "diffusion", "bundles", "geometry", "files", "mesh", "stages"},
    "eval": {"data", "nets", "neus", "mesh", "geometry", "stages", "values", "files", "bundles", "readers"},
    # people's door, and the two modules that only point at others
    "cli": {
        *("geometry", "mesh", "matting", "values", "files", "readers", "bundles", "flow", "report", "serve", "cluster"),
        *("data", "train", "eval"),
    },
    "__main__": {"cli"},
}
STRAIGHT_AT_TOP = {"plans", "cli"}  # what commands may import before they know what is wanted
LIGHT = {"flow.graph", "mesh.formats"}  # of other folders


@pytest.fixture(scope="module")
def house() -> ModuleType:
    """The script that prints the figures of the house: it reads imports."""
    spec = importlib.util.spec_from_file_location("house", ROOT / ".ci" / "house.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def imports(house: ModuleType) -> dict[str, set[str]]:
    """Every module of the package, and the modules that it imports."""
    return house.imports(house.sources())


def folder_of(module: str) -> str:
    return module.split(".")[0]


def broken_arrows(imports: dict[str, set[str]]) -> list[str]:
    """Every import that the table does not allow, as "importer -> imported"."""
    wrong = []
    for module, others in imports.items():
        own = folder_of(module)
        allowed = LEAVES if own in LEAVES else {own} | LEAVES | ARROWS[own]
        wrong += [f"{module} -> {other}" for other in sorted(others) if folder_of(other) not in allowed]
    return wrong


def test_no_import_breaks_an_arrow(imports: dict[str, set[str]]) -> None:
    assert broken_arrows(imports) == []


def test_every_arrow_is_walked(imports: dict[str, set[str]]) -> None:
    walked: dict[str, set[str]] = {}
    for module, others in imports.items():
        walked.setdefault(folder_of(module), set()).update(folder_of(other) for other in others)
    assert {own: idle for own, targets in ARROWS.items() if (idle := targets - walked[own])} == {}


def test_no_circle_of_modules(house: ModuleType, imports: dict[str, set[str]]) -> None:
    assert house.circles(imports) == []


def test_the_table_has_no_circle(house: ModuleType) -> None:
    assert house.circles(ARROWS | {leaf: set() for leaf in LEAVES}) == []


def test_the_method_and_the_flow_know_nothing_above_them() -> None:
    method = ("geometry", "nets", "diffusion", "neus", "mesh", "matting")
    assert {target for own in method for target in ARROWS[own]} == {"geometry"}
    product = ("files", "values", "readers", "stages", "bundles", "flow", "report", "serve", "cluster", "client")
    assert not {target for own in product for target in ARROWS[own]} & {"cli", "data", "train", "eval"}


def test_commands_import_late(house: ModuleType) -> None:
    for module, others in house.imports(house.sources(), top_only=True).items():
        if folder_of(module) == "cli":
            late = {other for other in others - LIGHT if folder_of(other) not in STRAIGHT_AT_TOP | LEAVES}
            assert late == set(), module


def test_stages_import_no_other_stage_no_flow_no_paths(house: ModuleType, imports: dict[str, set[str]]) -> None:
    for module, source in house.sources().items():
        if not module.startswith("stages."):
            continue
        assert not {other for other in imports[module] if folder_of(other) in ("stages", "flow")}, module
        if module != "stages.given":  # it reads what somebody named instead of a fit
            assert "pathlib" not in source, module


def test_a_broken_arrow_is_noticed(house: ModuleType) -> None:
    here = {"stages.decode": "", "flow.pipeline": "", "nets.vae": "", "mesh.files": ""}

    def broken(module: str, source: str) -> list[str]:
        return broken_arrows(house.imports(here | {module: source}))

    assert broken("nets.vae", "from img2mv3d.stages.decode import f") == ["nets.vae -> stages.decode"]
    assert broken("nets.vae", "from img2mv3d.stages import decode") == ["nets.vae -> stages.decode"]
    late = "def f():\n    import img2mv3d.flow.pipeline"
    assert broken("mesh.files", late) == ["mesh.files -> flow.pipeline"]
    typed = "if TYPE_CHECKING:\n    from img2mv3d.stages.decode import f"
    assert broken("nets.vae", typed) == ["nets.vae -> stages.decode"]
    assert broken("cli.run", late) == []


def test_a_circle_is_noticed(house: ModuleType) -> None:
    typed = "if TYPE_CHECKING:\n    from img2mv3d.nets.a import f"
    three = {"nets.a": "import img2mv3d.nets.b", "nets.b": "from img2mv3d.nets import c", "nets.c": typed}
    assert house.circles(house.imports(three)) == [["nets.a", "nets.b", "nets.c"]]
