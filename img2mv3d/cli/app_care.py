"""The commands that look after things: cache, weights, licences, doctor.

In: the words on the command line. Out: lines on stdout. Why here: the help of a command is its docstring here; `care`
does the work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from img2mv3d.cli import add
from img2mv3d.cli.flags import TEXT, with_flags

app = typer.Typer(**TEXT)
cache_app = typer.Typer(help="What is kept between runs.", **TEXT)
weights_app = typer.Typer(help="The networks' weights.", **TEXT)
app.add_typer(cache_app, name="cache")
app.add_typer(weights_app, name="weights")
add.register(weights_app)

CARE = ("cache", "debug")
Bundle = Annotated[str, typer.Argument(help="Name or folder of a bundle.")]
WeightsFolder = Annotated[Path | None, typer.Option("-o", "--out", help="Where [IMG2MV3D_WEIGHTS, else user data].")]
Accept = Annotated[bool, typer.Option("--accept-licence", help="I have read the terms and accept them.")]


@cache_app.command("list")
@with_flags(*CARE)
def cache_list(**flags: Any) -> None:
    """Every entry: key, stage, size, last use."""
    from img2mv3d.cli import care

    care.cache_list(flags)


@cache_app.command("size")
@with_flags(*CARE)
def cache_size(**flags: Any) -> None:
    """How much room it takes, and where."""
    from img2mv3d.cli import care

    care.cache_size(flags)


@cache_app.command("prune")
@with_flags(*CARE)
def cache_prune(
    max_size: Annotated[str, typer.Option("--max-size", help="What may stay, such as 500M or 2G.")] = "1G", **flags: Any
) -> None:
    """Forget what was used longest ago, and what was damaged."""
    from img2mv3d.cli import care

    care.cache_prune(max_size, flags)


@cache_app.command("verify")
@with_flags(*CARE)
def cache_verify(**flags: Any) -> None:
    """Read every byte and set damaged entries aside."""
    from img2mv3d.cli import care

    care.cache_verify(flags)


@weights_app.command("list")
@with_flags("debug")
def weights_list(**flags: Any) -> None:
    """The bundles that are here."""
    from img2mv3d.cli import care

    care.weights_list()


@weights_app.command("verify")
@with_flags("debug")
def weights_verify(name: Bundle = "mini", **flags: Any) -> None:
    """Check digests, numbers and answers of a bundle's networks."""
    from img2mv3d.cli import care

    care.weights_verify(name)


@weights_app.command("inspect")
@with_flags("debug")
def weights_inspect(name: Bundle = "mini", **flags: Any) -> None:
    """What a bundle's manifest says; of a checkpoint's folder, what its files hold and what is wrong with them."""
    from img2mv3d.cli import care

    care.weights_inspect(name)


@weights_app.command("fetch")
@with_flags("debug")
def weights_fetch(
    name: Annotated[str, typer.Argument(help="wonder3d.")],
    out: WeightsFolder = None,
    revision: Annotated[str, typer.Option("--revision", help="Commit or branch [the pinned one, else newest].")] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Only verify what is here; no connection.")] = False,
    accept_licence: Accept = False,
    **flags: Any,
) -> None:
    """Bring other people's weights from the hub, verified; a call that was broken off goes on where it was.

    HF_ENDPOINT names a mirror, HF_TOKEN an account, HF_HUB_OFFLINE=1 means --offline.
    """
    from img2mv3d.cli import care

    care.weights_fetch(name, out, revision, offline, accept_licence)


@weights_app.command("import")
@with_flags("debug")
def weights_import(
    source: Annotated[Path, typer.Argument(help="A copy of the published folder.")],
    out: WeightsFolder = None,
    accept_licence: Accept = False,
    **flags: Any,
) -> None:
    """Take a copy of Wonder3D's folder that you have already."""
    from img2mv3d.cli import care

    care.weights_import(source, out, accept_licence)


@app.command()
@with_flags("debug")
def licences(**flags: Any) -> None:
    """The terms of code, weights and data.

    \b
    img2mv3d licences
    """
    from img2mv3d.cli import care

    care.licences()


@app.command()
@with_flags(*CARE)
def doctor(**flags: Any) -> None:
    """What this installation and this machine have, and what they lack."""
    from img2mv3d.cli import care

    care.doctor(flags)
