"""Cutting out and framing: drawn worlds whose mask is known, and every way in which a photo can be no good."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from img2mv3d.errors import NothingFoundError, PhotoError, UsageError
from img2mv3d.geometry.framing import frame
from img2mv3d.matting import model
from img2mv3d.plans import PrepareOptions
from img2mv3d.readers.photos import read_photo
from img2mv3d.stages.prepare import prepare
from img2mv3d.values import Photo

SIDE = 240
AUTO = PrepareOptions()


@pytest.fixture(autouse=True)
def _without_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results shall not depend on what is installed; the tests of U2-Netp stand at the end."""
    monkeypatch.setattr(model, "find_model", lambda: None)


def photo_of(rgb: np.ndarray, alpha: np.ndarray | None = None) -> Photo:
    cover = np.full(rgb.shape[:2], 255, np.uint8) if alpha is None else alpha
    return Photo(np.dstack([rgb, cover]).astype(np.uint8), alpha is not None, "p.png")


def shape(kind: str, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Coverage in [0, 1] of a disc, a mug with an open handle or a box, antialiased."""
    w, h = size
    big = Image.new("L", (w * 4, h * 4), 0)
    draw = ImageDraw.Draw(big)

    def box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, ...]:
        return (x0 * w * 4, y0 * h * 4, x1 * w * 4, y1 * h * 4)

    if kind == "disc":
        draw.ellipse(box(0.25, 0.3, 0.75, 0.8), fill=255)
    elif kind == "mug":
        draw.ellipse(box(0.5, 0.35, 0.85, 0.7), fill=255)
        draw.ellipse(box(0.57, 0.42, 0.78, 0.63), fill=0)
        draw.rectangle(box(0.25, 0.25, 0.65, 0.8), fill=255)
    else:
        draw.rectangle(box(0.2, 0.3, 0.7, 0.7), fill=255)
    return np.asarray(big.resize((w, h), Image.Resampling.BOX), np.float32) / 255


def painted(cover: np.ndarray, front: tuple[int, int, int], back: np.ndarray, noise: float = 1.5) -> np.ndarray:
    """A textured object of colour `front` before `back`, with a camera's noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: cover.shape[0], : cover.shape[1]]
    texture = np.array(front) + 18 * np.sin(x / 7.0)[..., None] + 12 * np.cos(y / 5.0)[..., None]
    mixed = texture * cover[..., None] + back * (1 - cover[..., None])
    return (mixed + rng.normal(0, noise, mixed.shape)).clip(0, 255).astype(np.uint8)


def flat(color: tuple[int, int, int], size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    return np.broadcast_to(np.array(color, float), (size[1], size[0], 3))


def gradient(size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    y, x = np.mgrid[: size[1], : size[0]]
    return np.stack([190 - 30 * y / size[1], 195 - 30 * y / size[1] + 8 * x / size[0], np.full_like(x, 200.0)], -1)


def iou(alpha: np.ndarray, cover: np.ndarray) -> float:
    a = alpha.astype(np.float32) / 255
    return float(np.minimum(a, cover).sum() / np.maximum(a, cover).sum())


@pytest.mark.parametrize("kind", ["disc", "mug", "box"])
@pytest.mark.parametrize("back", ["white", "blue", "gradient"])
def test_plain_backgrounds_are_keyed_out(kind: str, back: str) -> None:
    cover = shape(kind)
    ground = {"white": flat((250, 250, 250)), "blue": flat((60, 110, 180)), "gradient": gradient()}[back]
    subject = prepare(photo_of(painted(cover, (170, 60, 40), ground)), framing_px=144, options=AUTO)
    assert subject.remover == "plain" and subject.warnings == ()
    assert iou(subject.full[..., 3], cover) >= 0.98
    assert subject.image.shape == (256, 256, 4)


def test_the_handle_of_a_mug_is_looked_through() -> None:
    cover = shape("mug")
    subject = prepare(photo_of(painted(cover, (170, 60, 40), flat((245, 245, 245)))), framing_px=144, options=AUTO)
    assert subject.full[int(0.525 * SIDE), int(0.72 * SIDE), 3] == 0


def test_a_white_object_part_that_is_enclosed_stays() -> None:
    """A highlight that fades softly is part of the object, even where it is as white as the background."""
    cover = shape("disc")
    rgb = painted(cover, (170, 60, 40), flat((255, 255, 255)), 0).astype(float)
    y, x = np.mgrid[:SIDE, :SIDE]
    shine = np.exp(-(((x - 110) / 16.0) ** 2 + ((y - 120) / 16.0) ** 2))[..., None] * 1.6
    rgb = rgb * (1 - shine.clip(0, 1)) + 255 * shine.clip(0, 1)
    subject = prepare(photo_of(rgb.astype(np.uint8)), framing_px=144, options=AUTO)
    assert subject.full[120, 110, 3] == 255


def test_a_soft_shadow_is_background() -> None:
    cover = shape("disc")
    shade = Image.new("L", (SIDE, SIDE), 0)
    ImageDraw.Draw(shade).ellipse((50, 178, 190, 206), fill=110)
    dark = np.asarray(shade.filter(ImageFilter.GaussianBlur(9)), float)[..., None] / 255
    rgb = painted(cover, (170, 60, 40), flat((240, 240, 240)) * (1 - dark))
    subject = prepare(photo_of(rgb), framing_px=144, options=AUTO)
    assert iou(subject.full[..., 3], cover) >= 0.95


def test_edges_lose_the_backgrounds_colour() -> None:
    cover = shape("disc")
    subject = prepare(photo_of(painted(cover, (170, 60, 40), flat((60, 200, 60)))), framing_px=144, options=AUTO)
    edge = (subject.full[..., 3] > 30) & (subject.full[..., 3] < 220)
    assert edge.any()
    assert (subject.full[edge][:, 1].astype(int) < subject.full[edge][:, 0]).mean() > 0.97


def test_an_alpha_is_taken_as_it_is() -> None:
    cover = (shape("mug") * 255).astype(np.uint8)
    photo = photo_of(painted(shape("mug"), (10, 90, 200), flat((0, 0, 0))), cover)
    subject = prepare(photo, framing_px=192, options=AUTO)
    assert subject.remover == "alpha" and np.array_equal(subject.full, photo.rgba)
    image, framing = frame(photo.rgba, 192)
    assert np.array_equal(subject.image, image) and subject.framing == framing


def test_a_mask_goes_before_everything() -> None:
    drawn = (shape("box") * 255).astype(np.uint8)
    photo = photo_of(
        painted(shape("disc"), (10, 90, 200), flat((240, 240, 240))), (shape("mug") * 255).astype(np.uint8)
    )
    subject = prepare(photo, framing_px=144, options=AUTO, mask=drawn)
    assert subject.remover == "mask" and np.array_equal(subject.full[..., 3], drawn)


def test_a_mask_of_another_size_is_scaled_and_of_another_shape_refused() -> None:
    photo = photo_of(painted(shape("disc"), (10, 90, 200), flat((240, 240, 240))))
    half = (shape("disc", (SIDE // 2, SIDE // 2)) * 255).astype(np.uint8)
    assert iou(prepare(photo, framing_px=144, options=AUTO, mask=half).full[..., 3], shape("disc")) > 0.97
    with pytest.raises(PhotoError, match="aspect ratio"):
        prepare(photo, framing_px=144, options=AUTO, mask=half[:60])


def test_options_framing_goes_before_the_bundles() -> None:
    photo = photo_of(painted(shape("box"), (10, 90, 200), flat((240, 240, 240))))
    subject = prepare(photo, framing_px=144, options=PrepareOptions(framing_px=100))
    assert subject.framing.framing_px == 100
    assert 98 <= np.ptp(np.flatnonzero((subject.image[..., 3] > 127).any(0))) + 1 <= 100


def test_grabcut_separates_a_cluttered_background_and_repeats_itself() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    grain = 90 + 45 * np.sin(x / 6.0 + 2 * np.sin(y / 31.0)) + 25 * np.sign(np.sin(y / 23.0))
    ground = grain[..., None] * np.array([0.9, 0.75, 0.4])
    photo = photo_of(painted(shape("disc"), (225, 60, 190), ground))
    first, second = (prepare(photo, framing_px=144, options=AUTO) for _ in range(2))
    assert first.remover == "grabcut" and "GrabCut" in first.warnings[0]
    assert iou(first.full[..., 3], shape("disc")) > 0.93
    assert np.array_equal(first.full, second.full)


def test_grabcut_keeps_an_eye_that_is_as_dark_as_the_background() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    dark = (30 + 25 * np.sin(x / 5.0) * np.sin(y / 7.0))[..., None] * np.ones(3)
    rgb = painted(shape("disc"), (230, 190, 40), dark)
    eye = np.hypot(x - 110, y - 115) < 4
    rgb[eye] = 20
    subject = prepare(photo_of(rgb), framing_px=144, options=PrepareOptions(remover="grabcut"))
    assert (subject.full[eye][:, 3] > 230).all() and iou(subject.full[..., 3], shape("disc")) > 0.95


def test_large_photos_keep_their_size() -> None:
    size = (1200, 1040)
    cover = np.asarray(Image.fromarray(shape("mug")).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    photo = photo_of(painted(cover, (170, 60, 40), flat((245, 245, 245), size)))
    subject = prepare(photo, framing_px=144, options=AUTO)
    assert subject.full.shape == (1040, 1200, 4) and iou(subject.full[..., 3], cover) > 0.98


def test_of_several_objects_the_largest_is_kept_with_a_warning() -> None:
    cover = shape("box")
    two = cover.copy()
    two[60:110, 205:235] = 1
    subject = prepare(photo_of(painted(two, (170, 60, 40), flat((245, 245, 245)))), framing_px=144, options=AUTO)
    assert "2 separate objects" in subject.warnings[0]
    assert iou(subject.full[..., 3], cover) > 0.97


def test_parts_close_to_the_object_stay() -> None:
    cover = shape("box")
    cover[80:150, 173:190] = 1  # a gap of five pixels
    subject = prepare(photo_of(painted(cover, (170, 60, 40), flat((245, 245, 245)))), framing_px=144, options=AUTO)
    assert subject.warnings == () and iou(subject.full[..., 3], cover) > 0.96


def test_several_objects_in_an_alpha_are_the_users_wish() -> None:
    alpha = (shape("box") * 255).astype(np.uint8)
    alpha[60:110, 205:235] = 255
    subject = prepare(photo_of(painted(alpha / 255, (9, 9, 9), flat((0, 0, 0))), alpha), framing_px=144, options=AUTO)
    assert "one mesh" in subject.warnings[0] and np.array_equal(subject.full[..., 3], alpha)


def test_specks_in_an_alpha_do_not_move_the_framing() -> None:
    alpha = (shape("disc") * 255).astype(np.uint8)
    clean = prepare(photo_of(painted(alpha / 255, (9, 9, 99), flat((0, 0, 0))), alpha), framing_px=144, options=AUTO)
    dirty = alpha.copy()
    dirty[2:4, 2:4] = 255
    found = prepare(photo_of(painted(alpha / 255, (9, 9, 99), flat((0, 0, 0))), dirty), framing_px=144, options=AUTO)
    assert found.framing == clean.framing


@pytest.mark.parametrize(("rows", "cut"), [(slice(60, None), "top"), (slice(None, 150), "bottom")])
def test_an_object_that_a_border_cuts_is_said(rows: slice, cut: str) -> None:
    rgb = painted(shape("box"), (170, 60, 40), flat((245, 245, 245)))[rows] if cut == "bottom" else None
    rgb = painted(shape("box"), (170, 60, 40), flat((245, 245, 245)))[90:] if rgb is None else rgb
    subject = prepare(photo_of(rgb), framing_px=144, options=AUTO)
    assert f"cut by the {cut} border" in subject.warnings[0]


def test_an_object_that_three_borders_cut_is_a_strong_warning() -> None:
    alpha = np.zeros((100, 100), np.uint8)
    alpha[30:] = 255
    subject = prepare(
        photo_of(painted(alpha / 255, (9, 9, 9), flat((0, 0, 0), (100, 100))), alpha), framing_px=144, options=AUTO
    )
    assert "cut by 3 borders" in subject.warnings[0] and "step back" in subject.warnings[0]


def test_a_tight_crop_of_a_cut_out_is_no_cut() -> None:
    alpha = (shape("disc") * 255).astype(np.uint8)
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    tight = alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    photo = photo_of(painted(tight / 255, (9, 9, 99), flat((0, 0, 0), tight.shape[::-1])), tight)
    assert prepare(photo, framing_px=144, options=AUTO).warnings == ()


@pytest.mark.parametrize("kind", ["empty", "flat", "transparent"])
def test_a_photo_without_an_object_is_nothing_found(kind: str) -> None:
    rgb = painted(np.zeros((SIDE, SIDE)), (0, 0, 0), gradient() if kind == "empty" else flat((255, 255, 255)))
    alpha = np.zeros((SIDE, SIDE), np.uint8) if kind == "transparent" else None
    with pytest.raises(NothingFoundError, match=r"p\.png"):
        prepare(photo_of(rgb, alpha), framing_px=144, options=AUTO)


def test_small_objects_are_warned_of_and_the_smallest_refused() -> None:
    for side, expected in ((20, None), (5, NothingFoundError)):
        alpha = np.zeros((SIDE, SIDE), np.uint8)
        alpha[100 : 100 + side, 100 : 100 + side] = 255
        photo = photo_of(painted(alpha / 255, (9, 99, 9), flat((0, 0, 0))), alpha)
        if expected is None:
            assert "only 20 px" in prepare(photo, framing_px=144, options=AUTO).warnings[0]
        else:
            with pytest.raises(expected, match="only 5 px"):
                prepare(photo, framing_px=144, options=AUTO)


def test_reading_warnings_travel_on() -> None:
    photo = photo_of(painted(shape("disc"), (170, 60, 40), flat((245, 245, 245))))
    told = Photo(photo.rgba, False, "p.png", ("p.png was reduced",))
    assert prepare(told, framing_px=144, options=AUTO).warnings == ("p.png was reduced",)


@pytest.mark.parametrize(
    ("remover", "expected"),
    [("alpha", "transparent"), ("u2netp", "not installed"), ("plain", "not plain"), ("magic", "one of auto")],
)
def test_a_remover_that_cannot_work_says_why(remover: str, expected: str) -> None:
    rng = np.random.default_rng(0)
    photo = photo_of(rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8))
    with pytest.raises(UsageError, match=expected):
        prepare(photo, framing_px=144, options=PrepareOptions(remover=remover))


def test_another_remover_than_alpha_sees_transparent_as_white() -> None:
    cover = shape("disc")
    alpha = (cover * 255).astype(np.uint8)
    photo = photo_of(painted(cover, (170, 60, 40), flat((0, 0, 0))), alpha)
    subject = prepare(photo, framing_px=144, options=PrepareOptions(remover="plain"))
    assert subject.remover == "plain" and iou(subject.full[..., 3], cover) > 0.95


# ---------------------------------------------------------------------------------- which cut-out is believed


def figure_on(ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A painted disc before a ground, and its coverage."""
    cover = shape("disc")
    return painted(cover, (190, 80, 40), ground), cover


def with_network(monkeypatch: pytest.MonkeyPatch, sees: np.ndarray, surest: float = 1.0) -> None:
    """A network that sees `sees` wherever it looks: whole pictures only."""

    def saliency(rgb: np.ndarray, file: model.Model) -> tuple[np.ndarray, float]:
        if rgb.shape[:2] != sees.shape:
            return np.ones(rgb.shape[:2], np.float32), surest
        return sees.astype(np.float32), surest

    monkeypatch.setattr(model, "model_for", lambda remover: model.Model("u2netp", None))
    monkeypatch.setattr(model, "saliency", saliency)


def test_where_background_and_network_agree_the_sharper_one_is_taken_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rgb, cover = figure_on(flat((240, 240, 240)))
    with_network(monkeypatch, cover)
    subject = prepare(photo_of(rgb), framing_px=144, options=AUTO)
    assert (subject.remover, subject.warnings) == ("plain", ()) and iou(subject.full[..., 3], cover) > 0.97


def white_on_white() -> tuple[np.ndarray, np.ndarray]:
    """A disc as white as its ground; only a grey foot tells it apart."""
    cover = shape("disc")
    rgb = np.full((SIDE, SIDE, 3), 255, np.uint8)
    rgb[(cover > 0.5) & (np.mgrid[:SIDE, :SIDE][0] > 170)] = 150
    return rgb, cover


def test_an_object_of_the_background_s_colour_is_what_the_network_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, cover = white_on_white()
    with_network(monkeypatch, cover)
    subject = prepare(photo_of(rgb), framing_px=144, options=AUTO)
    assert subject.remover == "u2netp" and iou(subject.full[..., 3], cover) > 0.93
    assert len(subject.warnings) == 1 and "in doubt" in subject.warnings[0] and "--remover" in subject.warnings[0]


def framed(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A disc on green with a black frame, or on a polaroid."""
    rgb, cover = figure_on(flat((120, 160, 90)))
    thick = (8, 8, 8, 8) if kind == "frame" else (12, 45, 12, 12)  # top, bottom, left, right
    color = 0 if kind == "frame" else 255
    pad = (thick[:2], thick[2:])
    return np.stack([np.pad(rgb[..., c], pad, constant_values=color) for c in range(3)], -1), np.pad(cover, pad)


@pytest.mark.parametrize("network", [True, False])
@pytest.mark.parametrize("kind", ["frame", "polaroid"])
def test_a_frame_is_not_the_object(monkeypatch: pytest.MonkeyPatch, kind: str, network: bool) -> None:
    rgb, cover = framed(kind)
    if network:
        with_network(monkeypatch, cover)
    subject = prepare(photo_of(rgb), framing_px=144, options=AUTO)
    assert iou(subject.full[..., 3], cover) > 0.93 and "in doubt" in subject.warnings[0]


def test_a_drawing_is_its_inside_too() -> None:
    picture = Image.new("RGB", (800, 800), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((200, 250, 600, 650), outline="black", width=7, fill="white")
    pen.ellipse((270, 110, 520, 320), outline="black", width=7, fill="white")
    subject = prepare(photo_of(np.asarray(picture)), framing_px=144, options=AUTO)
    assert (subject.full[..., 3] > 127).mean() > 0.24
    assert "outlines were filled" in subject.warnings[0]


@pytest.mark.parametrize("kind", ["rounded corners", "254 everywhere"])
def test_a_transparency_that_leaves_out_no_background_is_no_cut_out(tmp_path: Path, kind: str) -> None:
    rgb, cover = figure_on(flat((120, 160, 90)))
    alpha = Image.new("L", (SIDE, SIDE), 254 if kind != "rounded corners" else 0)
    if kind == "rounded corners":
        ImageDraw.Draw(alpha).rounded_rectangle((0, 0, SIDE - 1, SIDE - 1), 20, fill=255)
    Image.fromarray(np.dstack([rgb, np.asarray(alpha)])).save(tmp_path / "p.png")
    subject = prepare(read_photo(tmp_path / "p.png"), framing_px=144, options=AUTO)
    assert subject.remover == "plain" and iou(subject.full[..., 3], cover) > 0.95
    kept = (
        prepare(read_photo(tmp_path / "p.png"), framing_px=144, options=PrepareOptions("alpha"))
        if kind[0] == "r"
        else None
    )
    assert kept is None or kept.remover == "alpha"


@pytest.mark.parametrize("given", ["alpha", "mask"])
def test_an_inverted_alpha_or_mask_is_turned_and_said(given: str) -> None:
    rgb, cover = figure_on(flat((120, 160, 90)))
    turned = ((1 - cover) * 255).astype(np.uint8)
    photo = photo_of(rgb, turned) if given == "alpha" else photo_of(rgb)
    subject = prepare(photo, framing_px=144, options=AUTO, mask=turned if given == "mask" else None)
    assert iou(subject.full[..., 3], cover) > 0.97 and "the other way round" in subject.warnings[0]


def test_a_trace_of_alpha_at_the_edges_does_not_change_the_framing() -> None:
    rgb, cover = figure_on(flat((120, 160, 90)))
    alpha = (cover * 255).astype(np.uint8)
    clean = prepare(photo_of(rgb, alpha), framing_px=144, options=AUTO)
    for value in (1, 2, 60):
        trace = alpha.copy()
        trace[[0, -1]] = trace[:, [0, -1]] = value
        subject = prepare(photo_of(rgb, trace), framing_px=144, options=AUTO)
        assert subject.framing == clean.framing and np.array_equal(subject.image, clean.image)


def test_letters_of_one_word_stay_together() -> None:
    rgb = np.full((200, 600, 3), 255, np.uint8)
    for left in range(40, 560, 110):
        rgb[60:140, left : left + 70] = (200, 30, 40)
    subject = prepare(photo_of(rgb), framing_px=144, options=AUTO)
    columns = np.flatnonzero((subject.full[..., 3] > 127).any(0))
    assert (columns[0], columns[-1]) == (40, 549)
