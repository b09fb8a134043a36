"""The page in a real browser: a photo dropped, its cut-out corrected, a mesh turned and taken away."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from img2mv3d.matting.model import find_model
from tests.axe import fetch_axe, serious
from tests.browser import CHROMIUM, Browser
from tests.finished import finished_run
from tests.serve.driven import click, drop, newest, shown
from tests.serve.served import Served, wait_for
from tests.serve.works_of_page import Finished

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"),
]
COFFEE = Path(__file__).parents[2] / "examples" / "coffee.jpg"
BOX = "(r => ({{x: r.x, y: r.y, width: r.width, height: r.height}}))"
BOX += "(document.getElementById('{0}').getBoundingClientRect())"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("page")
    server = Served(folder / "runs", work=Finished(finished_run(folder))).ready()
    yield server
    server.end()


@pytest.fixture
def browser(tmp_path: Path):
    with Browser(tmp_path / "profile") as browser:
        browser.become(1240, 900)
        yield browser


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A red ball on white, with a name that no ASCII holds."""
    picture = Image.new("RGB", (600, 400), "white")
    ImageDraw.Draw(picture).ellipse((150, 60, 430, 340), fill=(190, 50, 20))
    picture.save(tmp_path / "bällchen.png")
    return tmp_path / "bällchen.png"


