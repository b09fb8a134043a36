"""One photo of an object into a textured mesh, with views that agree to the pixel: the public names.

Stages turn one value into the next; `run` calls them all. Names are looked up when they are used, so that
`import img2mv3d` loads neither numpy nor torch. What dependencies ask the environment is set
here, before any of them is loaded.
"""

import os
from importlib import import_module

__version__ = "0.1.0"

# What dependencies ask the environment when they are loaded. What the user has set goes before it.
SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime from 1.29 on looks up a host, keeps a device id and events in ~/.cache
    "ORT_TELEMETRY_DISABLED": "1",  # its other name, in some builds
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, diffusers and transformers count uses
    "DO_NOT_TRACK": "1",  # the same by the name that many agree on
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait must sleep: on two busy cores, spinning made a fit 7 times slower
}
for _name, _value in SWITCHES.items():
    os.environ.setdefault(_name, _value)

_HOME = {
    # values
    "Photo": "img2mv3d.values",
    "Subject": "img2mv3d.values",
    "Latents": "img2mv3d.values",
    "Depth": "img2mv3d.values",
    "Views": "img2mv3d.values",
    "Surface": "img2mv3d.values",
    "Mesh": "img2mv3d.values",
    # stages
    "prepare": "img2mv3d.stages.prepare",
    "generate": "img2mv3d.stages.generate",
    "plain_views": "img2mv3d.stages.depth",
    "fit_depth": "img2mv3d.stages.depth",
    "decode": "img2mv3d.stages.decode",
    "reconstruct": "img2mv3d.stages.reconstruct",
    "export": "img2mv3d.stages.export",
    # what they take
    "Camera": "img2mv3d.geometry.cameras",
    "Rig": "img2mv3d.geometry.cameras",
    "Plan": "img2mv3d.plans",
    "PLANS": "img2mv3d.plans",
    "load_bundle": "img2mv3d.bundles.weights",
    "read_photo": "img2mv3d.readers.photos",
    # all of them in a row
    "Source": "img2mv3d.flow.entry",
    "Store": "img2mv3d.flow.store",
    "run": "img2mv3d.flow.pipeline",
    "Pipeline": "img2mv3d.flow.photo",
    "reconstruct_photo": "img2mv3d.flow.photo",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'img2mv3d' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
