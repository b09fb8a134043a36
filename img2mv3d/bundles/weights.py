"""Bundles of weights: find them, check them, build their networks, load strictly; and write them.

In: a bundle's name or folder. Out: a `Bundle`, whose methods make the networks. Importing this module, finding a bundle
and reading its digest load no torch.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d.bundles import convert, manifests
from img2mv3d.bundles.manifests import (
    FORMAT,
    MANIFEST,
    PARTS,
    data_folder,
    digest_of,
    fetched_folder,
    read_manifest,
    to_toml,
)
from img2mv3d.bundles.parts import Part, is_near, make_part, probe
from img2mv3d.errors import WeightsError
from img2mv3d.files.durable import sync_file, write_atomically

if TYPE_CHECKING:
    from torch import Tensor, nn

    from img2mv3d.nets.crossview import CrossViewDecoder
    from img2mv3d.nets.generator import GeneratorNets
    from img2mv3d.nets.shape import ShapeNet
    from img2mv3d.nets.vae import Encoder, PlainDecoder
    from img2mv3d.values import Latents

LATENT_SPACE = "sd-1.x"
GENERATE_KEYS = ("schedule", "steps", "solver", "guidance", "eta")
NETWORKS = ("encoder", "plain_decoder", "crossview_decoder", "shape", "generator")  # methods that make them
REFINE_STEPS = (200, 100)  # noise levels through which a draft goes, where a manifest does not tell


@dataclass(frozen=True, eq=False)
class Bundle:
    """A folder with manifest.toml and one .safetensors file per part. The methods give networks in eval mode, on the
    CPU, in fp32; all raise WeightsError when the part is absent, damaged or made for another network."""

    name: str
    folder: Path
    manifest: Mapping[str, Any]
    digest: str = field(repr=False)

    @property
    def framing_px(self) -> int:
        """The silhouette's long side, in px of 256, that the generator was trained for."""
        return int(self.manifest["framing_px"])

    @property
    def licence(self) -> str | None:
        """Under which terms the weights stand, as the manifest tells it."""
        return self.manifest.get("licence")

    @property
    def vae(self) -> dict[str, str]:
        """Name of the latent space, which decides what may be decoded, and the bundle's digest, for the record."""
        return {"name": str(self.manifest.get("latent_space", LATENT_SPACE)), "digest": self.digest}

    def revolution_prior(self, latents: Latents) -> float:
        """How far the outlines of these latents shall lean towards a body of revolution, 0..1: what the manifest says,
        for latents that this bundle generated; else 0. Latents of version 0.1.0 tell it themselves."""
        if "rounded" in latents.settings:
            return float(latents.settings["rounded"])
        generated = latents.bundle == self.name and "solver" in latents.settings
        told = self.manifest.get("generate", {})
        return float(told.get("revolution_prior", told.get("rounded", 0.0))) if generated else 0.0

    def encoder(self) -> Encoder:
        """Pictures -> scaled latents."""
        return self._load("encoder")

    def plain_decoder(self) -> PlainDecoder:
        """Scaled latents -> pictures, one view at a time."""
        return self._load("plain_decoder")

    def crossview_decoder(self) -> CrossViewDecoder:
        """Scaled latents and depth of all views -> pictures that agree."""
        return self._load("crossview_decoder")

    def shape(self) -> ShapeNet:
        """A framed photo -> its body."""
        return self._load("shape")

    def generator(self) -> GeneratorNets:
        """All that stages.generate needs."""
        import torch

        from img2mv3d.geometry.cameras import SIX_VIEWS
        from img2mv3d.nets.generator import GeneratorNets, MiniCondition
        from img2mv3d.nets.multiview import camera_vector

        told = self.manifest.get("generate", {})
        if set(GENERATE_KEYS) - set(told):
            raise WeightsError(f"{self.folder / MANIFEST}: [generate] must have {', '.join(GENERATE_KEYS)}")
        elevation, azimuth = (torch.deg2rad(torch.tensor(a)) for a in (SIX_VIEWS.elevation_deg, SIX_VIEWS.azimuth_deg))
        encoder = self.encoder()
        return GeneratorNets(
            unet=self._load("unet"),
            condition=MiniCondition(encoder, self._load("tokens")).eval(),
            camera=camera_vector(elevation, azimuth),
            framing_px=self.framing_px,
            vae=self.vae,
            bundle=self.name,
            white=encoder.white() if told.get("windows") else None,
            encoder=encoder,
            refine_steps=tuple(told.get("refine_steps", REFINE_STEPS)),
            **{k: told[k] for k in GENERATE_KEYS},
        )

    def parts(self) -> tuple[str, ...]:
        """Names of the parts that are there."""
        return tuple(self.manifest["parts"])

    def check(self) -> None:
        """Read every part and run its probe. Raises WeightsError when a file is damaged or a network gives other
        numbers than when it was written."""
        for part in self.parts():
            expected, found = self.manifest["parts"][part].get("probe"), probe(part, self._load(part))
            if expected is not None and not is_near(expected, found):
                raise WeightsError(
                    f"{self.folder}: {part} gives {found}, expected {expected}; this build computes something else"
                )

    def _load(self, part: str) -> Any:
        if part not in self.manifest["parts"]:
            raise WeightsError(
                f"bundle {self.name} ({self.folder}) has no {part}; it has {', '.join(self.parts()) or 'no parts'}"
            )
        entry = self.manifest["parts"][part]
        path = self.folder / entry["file"]
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise WeightsError(
                f"{path}: cannot be read ({error.strerror}); install or fetch the bundle again"
            ) from None
        if found != entry["sha256"]:
            raise WeightsError(
                f"{path}: not the file that {MANIFEST} was written for (sha256 differs); fetch the bundle again"
            )
        try:
            module = make_part(part, entry.get("config", {}))
        except (TypeError, ValueError) as error:
            raise WeightsError(
                f"{self.folder / MANIFEST}: parts.{part}.config: {error}; made for another version?"
            ) from None
        tensors = {k: t.float() if t.is_floating_point() else t for k, t in convert.read_tensors(path).items()}
        convert.load_strictly(module, tensors, str(path))
        return module.eval().requires_grad_(False)


