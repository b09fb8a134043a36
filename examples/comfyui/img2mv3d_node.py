"""ComfyUI custom node: image and mask in, mesh and views out, computed by `img2mv3d serve`.

Install: copy this file to ComfyUI/custom_nodes. It needs the standard library and what ComfyUI has anyway (torch,
numpy, Pillow); it installs nothing. The server may run on another machine: mesh and views are fetched from it.
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import json
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from PIL import Image

ADDRESS = "http://127.0.0.1:8337/"
FOLDER = "img2mv3d"  # in ComfyUI's output folder
PATIENCE = 20.0  # seconds that one answer may take
PAUSE = 0.5  # seconds between two questions how it goes
VIEWS = ("front", "front_right", "right", "back", "left", "front_left")
BORDER, FREE = 0.5, 0.1  # share of the picture's edge that an inverted mask covers at least, and its inverse at most


class Failure(Exception):
    """One line for the user."""


class Img2mv3d:
    """The node."""

    CATEGORY = "3d"
    DESCRIPTION = "One photo of an object into a textured mesh and six views, by a running `img2mv3d serve`."
    FUNCTION = "reconstruct"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING", "IMAGE", "STRING")
    RETURN_NAMES = ("mesh_path", "views", "model_file")
    OUTPUT_TOOLTIPS = ("the mesh on this machine", "six views", "the mesh's path in the output folder: Preview 3D")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """What ComfyUI shows."""
        return {
            "required": {
                "image": ("IMAGE",),
                "quality": (["standard", "draft", "fine"],),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**63 - 1, "tooltip": "another seed, another back"}),
                "size_mm": ("FLOAT", {"default": 0.0, "min": 0.0, "max": 100_000.0, "tooltip": "0: about a metre"}),
                "server": ("STRING", {"default": ADDRESS, "tooltip": "the token is read from IMG2MV3D_TOKEN"}),
            },
            "optional": {
                "mask": ("MASK",),
                "mask_is": (["auto", "object", "background"], {"tooltip": "auto: whichever leaves the edges free"}),
            },
        }

    def reconstruct(
        self,
        image: torch.Tensor,
        quality: str,
        seed: int,
        size_mm: float,
        server: str,
        mask: torch.Tensor | None = None,
        mask_is: str = "auto",
    ) -> dict[str, Any]:
        """Mesh and views of the first image. Raises Failure, which ComfyUI shows."""
        there = Server(server, os.environ.get("IMG2MV3D_TOKEN", ""))
        options: dict[str, Any] = {"quality": quality, "seed": seed, "format": "glb"}
        if size_mm:
            options["size_mm"] = max(1.0, size_mm)
        body: dict[str, Any] = {"photo": png(image[0]), "name": "comfyui.png", "options": options}
        notes = []
        if mask is not None:
            found, note = object_mask(mask[0], mask_is)
            notes += [note] if note else []
            if found is not None:
                body["mask"] = png(found)
        there.check()
        run = f"runs/{there.told('POST', 'runs', body)['id']}"
        try:
            state = follow(there, run)
            mesh = there.ask("GET", f"{run}/files/{state['file']}")
            pictures = [there.ask("GET", f"{run}/files/view-{name}.png") for name in VIEWS]
        except BaseException:  # an interrupt, too: nobody will come for it
            there.forget(run)
            raise
        path = saved(mesh, output_folder() / FOLDER)
        notes += state.get("warnings", [])
        for note in notes:
            print(f"img2mv3d: {note}", flush=True)
        views = torch.stack([tensor(picture) for picture in pictures])
        return {"ui": {"text": notes}, "result": (str(path), views, f"{FOLDER}/{path.name}")}


class Server:
    """A server at an address. token: for servers that are not on this machine."""

    def __init__(self, address: str, token: str = "") -> None:
        self.address, self._token = address.strip().rstrip("/") + "/", token.strip()
        # a proxy of the network must not catch what stays on this machine
        handlers = [urllib.request.ProxyHandler({})] if is_local(urlsplit(self.address).hostname or "") else []
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The answer's bytes. Raises Failure."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        try:
            request = urllib.request.Request(self.address + path, data, headers, method=method)
            with self._opener.open(request, timeout=PATIENCE) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise Failure(self._reason(error)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            said = f"none within {PATIENCE:g} s" if isinstance(reason, TimeoutError) else reason or error
            raise Failure(f"{self.address}: no answer ({said}); is `img2mv3d serve` running there?") from None

    def told(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer's JSON. Raises Failure, also when another program answers."""
        try:
            found = json.loads(self.ask(method, path, body))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Failure(self._foreign())
        return found

    def check(self) -> None:
        """Raises Failure unless it is img2mv3d that answers there."""
        try:
            known = "ready" in self.told("GET", "healthz")
        except Failure as error:
            if "no answer" in str(error):
                raise
            known = False
        if not known:
            raise Failure(self._foreign())

    def forget(self, run: str) -> None:
        """Stop a run and remove it; whether that works does not matter."""
        try:
            self.ask("DELETE", run)
        except Failure:
            return

    def _foreign(self) -> str:
        return f"{self.address}: another program answers there, not `img2mv3d serve`"

    def _reason(self, error: urllib.error.HTTPError) -> str:
        try:
            return str(json.loads(error.read())["detail"])
        except Exception:
            return f"{self.address}: HTTP {error.code} {error.reason}"


