"""The table of mesh formats: whatever stands in it can be typed, written, read, shown, served and looked up."""

import re
from pathlib import Path

import pytest

from img2mv3d.cli import single
from img2mv3d.cli.flags import FLAGS
from img2mv3d.mesh.files import READERS, WRITERS
from img2mv3d.mesh.formats import FORMATS, READABLE
from img2mv3d.report.gather import BEST_FIRST
from img2mv3d.report.serve import OFFERED, TYPES
from tests import opened_elsewhere

ROOT = Path(__file__).parents[2]
PAGE_OF_THE_SERVER = (ROOT / "img2mv3d" / "serve" / "page" / "index.html").read_text(encoding="utf-8")
IN_THE_MANUAL = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")


def test_names_are_endings() -> None:
    assert all(name == format.name == name.lower() for name, format in FORMATS.items())


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_can_be_typed_written_read_shown_and_served(name: str) -> None:
    assert name in FLAGS["format"].choices and name in READABLE
    assert callable(WRITERS[name]) and (FORMATS[name].reader is None or callable(READERS[name]))
    assert FORMATS[name] in BEST_FIRST
    assert f'<option value="{name}">' in PAGE_OF_THE_SERVER
    for ending in (name, *FORMATS[name].beside):
        assert OFFERED.fullmatch(f"mesh.{ending}") and TYPES[f".{ending}"], ending


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_explained_and_tried_with_other_readers(name: str) -> None:
    kinds, readers = IN_THE_MANUAL.split("## Tested readers")
    assert re.search(rf"^\|[^|]*\b{name}\b", kinds, re.M), "docs/formats.md: what it is for"
    assert re.search(rf"^\| {name} \|", readers, re.M), "docs/formats.md: who reads it"
    assert re.search(rf"^ *([\w]+, )*{name}\b", str(single.export.__doc__), re.M), "help of export"
    assert name in opened_elsewhere.FORMATS


def test_what_is_shown_first_has_a_texture_and_what_comes_last_no_colours() -> None:
    assert BEST_FIRST[0].name == "glb" and BEST_FIRST[-1].name == "stl"
