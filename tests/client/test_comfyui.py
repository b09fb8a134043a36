"""The ComfyUI node: its class called as ComfyUI calls it, against a toy server."""

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from img2mv3d.conventions import VIEW_NAMES
from tests.client.other_servers import dead, foreign, silent
from tests.serve.served import Served, wait_for

NODE = Path(__file__).parents[2] / "examples" / "comfyui" / "img2mv3d_node.py"
OTHERS = {"dead": (dead, "no answer"), "silent": (silent, "none within 0.5 s"), "foreign": (foreign, "another program")}


@pytest.fixture
def comfy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """What ComfyUI hands in. interrupted: its user pressed Cancel."""
    state = SimpleNamespace(output=tmp_path / "output", interrupted=False)

    def look() -> None:
        if state.interrupted:
            raise InterruptedError

    paths, comfy, management = ModuleType("folder_paths"), ModuleType("comfy"), ModuleType("comfy.model_management")
    paths.get_output_directory = lambda: str(state.output)  # type: ignore[attr-defined]
    management.throw_exception_if_processing_interrupted = look  # type: ignore[attr-defined]
    for module in (paths, comfy, management):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return state


@pytest.fixture
def node(comfy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("img2mv3d_node", NODE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAUSE", 0.05)
    return module


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    server = Served(tmp_path_factory.mktemp("runs")).ready()
    yield server
    server.end()


def image(shade: float) -> torch.Tensor:
    """As ComfyUI has them: [B, H, W, C]."""
    return torch.full((1, 24, 32, 3), shade)


def disc(inside: float) -> torch.Tensor:
    """A mask [B, H, W]: `inside` in the middle, the other value round it."""
    mask = torch.full((1, 24, 32), 1.0 - inside)
    mask[0, 6:18, 8:24] = inside
    return mask


def called(node: ModuleType, server: str, shade: float, **more: Any) -> dict[str, Any]:
    """The node as ComfyUI calls it: by the names that it declares, with its own defaults."""
    kind = node.NODE_CLASS_MAPPINGS["Img2mv3d"]
    declared = kind.INPUT_TYPES()["required"]
    first = {k: v[1]["default"] if len(v) > 1 else v[0][0] for k, v in declared.items() if k != "image"}
    return getattr(kind(), kind.FUNCTION)(image=image(shade), **{**first, "server": server, **more})


def sent(server: Served, name: str) -> Image.Image:
    """A picture that the newest run was given."""
    run = server.ask("GET", "/runs").json[0]["id"]
    return Image.open(io.BytesIO((server.settings.folder / run / name).read_bytes()))


def test_it_gives_a_mesh_in_comfyuis_own_folder_and_six_views(
    node: ModuleType, comfy: SimpleNamespace, server: Served
) -> None:
    path, views, name = called(node, server.address, 0.2)["result"]
    assert Path(path) == comfy.output / "img2mv3d" / "mesh_00001.glb" == comfy.output / name
    assert Path(path).read_bytes().startswith(b"mesh.glb seed 0") and len(list(Path(path).parent.iterdir())) == 1
    assert views.shape == (6, 24, 32, 3) and views.dtype == torch.float32
    assert torch.allclose(views, torch.full_like(views, 0.2), atol=0.003)  # the toy's views are its photo
    assert called(node, server.address, 0.2)["result"][2] == "img2mv3d/mesh_00002.glb"
    assert node.VIEWS == VIEW_NAMES


def test_a_mask_of_the_object_goes_on_as_it_is(node: ModuleType, server: Served) -> None:
    assert called(node, server.address, 0.3, mask=disc(1.0))["ui"]["text"] == []
    mask = sent(server, "mask")
    assert mask.getpixel((16, 12)) == 255 and mask.getpixel((1, 1)) == 0


def test_an_inverted_mask_is_noticed_turned_round_and_told(
    node: ModuleType, server: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    (note,) = called(node, server.address, 0.4, mask=disc(0.0))["ui"]["text"]
    mask = sent(server, "mask")
    assert mask.getpixel((16, 12)) == 255 and mask.getpixel((1, 1)) == 0
    assert "it was inverted" in note and note in capsys.readouterr().out


def test_whoever_says_what_the_mask_means_is_believed(node: ModuleType, server: Served) -> None:
    for means, inside in (("object", 0), ("background", 255)):
        called(node, server.address, 0.5, mask=disc(0.0), mask_is=means)
        assert sent(server, "mask").getpixel((16, 12)) == inside


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_that_says_nothing_is_none(node: ModuleType, server: Served, value: float) -> None:
    (note,) = called(node, server.address, 0.6 + value / 10, mask=torch.full((1, 64, 64), value))["ui"]["text"]
    run = server.ask("GET", "/runs").json[0]["id"]
    assert "all one" in note and not (server.settings.folder / run / "mask").exists()


@pytest.mark.parametrize("kind", OTHERS)
def test_a_server_that_cannot_help_is_one_line(node: ModuleType, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "PATIENCE", 0.5 if kind == "silent" else 20.0)
    other, words = OTHERS[kind]
    with other() as address, pytest.raises(node.Failure) as error:
        called(node, address, 0.1)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_an_interrupt_ends_the_run_at_the_server_too(node: ModuleType, comfy: SimpleNamespace, server: Served) -> None:
    comfy.interrupted = True
    with pytest.raises(InterruptedError):
        called(node, server.address, 0.9, seed=100)
    wait_for(lambda: not [r for r in server.ask("GET", "/runs").json if r["options"]["seed"] == 100], 5)
    assert not comfy.output.exists()


def test_the_add_on_for_blender_speaks_to_the_server_in_the_same_words() -> None:
    def spoken(path: Path) -> str:
        return path.read_text(encoding="utf-8").partition("class Server:")[2].partition("\n\n\n")[0]

    assert spoken(NODE) == spoken(NODE.parents[1] / "blender" / "img2mv3d_addon.py") != ""  # each is one file by itself


def test_it_asks_for_nothing_that_comfyui_does_not_have() -> None:
    text = NODE.read_text(encoding="utf-8")
    imported = {
        line.split()[1].split(".")[0] for line in text.splitlines() if line.strip().startswith(("import ", "from "))
    }
    assert imported - set(sys.stdlib_module_names) <= {"torch", "numpy", "PIL", "comfy", "folder_paths"}
