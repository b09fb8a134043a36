"""As much of Blender as the add-on touches, without Blender: every access from another thread is noted."""

from __future__ import annotations

import threading
from types import ModuleType, SimpleNamespace
from typing import Any


class Base:
    """Of operators, panels and preferences."""

    def __init__(self, **properties: Any) -> None:
        self.said: list[tuple[str, str]] = []
        self.__dict__.update(properties)

    def report(self, kind: set[str], text: str) -> None:
        self.said.append((min(kind), text))


class FakeBpy(ModuleType):
    """`import bpy`. strangers: names that were looked up by other threads than the main one."""

    def __init__(self) -> None:
        super().__init__("bpy")
        self.strangers: list[str] = []
        self.imported: list[bytes] = []
        self.app = SimpleNamespace(background=False)
        words = ("StringProperty", "EnumProperty", "IntProperty", "FloatProperty")
        self.props = SimpleNamespace(**{word: lambda **more: more for word in words})
        self.types = SimpleNamespace(Operator=Base, Panel=Base, AddonPreferences=Base)
        self.ops = SimpleNamespace(import_scene=SimpleNamespace(gltf=self._gltf))
        self.scene = SimpleNamespace(objects=[])

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and threading.current_thread() is not threading.main_thread():
            super().__getattribute__("strangers").append(name)
        return super().__getattribute__(name)

    def context(self, module: str, address: str) -> Any:
        """Blender's context, with the add-on's preferences."""
        window = SimpleNamespace(event_timer_add=lambda *_, **__: "timer", event_timer_remove=lambda timer: None)
        window.modal_handler_add = lambda operator: None
        told: list[str | None] = []
        there = SimpleNamespace(preferences=SimpleNamespace(address=address, token=""))
        return SimpleNamespace(
            window_manager=window,
            window=None,
            workspace=SimpleNamespace(status_text_set=told.append, told=told),
            preferences=SimpleNamespace(addons={module: there}),
            scene=self.scene,
        )

    def _gltf(self, filepath: str) -> None:
        with open(filepath, "rb") as file:
            self.imported.append(file.read())
        self.scene.objects.append(Mesh())


class Mesh:
    type, name = "MESH", ""