@dataclass(frozen=True, eq=False)
class Checkpoint(Bundle):
    """A folder as Wonder3D's authors publish it (unet, vae, image_encoder, scheduler). Its latents are Stable
    Diffusion's, hence mini's cross-view decoder fits."""

    def encoder(self) -> Any:
        """Stable Diffusion's encoder."""
        from img2mv3d.nets.clip import SdEncoder

        return self._vae(SdEncoder, "vae_encoder")

    def plain_decoder(self) -> Any:
        """Stable Diffusion's decoder."""
        from img2mv3d.nets.clip import SdDecoder

        return self._vae(SdDecoder, "vae_decoder")

    def crossview_decoder(self) -> CrossViewDecoder:
        """That of mini: nobody has published one for this checkpoint, and the latent space is the same. `decoders`
        has others."""
        return load_bundle("mini").crossview_decoder()

    def generator(self) -> GeneratorNets:
        """The published network with the constants it was trained with."""
        import torch

        from img2mv3d.nets.clip import ClipCondition, make_clip
        from img2mv3d.nets.generator import GeneratorNets
        from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig, camera_vector

        layout = self.manifest
        config, tensors = self._read("unet")
        numbers = convert.unet_numbers(config, layout["unet"], str(self.folder / "unet" / "config.json"))
        with convert.unfilled():
            unet = MultiViewUNet(UNetConfig.from_dict(numbers))
        tensors = convert.rename(tensors, self._names("unet"), "unet")
        convert.load_strictly(unet, tensors, str(self.folder / "unet"), take=True)
        self._scheduler()
        config, tensors = self._read("image_encoder")
        with convert.unfilled():
            clip = make_clip(config)
        tensors = convert.rename(tensors, self._names("image_encoder"), "image_encoder")
        convert.load_strictly(clip, tensors, str(self.folder / "image_encoder"), take=True)
        angles = (torch.deg2rad(torch.tensor(layout["camera"][k])) for k in ("elevation_deg", "azimuth_deg"))
        return GeneratorNets(
            unet=unet.eval().requires_grad_(False),
            condition=ClipCondition(self.encoder(), clip).eval().requires_grad_(False),
            camera=camera_vector(*angles, domains=numbers["camera_width"] == 10),
            framing_px=self.framing_px,
            vae=self.vae,
            bundle=self.name,
            **{k: layout[k] for k in GENERATE_KEYS},
        )

    def skeleton(self, part: str) -> Any:
        """An untrained network of a part: unet, image_encoder, encoder, plain_decoder."""
        from img2mv3d.nets.clip import SdDecoder, SdEncoder, make_clip
        from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig

        place = {"encoder": "vae", "plain_decoder": "vae"}.get(part, part)
        config = convert.read_config(self.folder / place / "config.json")
        if part == "unet":
            where = str(self.folder / "unet" / "config.json")
            numbers = convert.unet_numbers(config, self.manifest["unet"], where)
            return MultiViewUNet(UNetConfig.from_dict(numbers))
        return {"image_encoder": make_clip, "encoder": SdEncoder, "plain_decoder": SdDecoder}[part](config)

    def parts(self) -> tuple[str, ...]:
        """Names of the folders that hold weights."""
        return tuple(self.manifest["files"])

    def check(self) -> None:
        """Hold every file against the record of `weights fetch`, if there is one; then load every part strictly. Raises
        WeightsError."""
        from img2mv3d.bundles.fetch import RECORD, faults

        wrong = faults(self.folder) if (self.folder / RECORD).exists() else []
        if wrong:
            raise WeightsError(f"{self.folder}: {'; '.join(wrong[:3])}; `img2mv3d weights fetch` repairs it")
        self.generator(), self.plain_decoder()

    def _names(self, part: str) -> Mapping[str, Any]:
        return convert.read_table("wonder3d", "names")[part]

    def _vae(self, kind: type, part: str) -> Any:
        config, tensors = self._read("vae")
        path = self.folder / "vae"
        convert.expect(config, self.manifest["vae"]["expected"], path / "config.json")
        known = tuple(prefix for half in ("vae_encoder", "vae_decoder") for prefix in self._names(half)["keep"])
        spare = {k: t.shape for k, t in tensors.items() if not k.startswith(known)}
        convert.check_shapes({}, spare, str(path))  # of neither half: nobody else would notice
        with convert.unfilled():
            module = kind(config)
        convert.load_strictly(module, convert.rename(tensors, self._names(part), "vae"), str(path), take=True)
        return module.eval().requires_grad_(False)

    def _scheduler(self) -> None:
        path = self.folder / "scheduler" / "scheduler_config.json"
        if path.exists():
            convert.expect(convert.read_config(path), self.manifest["scheduler"]["expected"], path)

    def _read(self, part: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        path = convert.first_of(self.folder / part, self.manifest["files"][part])
        config = convert.read_config(self.folder / part / "config.json")
        for name, tensor in (tensors := convert.read_tensors(path)).items():  # one by one: never all in two precisions
            tensors[name] = (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        return config, tensors


def load_bundle(name_or_folder: str | Path) -> Bundle:
    """The bundle of that name ("mini"), or in that folder: one of ours, or Wonder3D's checkpoint as published.
    Imports no torch.

    Raises WeightsError when there is none. Parts are read, and checked, when they are asked for.
    """
    folder = folder_of(name_or_folder)
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        listed = [Path(MANIFEST), *(Path(entry["file"]) for entry in manifest["parts"].values())]
        return Bundle(manifest["name"], folder, manifest, digest_of(folder, listed))
    if (folder / "unet" / "config.json").is_file():
        files = [
            p.relative_to(folder) for p in sorted(folder.glob("*/*")) if p.suffix in (".bin", ".safetensors", ".json")
        ]
        return Checkpoint("wonder3d", folder, convert.read_table("wonder3d", "layout"), digest_of(folder, files))
    if str(name_or_folder) == "wonder3d":
        raise WeightsError(
            "Wonder3D's checkpoint is not shipped; fetch it once with `img2mv3d weights fetch wonder3d`, or give the "
            "folder of a copy as the bundle"
        )
    raise WeightsError(
        f"{folder}: no bundle (neither {MANIFEST} nor unet/config.json); give mini, a bundle's folder, "
        "or the folder of Wonder3D's checkpoint"
    )


def kept_loaded(bundle: Bundle) -> Bundle:
    """The same bundle, but each of its networks is read once and stays in memory: for processes with many photos."""
    kept = replace(bundle)
    for name in NETWORKS:
        object.__setattr__(kept, name, functools.cache(getattr(kept, name)))
    return kept


def skeleton(bundle: Bundle, part: str) -> nn.Module:
    """The network of a part on the meta device, without numbers. part: of `PARTS`, or image_encoder of a checkpoint."""
    import torch

    with torch.device("meta"):
        if not isinstance(bundle, Checkpoint):
            return make_part(part, bundle.manifest["parts"][part].get("config", {})).eval()
        return bundle.skeleton(part).eval()


def folder_of(name_or_folder: str | Path) -> Path:
    """Where the bundle of that name lies (whether it is there or not), or the folder itself: mini comes with the
    package, wonder3d is where `weights fetch` puts it unless a folder of that name is here."""
    if str(name_or_folder) == "mini":
        return data_folder("_weights", "weights") / "mini"
    folder = Path(os.path.expanduser(name_or_folder))
    return fetched_folder() / "wonder3d" if str(name_or_folder) == "wonder3d" and not folder.is_dir() else folder


def write_bundle(
    folder: Path,
    parts: Mapping[str, Part | tuple[nn.Module, Mapping[str, Any]]],
    manifest: Mapping[str, Any],
    *,
    half: bool = True,
) -> Bundle:
    """Write parts and manifest; equal networks and notes give equal bytes. Parts and entries that are there already
    and not given stay.

    parts: by name, of `PARTS`. manifest: name, framing_px, generate, and whatever else shall be recorded (plain
    values, None is left out).
    half: store fp16; the probe is taken from what was stored. The manifest comes last, under a temporary name, so
    that an interrupted write leaves the old one. Raises WeightsError on an unknown part or one that does not load back.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    old = read_manifest(folder) if (folder / MANIFEST).is_file() else {}
    entries = dict(old.get("parts", {}))
    for name, (module, config) in parts.items():
        if name not in PARTS:
            raise WeightsError(f"{folder}: unknown part {name!r}; expected one of {', '.join(PARTS)}")
        tensors = {k: _stored(t, half) for k, t in sorted(module.state_dict().items())}
        twin = make_part(name, config)
        convert.load_strictly(twin, {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}, name)
        path = folder / f"{name}.safetensors"
        save_file(tensors, path.with_suffix(".tmp"), manifests.header_of(config, manifest))
        path.with_suffix(".tmp").chmod(0o644)  # the writer gives it to its owner alone, and packages keep modes
        sync_file(path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)
        entries[name] = {
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
            "parameters": sum(p.numel() for p in module.parameters()),
            "config": dict(config),
            "probe": probe(name, twin.eval()),
        }
    told = {k: v for k, v in {**old, **manifest}.items() if k not in ("format", "parts")}
    if "name" not in told or "framing_px" not in told:
        raise WeightsError(f"{folder}: a manifest must have name and framing_px")
    text = to_toml({"format": FORMAT, **told, "parts": {k: entries[k] for k in PARTS if k in entries}})
    tomllib.loads(text)
    write_atomically(folder / MANIFEST, text.encode())
    return load_bundle(folder)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor
