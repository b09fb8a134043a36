"""Every error that a user can cause or meet, with its exit code. One line: what is wrong, with which file, what to do.

    Img2mv3dError
    ├── UsageError         2   the command or its flags make no sense together
    │   └── BusyError              another run is at work in the folder
    ├── InputError         3   a file that was given cannot be used
    │   ├── PhotoError         photo or mask
    │   ├── LatentsError       latents.pt
    │   ├── ViewsError         a folder of views
    │   ├── DepthError         depth.npz or a mesh given as depth
    │   └── SurfaceError       surface.npz
    ├── WeightsError       4   weights are missing, incomplete or made for something else
    ├── ResourceError      5   out of memory or disk
    └── NothingFoundError  6   no object in the photo, an empty surface
        └── UnsoundError       a mesh that is no closed body, or that cannot be printed

Exit code 0 is success, 130 an interrupt. Anything else that escapes is a defect of ours.
"""


class Img2mv3dError(Exception):
    """Base of all errors that are shown as one line; `exit_code` is the process's status."""

    exit_code = 1


class UsageError(Img2mv3dError):
    """The command or its flags make no sense together."""

    exit_code = 2


class BusyError(UsageError):
    """Another run is at work in the folder."""


class InputError(Img2mv3dError):
    """A file that was given cannot be used."""

    exit_code = 3


class PhotoError(InputError):
    """The photo or its mask cannot be used."""


class LatentsError(InputError):
    """A latents file cannot be used."""


class ViewsError(InputError):
    """A folder of views cannot be used."""


class DepthError(InputError):
    """A depth file, or a mesh given as depth, cannot be used."""


class SurfaceError(InputError):
    """A surface file cannot be used."""


class WeightsError(Img2mv3dError):
    """Weights are missing, incomplete or made for something else."""

    exit_code = 4


class ResourceError(Img2mv3dError):
    """Out of memory or disk."""

    exit_code = 5


class NothingFoundError(Img2mv3dError):
    """Nothing was found where something must be: no object in the photo, an empty surface."""

    exit_code = 6


class UnsoundError(NothingFoundError):
    """No sound body was found in a mesh file: it has holes, non-manifold or inconsistently oriented edges, or walls too
    thin."""
