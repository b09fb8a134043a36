"""The command line on stand-ins for the stages."""

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from img2mv3d.bundles import weights
from img2mv3d.cli.app import app
from img2mv3d.flow import runners
from tests.conftest import Workshop
from tests.fakes import FakeBundle

Run = Callable[..., Result]


@pytest.fixture
def img2mv3d(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line on stand-ins, standing in the workshop's folder."""
    monkeypatch.chdir(workshop.folder)
    for name, verb in workshop.runners.table().items():
        monkeypatch.setattr(runners, name, verb)
    monkeypatch.setattr(weights, "load_bundle", lambda name: FakeBundle(str(name)))
    monkeypatch.setenv("COLUMNS", "100")  # as docs/make_pages.py
    monkeypatch.setenv("IMG2MV3D_CACHE", str(workshop.folder / "cache"))
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words], prog_name="img2mv3d")
