"""tests/ mirrors img2mv3d/: who looks for the test of a module finds it under the same name."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
ABOUT_ALL = {
    "arrows",
    "docstrings",
    "light_import",
    "mirror",
    "surface",
    "types",
    "wheel",
    "installs",
    "documentation",
    "hostile",
    "faults",
    "written_before",
    "other_systems",
    "offline",
    "surroundings",
}
# Modules whose tests stand elsewhere, with the reason.
COVERED = {
    "__main__": "test_light_import runs it",
    "conventions": "constants; every test of geometry stands on them",
    "data.held_out": "eval/test_objects, data/test_corpus",
    "data.scans": "eval/test_protocol",
    "errors": "cli/test_app meets every kind",
    "plans": "cli/test_flags compares every field",
    "files.durable": "flow/test_store",
    "files.edits": "test_values: paint on each picture, lost transparency",
    "bundles.parts": "bundles/test_weights: every part is written, made again and probed",
    "bundles.hub": "bundles/test_fetch: a hub that breaks off, lies and refuses",
    "flow.inputs": "flow/test_pipeline: every kind of source",
    "flow.resolve": "flow/test_pipeline",
    "flow.progress": "cli/test_screen",
    "eval.of_photos": "cli/test_spread",
    "cli.guard": "cli/test_app",
    "cli.bundle": "cli/test_care, bundles/test_decoders",
    "cli.lines": "cli/test_care",
    "cli.run": "cli/test_app",
    "cli.training": "train/test_recipes",
    "cli.learning": "train/test_recipes, cli/test_measuring",
    "train.notes": "train/test_recipes",
    "mesh.headers": "test_hostile",
    "cli.serving": "serve/test_server",
}


def modules() -> set[str]:
    package = ROOT / "img2mv3d"
    found = (p.relative_to(package).with_suffix("") for p in package.rglob("*.py"))
    return {".".join(p.parts) for p in found if p.name != "__init__"}


def has_tests() -> set[str]:
    """Tests by the module that they are about: tests/mesh/test_files.py -> mesh.files."""
    folder = ROOT / "tests"
    found = (p.relative_to(folder).with_suffix("") for p in folder.rglob("test_*.py"))
    found = (p for p in found if p.parts[0] != "experiments")  # which are no part of the package
    return {".".join((*p.parts[:-1], p.name.removeprefix("test_"))) for p in found}


def test_every_test_stands_where_its_module_stands() -> None:
    packages = {m.rpartition(".")[0] for m in modules()}
    strange = has_tests() - modules() - ABOUT_ALL
    # a package's own test may gather what several of its modules do together
    assert {t for t in strange if t.rpartition(".")[0] not in packages - {""}} == set()


def test_every_module_has_a_test() -> None:
    covered_by_package = {t.rpartition(".")[0] for t in has_tests()}
    alone = modules() - has_tests() - set(COVERED)
    missing = {m for m in alone if m.rpartition(".")[0] not in covered_by_package - {""}}
    assert missing == set()


def test_no_two_modules_have_one_name() -> None:
    names = [module.rpartition(".")[2] for module in modules()]
    assert {name for name in names if names.count(name) > 1} == set()


def test_exceptions_are_still_needed() -> None:
    assert set(COVERED) <= modules() and not set(COVERED) & has_tests()