def stroke(browser: Browser, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Paint from one point of the photo to another, as shares of its width and height."""
    box = browser.value(BOX.format("paint"))
    points = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in (start, end)]
    browser.mouse("mousePressed", *points[0], button="left", clickCount=1)
    browser.mouse("mouseMoved", *points[1], button="left", buttons=1)
    browser.mouse("mouseReleased", *points[1], button="left", clickCount=1)


def masked(server: Served, id: str) -> np.ndarray:
    """The mask that the server has: bool [H, W]."""
    return np.asarray(Image.open(server.settings.folder / id / "mask").convert("L")) > 127


def test_a_photo_becomes_a_mesh_that_can_be_turned_and_taken(
    server: Served, browser: Browser, photo: Path, tmp_path: Path
) -> None:
    drop(browser, server, photo)
    click(browser, "erase")
    stroke(browser, (0.25, 0.5), (0.72, 0.5))
    assert not browser.value("document.getElementById('undo').disabled")
    click(browser, "make")
    shown(browser, "document.documentElement.dataset.mesh > 100")
    run = newest(server)
    mask = masked(server, run["id"])
    assert run["name"] == "bällchen.png" and mask[100, 290] and not mask[200, 290]
    box = browser.value(BOX.format("viewer"))
    before = browser.picture(None, box)
    browser.mouse("mousePressed", box["x"] + 300, box["y"] + 200, button="left")
    browser.mouse("mouseMoved", box["x"] + 420, box["y"] + 200, button="left", buttons=1)
    browser.mouse("mouseReleased", box["x"] + 420, box["y"] + 200, button="left")
    time.sleep(0.5)
    turned = browser.picture(None, box)
    assert turned != before and len(np.unique(np.asarray(Image.open(io.BytesIO(turned))).reshape(-1, 4), axis=0)) > 500
    for id in ("wire", "light", "front"):
        click(browser, id)
        time.sleep(0.4)
        last, turned = turned, browser.picture(None, box)
        assert turned != last, id
    browser.save_downloads(tmp_path)
    click(browser, "download")
    wait_for(lambda: (tmp_path / "bällchen.glb").exists())
    assert (tmp_path / "bällchen.glb").read_bytes() == server.ask("GET", f"/runs/{run['id']}/files/mesh.glb").body
    browser.value("document.getElementById('format').value = 'stl'")
    click(browser, "download")
    wait_for(lambda: (tmp_path / "bällchen.stl").exists())
    assert browser.faults == []
    assert [a for a in browser.asked if not a.startswith((server.address, "data:", "blob:"))] == []


def test_a_stroke_on_a_large_photo_that_the_camera_turned_lands_where_it_was_drawn(
    server: Served, browser: Browser, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = Image.new("RGB", (6000, 4000), "white")
    ImageDraw.Draw(large).rectangle((2000, 1000, 4000, 3000), fill="navy")
    large.save(tmp_path / "large.jpg", exif=exif)
    drop(browser, server, tmp_path / "large.jpg")
    assert browser.value("document.getElementById('paint').width * document.getElementById('paint').height") < 2e6
    click(browser, "closer")
    browser.value(
        "document.getElementById('size').value = 4; document.getElementById('size').dispatchEvent(new Event('input'))"
    )
    stroke(browser, (0.4, 0.1), (0.4, 0.1))
    click(browser, "make")
    shown(browser, "document.documentElement.dataset.mesh > 100")
    mask = masked(server, newest(server)["id"])
    rows, columns = np.nonzero(mask[: mask.shape[0] // 5])
    assert mask.shape[0] > mask.shape[1]
    assert abs(rows.mean() / mask.shape[0] - 0.1) < 0.01 and abs(columns.mean() / mask.shape[1] - 0.4) < 0.01


@pytest.mark.skipif(find_model() is None, reason="one cut-out only: the model of U2-Netp is not here")
def test_what_is_posted_is_what_the_person_chose(server: Served, browser: Browser) -> None:
    drop(browser, server, COFFEE)
    assert browser.value("[...document.querySelectorAll('#candidates input')].length") > 1
    click(browser, "make")  # nothing was changed: the run is the one that `img2mv3d run` makes
    shown(browser, "document.documentElement.dataset.mesh > 100")
    first = newest(server)
    assert first["options"]["remover"] == "auto" and not (server.settings.folder / first["id"] / "mask").exists()
    click(browser, "edit")
    browser.value("document.querySelectorAll('#candidates input')[1].click()")
    click(browser, "make")
    shown(browser, "document.documentElement.dataset.mesh > 100")
    assert newest(server)["options"]["remover"] not in ("auto", first["options"]["remover"])
    click(browser, "edit")
    browser.value("document.querySelectorAll('#candidates input')[1].click()")
    for _ in range(22):  # two more than can be undone
        click(browser, "invert")
    for _ in range(20):
        click(browser, "undo")
    click(browser, "make")
    wait_for(lambda: (server.settings.folder / newest(server)["id"] / "mask").exists())


def test_after_a_failure_no_mesh_of_another_run_is_shown(server: Served, browser: Browser, photo: Path) -> None:
    drop(browser, server, photo)
    click(browser, "make")
    shown(browser, "document.documentElement.dataset.mesh > 100")
    first = newest(server)["id"]
    click(browser, "edit")
    browser.value("document.getElementById('seed').value = 99")
    click(browser, "make")
    shown(browser, "!document.getElementById('failed').hidden")
    assert "all four borders" in browser.value("document.getElementById('reason').textContent")
    assert browser.value("document.getElementById('viewer').hidden && document.getElementById('take').hidden")
    browser.value(f"location.hash = '{first}'")
    shown(browser, "document.documentElement.dataset.mesh > 100")
    assert browser.value("document.getElementById('label').textContent") == "bällchen.png · seed 0"
    assert browser.faults == []


def test_another_guess_that_ends_is_told_though_nobody_looks_at_it(
    server: Served, browser: Browser, photo: Path
) -> None:
    drop(browser, server, photo)
    browser.value("document.getElementById('seed').value = 40; document.getElementById('guesses').value = '2'; 0")
    click(browser, "make")
    shown(browser, "document.documentElement.dataset.mesh > 100")
    shown(browser, "document.getElementById('guess-tabs').textContent === 'Seed 40Seed 41'", 60.0)


def test_a_page_that_was_closed_in_the_middle_comes_back_to_its_run(
    server: Served, browser: Browser, photo: Path
) -> None:
    drop(browser, server, photo)
    click(browser, "guess")
    click(browser, "make")
    shown(browser, "document.querySelectorAll('#steps [data-state=done]').length >= 2")
    address = browser.value("location.href")
    browser.leave()
    time.sleep(1)
    browser.open(address)
    shown(browser, "document.querySelectorAll('#steps [data-state=done]').length >= 2")  # told again
    shown(browser, "document.documentElement.dataset.mesh > 100")


def test_a_hand_says_which_way_it_faces(server: Served, browser: Browser, photo: Path) -> None:
    drop(browser, server, photo)
    click(browser, "guess-front")
    browser.value(
        "(f => { f.value = -45; f.dispatchEvent(new Event('input')); })(document.getElementById('facing')); 0"
    )
    assert browser.value("document.getElementById('facing-told').value") == "45° left"
    click(browser, "make")
    shown(browser, "document.documentElement.dataset.mesh > 100")
    assert newest(server)["options"]["facing_deg"] == -45
    assert "front 45° left" in browser.value("document.getElementById('run-facts').textContent")


def paste(browser: Browser) -> None:
    """As Ctrl+V does with a picture on the clipboard."""
    browser.value(
        "(async () => { const c = document.createElement('canvas'), p = c.getContext('2d'); c.width = c.height = 80;"
        "p.fillStyle = 'white'; p.fillRect(0, 0, 80, 80); p.fillStyle = 'teal'; p.fillRect(20, 20, 40, 40);"
        "const blob = await new Promise(done => c.toBlob(done)); const data = new DataTransfer();"
        "data.items.add(new File([blob], 'clip.png', {type: 'image/png'}));"
        "dispatchEvent(new ClipboardEvent('paste', {clipboardData: data})) })()"
    )
    shown(browser, "document.documentElement.dataset.cut === 'true'")


def test_a_picture_can_be_pasted(server: Served, browser: Browser) -> None:
    browser.open(server.address)
    paste(browser)
    assert browser.value("document.getElementById('cut-name').textContent") == "clip.png"


def test_plain_http_from_another_machine_takes_pictures_and_forgets_the_token(tmp_path: Path, photo: Path) -> None:
    name = "phone.example"  # no secure context: the browser gives neither clipboard nor camera to scripts
    server = Served(tmp_path / "runs", work=Finished(finished_run(tmp_path)), names=(name,), token="the-token").ready()
    with Browser(tmp_path / "profile", 1240, 900, f"--host-resolver-rules=MAP {name} 127.0.0.1") as browser:
        browser.become(1240, 900)
        browser.open(f"http://{name}:{server.port}/?token=the-token")
        assert browser.value("isSecureContext || location.href.includes('token')") is False
        assert browser.value("document.getElementById('camera').getAttribute('capture')") == "environment"
        paste(browser)
        click(browser, "make")
        shown(browser, "document.documentElement.dataset.mesh > 100")
        assert browser.faults == [] and "the-token" not in str(browser.asked[1:])
    server.end()


def test_what_cannot_be_read_is_said_and_the_page_stays(server: Served, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "not.png").write_text("no picture")
    browser.open(server.address)
    browser.drop(tmp_path / "not.png", 300, 300)
    shown(browser, "!document.getElementById('message').hidden")
    assert "cannot be read as a picture" in browser.value("document.getElementById('message').textContent")
    assert browser.value("document.getElementById('start').hidden") is False
    assert [f for f in browser.faults if "400" not in f] == []  # the browser itself notes a refused request


@pytest.mark.parametrize("dark", [False, True])
def test_everything_has_a_name_and_fits_a_phone(server: Served, browser: Browser, photo: Path, dark: bool) -> None:
    longest = photo.rename(photo.with_name(f"IMG_{'20261130_' * 9}{dark}.png"))  # cameras know no spaces
    drop(browser, server, longest)
    click(browser, "make")
    shown(browser, "document.documentElement.dataset.mesh > 100")
    address = browser.value("location.href")
    browser.become(390, 844, dark=dark, phone=True)
    for open_page in (server.address, address):
        browser.open(open_page)
        time.sleep(0.3)
        assert browser.value("document.documentElement.scrollWidth") == 390
        assert [role for role, name in browser.names() if not name] == []
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) < 100) == dark


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    script = fetch_axe(tmp_path_factory.mktemp("axe"))
    if script is None:
        pytest.skip("axe-core cannot be had here: it needs npm and its registry")
    return script


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1240, 390])
def test_axe_has_nothing_serious_to_say_in_any_state(
    server: Served, browser: Browser, photo: Path, axe: str, dark: bool, width: int
) -> None:
    browser.become(width, 900, dark=dark, phone=width < 500)
    browser.open(server.address)
    found = {"start": serious(browser, axe)}
    drop(browser, server, photo)
    found["cut out"] = serious(browser, axe)
    browser.value("document.getElementById('seed').value = 99")
    click(browser, "make")
    shown(browser, "!document.getElementById('failed').hidden")
    found["failed"] = serious(browser, axe)
    click(browser, "edit")
    click(browser, "guess")
    browser.value(f"document.getElementById('seed').value = {width + dark}")  # equal posts would share one run
    click(browser, "make")
    shown(browser, "document.querySelectorAll('#steps [data-state=done]').length >= 1")
    found["at work"] = serious(browser, axe)
    shown(browser, "document.documentElement.dataset.mesh > 100")
    found["done"] = serious(browser, axe)
    assert {state: what for state, what in found.items() if what} == {}


def test_a_run_can_be_begun_by_keys_alone(server: Served, browser: Browser, photo: Path) -> None:
    drop(browser, server, photo)
    seen = []
    for _ in range(40):
        browser.key("Tab", number=9)
        seen.append(
            browser.value(
                "document.activeElement.id || document.activeElement.name || document.activeElement.className"
            )
        )
        if seen[-1] == "make":
            break
    assert {"add", "erase", "size", "undo", "invert", "quality", "guess", "size-mm", "seed", "add-back"} - set(
        seen
    ) <= {"undo"}
    browser.key("Enter", number=13)
    shown(browser, "document.documentElement.dataset.mesh > 100")


def test_eight_tabs_of_one_run_do_not_hold_each_other_up(server: Served, browser: Browser, photo: Path) -> None:
    drop(browser, server, photo)
    click(browser, "guess")
    browser.value("document.getElementById('seed').value = 8")  # an equal post would get the run that is done
    click(browser, "make")
    shown(browser, "document.querySelectorAll('#steps [data-state=done]').length >= 1")
    for _ in range(8):  # a browser opens six connections to one server
        browser.another(browser.value("location.href"))
    time.sleep(2)
    started = time.monotonic()
    assert browser.value("fetch('healthz').then(answer => answer.status)") == 200
    assert time.monotonic() - started < 3
    shown(browser, "document.documentElement.dataset.mesh > 100")
