"""What many tests share: a photo that is only bytes, stand-ins for the stages, a run of them."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from img2mv3d.flow import inputs, pipeline
from img2mv3d.flow.entry import Source
from img2mv3d.flow.pipeline import Result
from img2mv3d.flow.progress import Report
from img2mv3d.flow.store import Store
from img2mv3d.plans import Plan
from tests.fakes import FakeBundle, FakeRunners

# A red test must be red again: the same draws in every run. `--hypothesis-profile default` draws by chance.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache or weights."""
    monkeypatch.setenv("IMG2MV3D_WEIGHTS", str(tmp_path_factory.getbasetemp() / "no-weights-here"))
    monkeypatch.setenv("IMG2MV3D_CACHE", str(tmp_path_factory.getbasetemp() / "cache-of-commands"))


@dataclass
class Told(Report):
    """A report that remembers."""

    how: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    numbers: list[tuple[str, int, int]] = field(default_factory=list)

    def begin(self, stage: str, number: int, total: int) -> None:
        self.numbers.append((stage, number, total))

    def end(self, stage: str, how: str, seconds: float) -> None:
        self.how[stage] = how

    def note(self, line: str) -> None:
        self.notes.append(line)


@dataclass
class Workshop:
    """A folder with a photo and a cache, and pipeline.run on stand-ins."""

    folder: Path
    runners: FakeRunners = field(default_factory=FakeRunners)
    told: Told = field(default_factory=Told)
    cached: bool = True

    def __post_init__(self) -> None:
        self.photo = self.folder / "photo.png"
        self.photo.write_bytes(b"a photo")
        self.out = self.folder / "out"

    @property
    def store(self) -> Store:
        return Store(self.folder / "cache" if self.cached else None, lambda line: self.told.note(line))

    def run(
        self, source: Source | None = None, plan: Plan | None = None, out: Path | None = None, **more: Any
    ) -> Result:
        """Run; afterwards `runners.calls` and `told` speak of this run only."""
        self.runners.calls.clear()
        self.told = Told()
        source = source or Source("photo", self.photo)
        runners, bundle = self.runners.table(), more.pop("bundle", FakeBundle())
        return pipeline.run(
            source,
            out or self.out,
            plan or Plan(),
            store=self.store,
            report=self.told,
            runners=runners,
            bundle=bundle,
            **more,
        )


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """Stages of a millisecond with all the care that real ones get; only the disk is not waited for."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(inputs, "matting_digest", lambda remover: None)
    return Workshop(tmp_path)
