"""What `__init__.py` finds by name when it is used, with its types. tests/test_types.py compares the two."""

from img2mv3d.bundles.weights import load_bundle as load_bundle
from img2mv3d.flow.entry import Source as Source
from img2mv3d.flow.photo import Pipeline as Pipeline
from img2mv3d.flow.photo import reconstruct_photo as reconstruct_photo
from img2mv3d.flow.pipeline import run as run
from img2mv3d.flow.store import Store as Store
from img2mv3d.geometry.cameras import Camera as Camera
from img2mv3d.geometry.cameras import Rig as Rig
from img2mv3d.plans import PLANS as PLANS
from img2mv3d.plans import Plan as Plan
from img2mv3d.readers.photos import read_photo as read_photo
from img2mv3d.stages.decode import decode as decode
from img2mv3d.stages.depth import fit_depth as fit_depth
from img2mv3d.stages.depth import plain_views as plain_views
from img2mv3d.stages.export import export as export
from img2mv3d.stages.generate import generate as generate
from img2mv3d.stages.prepare import prepare as prepare
from img2mv3d.stages.reconstruct import reconstruct as reconstruct
from img2mv3d.values import Depth as Depth
from img2mv3d.values import Latents as Latents
from img2mv3d.values import Mesh as Mesh
from img2mv3d.values import Photo as Photo
from img2mv3d.values import Subject as Subject
from img2mv3d.values import Surface as Surface
from img2mv3d.values import Views as Views

__version__: str
