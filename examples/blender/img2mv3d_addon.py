"""Blender add-on: a photo becomes a mesh in the scene, computed by `img2mv3d serve`.

Install: Edit > Preferences > Add-ons > Install from Disk, this file; there is the server's address, too. Use: File >
Import > Photo (img2mv3d), or the tab img2mv3d in the 3D view's sidebar. Blender 4.2 or newer; nothing else is needed.

A thread talks to the server and never touches bpy; the operator asks it for news on a timer, in Blender's main thread.
"""

import base64
import http.client
import ipaddress
import json
import os
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bpy

bl_info = {
    "name": "img2mv3d",
    "description": "Photo in, textured mesh out, computed by img2mv3d serve",
    "version": (0, 1, 0),
    "blender": (4, 2, 0),
    "location": "File > Import > Photo (img2mv3d); sidebar of the 3D view",
    "category": "Import-Export",
}
ADDRESS = "http://127.0.0.1:8337/"
PATIENCE = 20.0  # seconds that one answer may take
PAUSE = 0.3  # seconds between two questions how it goes
PICTURES = "*.png;*.jpg;*.jpeg;*.webp;*.tif;*.tiff;*.bmp;*.avif"


class Failure(Exception):
    """One line for the user."""


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


class Job(threading.Thread):
    """One photo on its way. line: how it stands. mesh: the file, once it is there. error: one line, once it failed."""

    def __init__(self, server: Server, photo: Path, options: dict) -> None:
        super().__init__(daemon=True)
        self._server, self._photo, self._options = server, photo, options
        self._stop = threading.Event()
        self.line, self.error, self.mesh = "sending the photo", "", ""

    @property
    def ended(self) -> bool:
        """Is there a mesh, or none to come?"""
        return bool(self.mesh or self.error)

    def cancel(self) -> None:
        """At once, here; the server is told as soon as it listens."""
        self.error = self.error or "cancelled"
        self._stop.set()

    def run(self) -> None:
        """The thread: post, ask until it has ended, fetch."""
        try:
            self._server.check()
            photo = base64.b64encode(self._photo.read_bytes()).decode()
            posted = {"photo": photo, "name": self._photo.name, "options": self._options}
            run = f"runs/{self._server.told('POST', 'runs', posted)['id']}"
            try:
                self._follow(run)
            finally:
                if self._stop.is_set():
                    self._server.forget(run)
        except (Failure, OSError, KeyError) as error:
            self.error = self.error or " ".join(str(error).split())

    def _follow(self, run: str) -> None:
        while not self._stop.wait(PAUSE):
            state = self._server.told("GET", run)
            if state["state"] == "done":
                data = self._server.ask("GET", f"{run}/files/{state['file']}")
                if not self._stop.is_set():
                    with tempfile.NamedTemporaryFile(suffix=".glb", delete=False) as file:
                        file.write(data)
                    self.mesh = file.name
                return
            if state["state"] not in ("queued", "running"):
                raise Failure(state.get("reason") or state["state"])
            place = f"waiting, place {state['place']}" if state.get("place") else "at work"
            self.line = state.get("doing") or place


class RECONSTRUCT_OT_img2mv3d(bpy.types.Operator):
    """Turn a photo of one object into a textured mesh; Esc cancels"""

    bl_idname = "import_scene.img2mv3d"
    bl_label = "Photo (img2mv3d)"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    filepath: bpy.props.StringProperty(name="Photo", subtype="FILE_PATH")  # type: ignore[valid-type]
    filter_glob: bpy.props.StringProperty(default=PICTURES, options={"HIDDEN"})  # type: ignore[valid-type]
    quality: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Quality",
        items=[(word, word.capitalize(), "") for word in ("draft", "standard", "fine")],
        default="standard",
    )
    seed: bpy.props.IntProperty(name="Seed", min=0, description="Another seed, another back side")  # type: ignore[valid-type]
    size_mm: bpy.props.FloatProperty(  # type: ignore[valid-type]
        name="Longest side (mm)", min=0, max=100_000, description="0: about a metre"
    )

    def invoke(self, context, event):
        """Let the user choose a photo."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        """Begin. Without a window wait for the end, too."""
        options = {"quality": self.quality, "seed": self.seed, "format": "glb"}
        if self.size_mm:
            options["size_mm"] = max(1.0, self.size_mm)
        where = preferences(context)
        self._job = Job(Server(where.address, where.token), Path(self.filepath), options)
        self._job.start()
        if bpy.app.background:
            while not self._job.ended:
                time.sleep(PAUSE)
            return self._end(context)
        self._timer = context.window_manager.event_timer_add(PAUSE, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        """Blender's main thread, on every event: the timer's show how it stands, Esc cancels."""
        if event.type == "ESC":
            self._job.cancel()
        elif event.type != "TIMER":
            return {"PASS_THROUGH"}
        if not self._job.ended:
            context.workspace.status_text_set(f"img2mv3d: {self._job.line} (Esc cancels)")
            return {"RUNNING_MODAL"}
        context.window_manager.event_timer_remove(self._timer)
        context.workspace.status_text_set(None)
        return self._end(context)

    def _end(self, context):
        job = self._job
        if not job.mesh:
            self.report({"WARNING"} if job.error == "cancelled" else {"ERROR"}, f"img2mv3d: {job.error}")
            return {"CANCELLED"}
        before = set(context.scene.objects)
        try:
            bpy.ops.import_scene.gltf(filepath=job.mesh)
        finally:
            os.unlink(job.mesh)
        for thing in set(context.scene.objects) - before:
            if thing.type == "MESH":
                thing.name = Path(self.filepath).stem
        return {"FINISHED"}


class Preferences(bpy.types.AddonPreferences):
    """Where the server is; Blender keeps it"""

    bl_idname = __name__

    address: bpy.props.StringProperty(name="Server", default=ADDRESS)  # type: ignore[valid-type]
    token: bpy.props.StringProperty(name="Token", subtype="PASSWORD")  # type: ignore[valid-type]

    def draw(self, context):
        """In Blender's preferences."""
        self.layout.prop(self, "address")
        self.layout.prop(self, "token")


class VIEW3D_PT_img2mv3d(bpy.types.Panel):
    """The server's address, and the button"""

    bl_label = "img2mv3d"
    bl_space_type, bl_region_type, bl_category = "VIEW_3D", "UI", "img2mv3d"

    def draw(self, context):
        """In the sidebar."""
        self.layout.prop(preferences(context), "address")
        self.layout.operator(RECONSTRUCT_OT_img2mv3d.bl_idname, icon="IMAGE_DATA")


def preferences(context):
    """Address and token."""
    return context.preferences.addons[__name__].preferences


def is_local(host: str) -> bool:
    """Is it this machine?"""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def in_menu(menu, context) -> None:
    """File > Import."""
    menu.layout.operator(RECONSTRUCT_OT_img2mv3d.bl_idname)


CLASSES = (Preferences, RECONSTRUCT_OT_img2mv3d, VIEW3D_PT_img2mv3d)


def register() -> None:
    """Blender switches the add-on on."""
    for each in CLASSES:
        bpy.utils.register_class(each)
    bpy.types.TOPBAR_MT_file_import.append(in_menu)


def unregister() -> None:
    """And off."""
    bpy.types.TOPBAR_MT_file_import.remove(in_menu)
    for each in reversed(CLASSES):
        bpy.utils.unregister_class(each)
