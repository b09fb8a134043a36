"""The provenance that a mesh file carries: settings, seed, weights and their licence, digests.

In: run.json's record of a run, and the digests of what the mesh is made of. Out: plain values for the file's extras.
Only what the run wrote down about itself is told, nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def provenance(
    record: Mapping[str, Any], edited: Collection[str], export: Mapping[str, Any], digests: Mapping[str, str | None]
) -> dict[str, Any]:
    """Plain values: settings (options by stage), seed, weights (name, digest, licence), digests (sha256), by_hand
    (stages whose output somebody gave or edited). edited: those stages; export: the options of the mesh itself.

    No names of files and no paths: they may be private.
    """
    settings: dict[str, Any] = {"export": dict(export)}
    told: dict[str, Any] = {"settings": settings}
    weights: list[dict[str, Any]] = []
    for stage, about in sorted(record["stages"].items()):
        made_with = about.get("made_with")
        if made_with is None or stage in edited or stage == "export":
            continue
        settings[stage] = made_with["options"]
        if "seed" in made_with:
            told["seed"] = made_with["seed"]
        if "weights" in made_with and made_with["weights"] not in weights:
            weights.append(made_with["weights"])
    if weights:
        told["weights"] = weights
    source = record["source"] or {}
    photo = source.get("digest") if source.get("kind") == "photo" else None
    told["digests"] = {name: digest for name, digest in {"photo": photo, **digests}.items() if digest}
    given = [stage for stage, about in record["stages"].items() if about.get("version") == 0]
    if by_hand := sorted({*given, *edited}):
        told["by_hand"] = by_hand
    return told
