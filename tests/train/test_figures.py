"""Laws of a bundle's figures and credits."""

from pathlib import Path

from img2mv3d.train.figures import credits


def test_credits_name_training_objects_only(toy: Path, tmp_path: Path) -> None:
    columns = "id package path licence category faces vertices textured colour cutout split author".split()
    lines = ["\t".join(columns)]
    for name, author in (("toy-0", "Ada"), ("toy-1", "Ada"), ("toy-2", "Bo"), ("toy-3", "Cy"), ("toy-9", "Di")):
        row = {"id": name, "licence": "CC0-1.0", "faces": "12", "vertices": "8", "cutout": "0", "author": author}
        row["split"] = "val" if name == "toy-3" else "train"
        lines.append("\t".join(row.get(c, "toy") for c in columns))
    (tmp_path / "manifest.tsv").write_text("\n".join(lines) + "\n")
    text = credits(tmp_path, toy)
    assert "Ada (2), Bo" in text and "Cy" not in text and "Di" not in text
    assert "CC0-1.0, 3 objects" in text
