"""`weights add`: decoders of the user's own, for the latents of the public checkpoint.

In: a folder as typed. Out: a copy where `--decoder svd` and `--decoder sd` look. Why here: app.py lists commands; what
kind of folder this is must be found out first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from img2mv3d.cli.flags import with_flags
from img2mv3d.errors import WeightsError

Source = Annotated[Path, typer.Argument(help="The vae folder of SVD or of Stable Diffusion, or trained weights.")]
Accept = Annotated[bool, typer.Option("--accept-licence", help="I have read the terms and accept them.")]


def register(weights_app: typer.Typer) -> None:
    """Give the group `weights` its command `add`."""

    @weights_app.command("add")
    @with_flags("debug")
    def weights_add(source: Source, accept_licence: Accept = False, **flags: Any) -> None:
        """Take a decoder for --decoder svd or sd: an autoencoder's folder, or cross-view weights trained on one.

        \b
        img2mv3d weights add stable-video-diffusion-img2vid/vae
        img2mv3d weights add runs/crossview-on-svd
        """
        print(add(source, accept_licence))


def add(source: Path, accepted: bool) -> Path:
    """Copy what is in `source` to where decoders are looked for; terms first. Raises WeightsError, UsageError."""
    from img2mv3d.bundles.decoders import BASES
    from img2mv3d.bundles.fetch import take
    from img2mv3d.bundles.inspection import is_video_decoder
    from img2mv3d.bundles.manifests import MANIFEST, fetched_folder
    from img2mv3d.bundles.upstreams import ADDABLE, terms_of
    from img2mv3d.cli.care import agree, note

    if not source.is_dir():
        raise WeightsError(f"{source}: no such folder; give the vae folder of an autoencoder, or trained weights")
    if (source / MANIFEST).is_file():
        return _add_trained(source, accepted)
    video = is_video_decoder(source)
    if video is None:
        raise WeightsError(
            f"{source}: neither an autoencoder (config.json of AutoencoderKL or AutoencoderKLTemporalDecoder) nor "
            f"trained weights ({MANIFEST}); give one of these folders"
        )
    upstream = BASES["svd" if video else "sd"]
    place = source / "vae" if (source / "vae" / "config.json").is_file() else source
    agree(terms_of(upstream, ADDABLE), accepted)
    return take(upstream, place, fetched_folder() / upstream, say=note)


def _add_trained(source: Path, accepted: bool) -> Path:
    from img2mv3d.bundles.decoders import BASES, WHOSE, base_of, trained_folder
    from img2mv3d.bundles.manifests import MANIFEST
    from img2mv3d.bundles.upstreams import ADDABLE, terms_of
    from img2mv3d.bundles.weights import load_bundle
    from img2mv3d.cli.care import agree, note
    from img2mv3d.files.durable import replace_folder

    base = base_of(source)
    bundle = load_bundle(source)
    bundle.crossview_decoder()  # strict: what does not load is not taken
    agree(terms_of(BASES[base], ADDABLE), accepted)
    note(f"trained cross-view weights on {WHOSE[base]}, licence {bundle.manifest.get('licence', 'not told')}")
    names = [MANIFEST, *(entry["file"] for entry in bundle.manifest["parts"].values())]
    return replace_folder({name: source / name for name in names}, trained_folder(base))
