"""What the tests of training share."""

from pathlib import Path

import pytest

from img2mv3d.train.toy import make_toy


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A toy data folder of 64 px pictures."""
    return make_toy(tmp_path / "data")
