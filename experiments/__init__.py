"""Studies, ablations and benches of img2mv3d: not shipped, run from a checkout."""
