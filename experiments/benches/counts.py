"""What the networks of the shipped bundle take, counted once for `run --dry-run`.

`python -m experiments.benches.counts` writes img2mv3d/bundles/counts.json, on a torch for the CPU; needed anew when
these networks get another shape, or the code that runs them another order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from img2mv3d.bundles.decoders import choose
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.cli.dry import SHIPPED, asked_of, counted
from img2mv3d.files.durable import digest_of
from img2mv3d.plans import PLANS


def counts() -> Iterator[tuple[str, dict[str, Any]]]:
    """(digest of what is asked, its counts) of every preset."""
    bundle = load_bundle("mini")
    for plan in PLANS.values():
        decoder = None if plan.decode.decoder == "plain" else choose(plan.decode.decoder, bundle)
        needs, resident = counted(plan, bundle, decoder)
        told = {"needs": [asdict(need) for need in needs], "resident": resident}
        yield digest_of(asked_of(plan, bundle, decoder)), told


if __name__ == "__main__":
    SHIPPED.write_text(json.dumps(dict(counts()), indent=1) + "\n", encoding="utf-8")
