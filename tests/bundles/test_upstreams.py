"""What stands in third_party/: facts about other people's files, none of their files."""

import tomllib
from pathlib import Path

import pytest

PLACE = Path(__file__).parents[2] / "third_party"
UPSTREAMS = sorted(p.name for p in PLACE.iterdir() if p.is_dir())
ALLOWED = {"upstream.toml", "layout.toml", "names.toml", "LICENSE", "NOTICE"}


def strangers(folder: Path) -> list[str]:
    """Files that are no facts: whatever is not named in ALLOWED or lies deeper than one folder."""
    files = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file()]
    return sorted(str(p) for p in files if len(p.parts) != 2 or p.name not in ALLOWED)


def test_third_party_holds_data_only() -> None:
    assert UPSTREAMS == ["sd_vae", "svd", "wonder3d"] and strangers(PLACE) == []


def test_source_files_would_be_noticed(tmp_path: Path) -> None:
    for name in ("a/model.py", "a/upstream.toml", "a/deeper/names.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert strangers(tmp_path) == ["a/deeper/names.toml", "a/model.py"]


@pytest.mark.parametrize("name", UPSTREAMS)
def test_every_upstream_tells_origin_licence_and_use(name: str) -> None:
    told = tomllib.loads((PLACE / name / "upstream.toml").read_text(encoding="utf-8"))
    assert {"name", "repository", "paper", "licence", "used", "not_used", "weights"} <= set(told)
    weights = told["weights"]
    assert weights["repository"].count("/") == 1 and weights["parts"]
    assert weights["revision"] == "" or len(weights["revision"]) == 40
    assert all(len(digest) == 64 for digest in weights["sha256"].values())
    assert bool(weights["sha256"]) <= bool(weights["revision"]), "digests mean nothing without their commit"