def follow(server: Server, run: str) -> dict[str, Any]:
    """A run's state, once it is done. Raises Failure, and what ComfyUI raises when its user interrupts."""
    while True:
        state = server.told("GET", run)
        if state["state"] == "done":
            return state
        if state["state"] not in ("queued", "running"):
            raise Failure(state.get("reason") or state["state"])
        stop_if_interrupted()
        time.sleep(PAUSE)


def stop_if_interrupted() -> None:
    """Raises what ComfyUI wants when its user pressed Cancel."""
    try:
        from comfy.model_management import throw_exception_if_processing_interrupted
    except ImportError:  # not in ComfyUI
        return
    throw_exception_if_processing_interrupted()


def object_mask(mask: torch.Tensor, means: str) -> tuple[torch.Tensor | None, str]:
    """The mask in which 1 is the object, None where it says nothing; and a note.

    Nodes disagree: Load Image gives 1 where a picture is transparent, most others where the object is. An object seldom
    covers its picture's edges, so "auto" takes the reading that leaves them free.
    """
    solid = mask > 0.5
    if bool(solid.all()) or not bool(solid.any()):
        return None, "the mask is all one; the server cuts the object out itself"
    if means == "background":
        return 1.0 - mask, ""
    edge = torch.cat([solid[0], solid[-1], solid[:, 0], solid[:, -1]]).float().mean().item()
    if means == "auto" and edge > BORDER and 1.0 - edge < FREE:
        return 1.0 - mask, "the mask marks the background; it was inverted (mask_is: object keeps it)"
    return mask, ""


def png(picture: torch.Tensor) -> str:
    """A tensor [H, W] or [H, W, C] of 0 to 1 as a PNG in base64."""
    values = (picture.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    sink = io.BytesIO()
    Image.fromarray(values).save(sink, format="PNG")
    return base64.b64encode(sink.getvalue()).decode()


def tensor(data: bytes) -> torch.Tensor:
    """A picture's bytes over white, as ComfyUI has them: float [H, W, 3] of 0 to 1."""
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    return torch.from_numpy(np.asarray(ground.convert("RGB"), np.float32) / 255)


def saved(mesh: bytes, folder: Path) -> Path:
    """Write the mesh under the next free number; it appears whole."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(m.group(1)) for p in folder.glob("mesh_*.glb") if (m := re.fullmatch(r"mesh_(\d+)", p.stem))]
    path = folder / f"mesh_{max(numbers, default=0) + 1:05}.glb"
    draft = path.with_suffix(".part")
    draft.write_bytes(mesh)
    draft.replace(path)
    return path


def output_folder() -> Path:
    """ComfyUI's."""
    import folder_paths

    return Path(folder_paths.get_output_directory())


def is_local(host: str) -> bool:
    """Is it this machine?"""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


NODE_CLASS_MAPPINGS = {"Img2mv3d": Img2mv3d}
NODE_DISPLAY_NAME_MAPPINGS = {"Img2mv3d": "Photo to mesh (img2mv3d)"}
