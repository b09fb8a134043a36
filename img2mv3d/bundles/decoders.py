"""The choice of the cross-view decoder for Stable Diffusion's latents: mini's, or the user's own on SVD or SD.

In: a name of `NAMES` or "crossview", the bundle of the run. Out: `Decoder`, with name, digest and the reason of the
choice; it makes the network. No published checkpoint holds such a decoder, and its latents fit all of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d.bundles import convert
from img2mv3d.bundles.manifests import MANIFEST, digest_of, fetched_folder, read_manifest
from img2mv3d.bundles.weights import LATENT_SPACE, Checkpoint, load_bundle
from img2mv3d.conventions import LATENT_SCALE
from img2mv3d.errors import WeightsError

if TYPE_CHECKING:
    from img2mv3d.nets.crossview import CrossViewDecoder

NAMES = ("mini", "svd", "sd")
BASES = {"svd": "svd", "sd": "sd_vae"}  # folders of third_party/ that tell what the base's files look like
WHOSE = {"svd": "Stable Video Diffusion's decoder", "sd": "Stable Diffusion's decoder, time switched off"}
UNTRAINED = "without trained cross-view weights (`img2mv3d weights add DIR`) its views agree no better than plain ones"


@dataclass(frozen=True, eq=False)
class Decoder:
    """A decoder that was chosen. name: mini, svd, sd, or that of a bundle with one of its own. digest: of its weights,
    part of the cache's key. why: half a sentence, for the user. config: arguments of the network. space: of the latents
    that it takes.
    """

    name: str
    digest: str
    why: str
    make: Callable[[], CrossViewDecoder] = field(repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    licence: str | None = None
    space: str = LATENT_SPACE


def choose(wanted: str, bundle: Any) -> Decoder:
    """The decoder that `wanted` means for latents of this bundle (a `weights.Bundle`); loads no torch.

    "crossview": the bundle's own; else trained cross-view weights that were added, those on SVD first; else mini's.
    Raises WeightsError that says what is missing and where it comes from.
    """
    if wanted == "mini":
        return _of_bundle(load_bundle("mini"), "as requested")
    if wanted in BASES:
        return _trained(wanted, "as requested") or stock(wanted, bundle)
    if not isinstance(bundle, Checkpoint):
        return _of_bundle(bundle, "the bundle's own")
    for base in BASES:
        if found := _trained(base, "trained weights were added"):
            return found
    return _of_bundle(load_bundle("mini"), f"nothing else is there for {bundle.name}, and the latent space is the same")


def stock(base: str, bundle: Any) -> Decoder:
    """The base as its authors publish it; the parts that look across views are there, but add nothing. Raises
    WeightsError when it was not brought."""
    upstream = BASES[base]
    own = base == "sd" and isinstance(bundle, Checkpoint)  # the checkpoint's autoencoder is such a one
    folder = bundle.folder if own else fetched_folder() / upstream
    names = convert.read_table(upstream, "layout")["files"]["vae"]
    if not (folder / "vae" / "config.json").is_file() or not any((folder / "vae" / n).is_file() for n in names):
        kind = "an AutoencoderKLTemporalDecoder" if base == "svd" else "an AutoencoderKL"
        raise WeightsError(
            f"{folder}: no weights of {WHOSE[base].partition(',')[0]}; add the vae folder of {kind} with "
            "`img2mv3d weights add DIR`, or use --decoder mini"
        )
    path = convert.first_of(folder / "vae", names)
    digest = digest_of(folder, [path.relative_to(folder), Path("vae/config.json")])
    told = convert.read_table(upstream, "upstream")["weights"]["licence"]
    return Decoder(
        base,
        hashlib.sha256(f"{base} {digest}".encode()).hexdigest(),
        f"as requested; {WHOSE[base]}; {UNTRAINED}",
        lambda: _make(base, folder / "vae", path),
        _numbers(base, convert.read_config(folder / "vae" / "config.json"), folder / "vae" / "config.json"),
        told,
    )


def trained_folder(base: str) -> Path:
    """Where trained cross-view weights on this base stand once they were added."""
    return fetched_folder() / f"crossview-{base}"


def base_of(folder: Path) -> str:
    """The base ("svd" or "sd") that a bundle's cross-view decoder was trained on. Raises WeightsError."""
    manifest = read_manifest(folder)
    if "crossview_decoder" not in manifest["parts"]:
        raise WeightsError(f"{folder / MANIFEST}: has no crossview_decoder; give weights that look across views")
    if manifest.get("base") not in BASES:
        found = manifest.get("base")
        raise WeightsError(f'{folder / MANIFEST}: base is {found!r}, expected "svd" or "sd"; write it in')
    return str(manifest["base"])


def _of_bundle(bundle: Any, why: str) -> Decoder:
    space = str(bundle.manifest.get("latent_space", LATENT_SPACE))
    return Decoder(
        bundle.name, bundle.digest, why, lambda: bundle.crossview_decoder(), _config(bundle), bundle.licence, space
    )


def _trained(base: str, why: str) -> Decoder | None:
    folder = trained_folder(base)
    if not (folder / MANIFEST).is_file():
        return None
    bundle = load_bundle(folder)
    made = f"{why}; {WHOSE[base]} with trained cross-view weights {bundle.digest[:12]}"
    return Decoder(base, bundle.digest, made, bundle.crossview_decoder, _config(bundle), bundle.licence)


def _config(bundle: Any) -> Mapping[str, Any]:
    return bundle.manifest.get("parts", {}).get("crossview_decoder", {}).get("config", {})


def _make(base: str, folder: Path, path: Path) -> CrossViewDecoder:
    """The stock decoder in eval mode, fp32. Raises WeightsError when files and config do not belong together."""
    from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder

    upstream, config = BASES[base], convert.read_config(folder / "config.json")
    convert.expect(config, convert.read_table(upstream, "layout")["vae"]["expected"], folder / "config.json")
    temporal = base == "svd"
    try:
        net = CrossViewDecoder(CrossViewConfig.from_dict(_numbers(base, config, folder / "config.json")))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{folder / 'config.json'}: {error}; is this the config of {WHOSE[base]}?") from None
    rules = convert.read_table(upstream, "names")["temporal_decoder" if temporal else "plain_decoder"]
    tensors = convert.rename(convert.read_tensors(path), rules, str(path))
    tensors = {k: t.float() for k, t in tensors.items()}
    if temporal:
        convert.load_strictly(net.base, tensors, str(path))
    else:
        convert.check_finite(tensors, str(path))
        try:
            net.base.load_spatial(tensors)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from None
    return net.eval().requires_grad_(False)


def _numbers(base: str, config: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """Arguments of the decoder that the config of an autoencoder means."""
    try:
        channels = tuple(config["block_out_channels"])
        return {
            "channels": channels,
            "layers_per_block": int(config["layers_per_block"]),
            "groups": int(config.get("norm_num_groups", 32)),
            "scale": LATENT_SCALE,
            "post_quant": base == "sd",
            "temporal": base == "svd",
        }
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{where}: {type(error).__name__} {error}; is this the config of an autoencoder?") from None
