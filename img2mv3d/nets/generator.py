"""All that generation needs of a bundle, in one value: denoiser, condition encoder, cameras, defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.nets.multiview import MultiViewUNet
from img2mv3d.nets.tokens import TokenEncoder
from img2mv3d.nets.vae import Encoder, EncodesPictures


class PhotoCondition(NamedTuple):
    """What the denoiser is conditioned on of the photo.

    latent: scaled.
    tokens: for the cross-attention.
    """

    latent: Float[Tensor, "c h w"]
    tokens: Float[Tensor, "T d"]


@runtime_checkable
class ConditionEncoder(Protocol):
    """Photo -> `PhotoCondition`. photo: RGBA in [0, 1], straight alpha, framed, [4, H, W]."""

    def __call__(self, photo: Float[Tensor, "4 H W"]) -> PhotoCondition:
        """Latent and tokens of the photo over white."""
        ...


class MiniCondition(nn.Module):
    """The condition encoder of `mini`: its small image encoder and its own tokens."""

    def __init__(self, encoder: Encoder, tokens: TokenEncoder) -> None:
        super().__init__()
        self.encoder, self.tokens = encoder, tokens

    def forward(self, photo: Float[Tensor, "4 H W"]) -> PhotoCondition:
        """See `ConditionEncoder`."""
        alpha = photo[3:]
        white = photo[:3] * alpha + (1 - alpha)
        return PhotoCondition(
            self.encoder.encode(white[None])[0], self.tokens(torch.cat([white, alpha])[None]).tokens[0]
        )


@dataclass(frozen=True, eq=False)
class GeneratorNets:
    """unet, condition: networks in eval mode.
    camera: numbers of one object's rows (normals, then colours), see `multiview.camera_vector`.
    schedule: a name of diffusion.schedule.SCHEDULES.
    steps, guidance, solver, eta: the bundle's own choice where an option is None.
    framing_px: the silhouette's long side it was trained for.
    vae: name and digest of the latent space.
    bundle: its name.
    rig: where the views are taken from.
    white: the latent of white, where the denoiser was trained on windows round the object; None: it sees whole
        pictures.
    encoder: of pictures, for the views of a body.
    refine_steps: noise levels through which those go.
    """

    unet: MultiViewUNet
    condition: ConditionEncoder
    camera: Float[Tensor, "N k"]
    schedule: str
    steps: int
    guidance: float
    solver: str
    eta: float
    framing_px: int
    vae: Mapping[str, str]
    bundle: str
    rig: Rig = SIX_VIEWS
    white: Float[Tensor, " c"] | None = None
    encoder: EncodesPictures | None = None
    refine_steps: tuple[int, ...] = ()

    def to(self, device: str | torch.device, dtype: torch.dtype = torch.float32) -> GeneratorNets:
        """The same on another device and in another precision (the modules themselves move, as torch does it)."""
        condition = self.condition.to(device, dtype) if isinstance(self.condition, nn.Module) else self.condition
        return replace(
            self, unet=self.unet.to(device, dtype), condition=condition, camera=self.camera.to(device, dtype)
        )
