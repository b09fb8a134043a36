"""The commands of `weights`: list, verify, inspect, fetch and import bundles of weights.

In: names and folders as typed. Out: lines on stdout; weights where `bundles` looks for them. Terms are shown, and must
be accepted, before a byte is fetched or copied.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from img2mv3d.cli.flags import TEXT, command
from img2mv3d.cli.lines import say, tell
from img2mv3d.errors import UsageError, WeightsError

app = typer.Typer(help="The networks' weights.", **TEXT)

Name = Annotated[str, typer.Argument(help="Name or folder of a bundle.")]
Upstream = Annotated[str, typer.Argument(help="wonder3d.")]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="Folder for it (IMG2MV3D_WEIGHTS, else user data).")]
Accept = Annotated[bool, typer.Option("--accept-licence", help="I have read the terms and accept them.")]
Revision = Annotated[str, typer.Option("--revision", help="Commit or branch (the pinned one, else the newest).")]
Offline = Annotated[bool, typer.Option("--offline", help="Only verify local files; open no connection.")]
Published = Annotated[Path, typer.Argument(help="A copy of the published folder.")]
Decoder = Annotated[Path, typer.Argument(help="The vae folder of SVD or of Stable Diffusion, or trained weights.")]


@command(app, "debug", name="list")
def weights_list(**flags: Any) -> None:
    """List the installed bundles."""
    from img2mv3d.bundles.weights import folder_of, load_bundle

    for name in ("mini", *(name for name in ("wonder3d",) if folder_of(name).is_dir())):
        bundle = load_bundle(name)
        print(f"{bundle.name}  {bundle.digest[:12]}  {', '.join(bundle.parts())}  {bundle.folder}")


@command(app, "debug", name="verify")
def weights_verify(name: Name = "mini", **flags: Any) -> None:
    """Check digests, numbers and answers of a bundle's networks."""
    from img2mv3d.bundles.weights import load_bundle

    bundle = load_bundle(name)
    bundle.check()
    print(f"{bundle.name} is good: {', '.join(bundle.parts())}")


@command(app, "debug", name="inspect")
def weights_inspect(name: Name = "mini", **flags: Any) -> None:
    """Show a bundle's manifest, or what a checkpoint's folder holds and what is wrong with it."""
    from img2mv3d.bundles.inspection import findings, is_foreign
    from img2mv3d.bundles.manifests import MANIFEST
    from img2mv3d.bundles.weights import folder_of, load_bundle

    folder = folder_of(name)
    if is_foreign(folder) and not (folder / MANIFEST).is_file():
        return tell(findings(folder), f"{folder}: something above is missing or wrong; `weights fetch` downloads it")
    bundle = load_bundle(name)
    print(f"folder = {bundle.folder}\ndigest = {bundle.digest}")
    for line in flat(bundle.manifest):
        print(line)


@command(app, "debug", name="fetch")
def weights_fetch(
    name: Upstream,
    out: Out = None,
    revision: Revision = "",
    offline: Offline = False,
    accept_licence: Accept = False,
    **flags: Any,
) -> None:
    """Download published weights from the hub and verify them; an interrupted download continues.

    HF_ENDPOINT names a mirror, HF_TOKEN an account, HF_HUB_OFFLINE=1 means --offline.
    """
    from img2mv3d.bundles.fetch import fetch

    folder = _agreed_place(name, out, accept_licence)
    print(fetch(name, folder, revision=revision, offline=offline, say=say))


@command(app, "debug", name="import")
def weights_import(source: Published, out: Out = None, accept_licence: Accept = False, **flags: Any) -> None:
    """Import a copy of Wonder3D's folder that you already have."""
    from img2mv3d.bundles.fetch import take

    print(take("wonder3d", source, _agreed_place("wonder3d", out, accept_licence), say=say))


@command(app, "debug", name="add")
def weights_add(source: Decoder, accept_licence: Accept = False, **flags: Any) -> None:
    """Add a decoder for --decoder svd or sd: an autoencoder's folder, or cross-view weights trained on one.

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
    return take(upstream, place, fetched_folder() / upstream, say=say)


def _add_trained(source: Path, accepted: bool) -> Path:
    from img2mv3d.bundles.decoders import BASES, WHOSE, base_of, trained_folder
    from img2mv3d.bundles.manifests import MANIFEST
    from img2mv3d.bundles.upstreams import ADDABLE, terms_of
    from img2mv3d.bundles.weights import load_bundle
    from img2mv3d.files.durable import replace_folder

    base = base_of(source)
    bundle = load_bundle(source)
    bundle.crossview_decoder()  # strict: what does not load is not taken
    agree(terms_of(BASES[base], ADDABLE), accepted)
    say(f"trained cross-view weights on {WHOSE[base]}, licence {bundle.licence or 'not stated'}")
    names = [MANIFEST, *(entry["file"] for entry in bundle.manifest["parts"].values())]
    return replace_folder({name: source / name for name in names}, trained_folder(base))


def agree(terms: Iterable[str], accepted: bool) -> None:
    """Show the terms and ask. Raises UsageError."""
    for line in terms:
        say(line)
    if not accepted and not (sys.stdin.isatty() and _says_yes("Do you accept these terms? [y/N] ")):
        raise UsageError("the terms above are not accepted; read them, then say so with --accept-licence")


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Nested plain values as lines "a.b = value"."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} = {value}"


def _agreed_place(name: str, out: Path | None, accepted: bool) -> Path:
    """Where the weights will stand. The terms are shown and must be accepted, unless weights were fetched there before.
    Raises UsageError."""
    from img2mv3d.bundles.fetch import RECORD
    from img2mv3d.bundles.manifests import fetched_folder
    from img2mv3d.bundles.upstreams import terms_of

    terms, folder = terms_of(name), out or fetched_folder() / name
    if not (folder / RECORD).exists():
        agree(terms, accepted)
    return folder


def _says_yes(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
