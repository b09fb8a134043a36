"""Reading of photos: every kind of file made on the fly, every fault a PhotoError of one line."""

import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from img2mv3d.errors import PhotoError
from img2mv3d.readers import photos
from img2mv3d.readers.photos import read_mask, read_photo

H, W = 40, 60
RAMP = np.stack(np.broadcast_arrays(np.arange(W) * 4, np.arange(H)[:, None] * 5, 90), -1).astype(np.uint8)
ALPHA = np.where(np.arange(W) < 30, 255, 100).astype(np.uint8)[None].repeat(H, 0)


def saved(folder: Path, picture: Image.Image, name: str, **options: object) -> Path:
    picture.save(folder / name, **options)
    return folder / name


def difference(rgba: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(rgba[..., : expected.shape[-1]].astype(int) - expected.astype(int)).mean())


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.png", {}, 0),
        ("a.bmp", {}, 0),
        ("a.tif", {}, 0),
        ("a.tiff", {"compression": "tiff_lzw"}, 0),
        ("a.webp", {"lossless": True}, 0),
        ("a.webp", {"quality": 90}, 4),
        ("a.jpg", {"quality": 95}, 3),
        ("a.jpeg", {"quality": 90, "progressive": True}, 3),
        ("a.ppm", {}, 0),
    ],
)
def test_each_format_gives_the_picture(tmp_path: Path, name: str, options: dict, tolerance: float) -> None:
    photo = read_photo(saved(tmp_path, Image.fromarray(RAMP), name, **options))
    assert photo.rgba.shape == (H, W, 4) and photo.rgba.dtype == np.uint8
    assert photo.name == name and not photo.has_alpha and photo.warnings == ()
    assert difference(photo.rgba, RAMP) <= tolerance


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.webp", {"lossless": True}), ("a.tif", {})])
def test_alpha_is_kept(tmp_path: Path, name: str, options: dict) -> None:
    rgba = np.dstack([RAMP, ALPHA])
    photo = read_photo(saved(tmp_path, Image.fromarray(rgba), name, **options))
    assert photo.has_alpha and np.array_equal(photo.rgba, rgba)


def test_an_alpha_that_is_opaque_everywhere_is_none(tmp_path: Path) -> None:
    picture = Image.fromarray(np.dstack([RAMP, np.full((H, W), 255, np.uint8)]))
    assert not read_photo(saved(tmp_path, picture, "a.png")).has_alpha


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_every_exif_orientation_is_turned_upright(tmp_path: Path, name: str, orientation: int) -> None:
    stored_from_upright = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose numbers that undo each
    picture = Image.fromarray(RAMP)
    if orientation in stored_from_upright:
        picture = picture.transpose(Image.Transpose(stored_from_upright[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = read_photo(saved(tmp_path, picture, name, exif=exif))
    assert photo.rgba.shape == (H, W, 4)
    assert difference(photo.rgba, RAMP) <= 6


def test_16_bit_grey_is_scaled_not_cut(tmp_path: Path) -> None:
    grey = (np.arange(W, dtype=np.uint16) * 1000)[None].repeat(H, 0)
    expected = np.round(grey / 257).astype(np.uint8)
    for name in ("a.png", "a.tif"):
        photo = read_photo(saved(tmp_path, Image.fromarray(grey), name))
        assert np.abs(photo.rgba[..., 0].astype(int) - expected).max() <= 1
        assert (photo.rgba[..., 0] == photo.rgba[..., 2]).all()


@pytest.mark.parametrize(("channels", "color_type"), [(3, 2), (4, 6), (2, 4)])
def test_16_bit_png_of_every_kind(tmp_path: Path, channels: int, color_type: int) -> None:
    full = np.dstack([RAMP, ALPHA]) if channels == 4 else np.dstack([RAMP[..., 0], ALPHA]) if channels == 2 else RAMP
    (tmp_path / "a.png").write_bytes(png_16_bit(full.astype(np.uint16) * 257, color_type))
    photo = read_photo(tmp_path / "a.png")
    assert photo.has_alpha == (channels != 3)
    expected = full if channels > 2 else np.dstack([RAMP[..., 0]] * 3 + [ALPHA])
    assert difference(photo.rgba, expected) <= 1


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_float_tiffs_are_read_by_their_range(tmp_path: Path, top: float) -> None:
    grey = np.linspace(0, top, W, dtype=np.float32)[None].repeat(H, 0)
    grey[0, 0] = np.nan
    photo = read_photo(saved(tmp_path, Image.fromarray(grey), "a.tif"))
    assert photo.rgba[0, 0, 0] == 0
    assert np.abs(photo.rgba[5, :, 0] - grey[5] / top * 255).max() <= 1


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P"])
def test_grey_and_palette_become_rgb(tmp_path: Path, mode: str) -> None:
    source = Image.fromarray(np.dstack([RAMP, ALPHA])).convert("RGB" if mode in ("1", "P") else "RGBA").convert(mode)
    photo = read_photo(saved(tmp_path, source, "a.png"))
    assert difference(photo.rgba, np.array(source.convert("RGBA"))) == 0
    assert photo.has_alpha == (mode == "LA")


def test_a_palette_with_transparency_has_alpha(tmp_path: Path) -> None:
    picture = Image.fromarray(np.dstack([RAMP, np.where(ALPHA > 200, 255, 0).astype(np.uint8)])).quantize(32)
    photo = read_photo(saved(tmp_path, picture, "a.png"))
    assert photo.has_alpha
    assert np.array_equal(photo.rgba[..., 3] > 127, ALPHA > 200)


def test_a_transparent_colour_is_alpha(tmp_path: Path) -> None:
    rgb = RAMP.copy()
    rgb[:, :10] = (255, 0, 255)
    photo = read_photo(saved(tmp_path, Image.fromarray(rgb), "a.png", transparency=(255, 0, 255)))
    assert (photo.rgba[:, :10, 3] == 0).all() and (photo.rgba[:, 10:, 3] == 255).all()


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, name: str) -> None:
    photo = read_photo(saved(tmp_path, Image.fromarray(RAMP).convert("CMYK"), name))
    assert difference(photo.rgba, RAMP) <= 4


def test_a_colour_profile_is_applied(tmp_path: Path) -> None:
    """Red and blue primaries swapped in the profile: what is stored as red shows as blue, and an alpha stays."""
    photo = read_photo(saved(tmp_path, Image.fromarray(np.dstack([RAMP, ALPHA])), "a.png", icc_profile=swapped()))
    assert difference(photo.rgba, RAMP[..., ::-1]) <= 3
    assert np.array_equal(photo.rgba[..., 3], ALPHA)


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(
        read_photo(saved(tmp_path, Image.fromarray(RAMP), "a.png", icc_profile=profile)).rgba[..., :3], RAMP
    )


def test_a_broken_profile_is_a_warning(tmp_path: Path) -> None:
    photo = read_photo(saved(tmp_path, Image.fromarray(RAMP), "a.png", icc_profile=b"nonsense" * 30))
    assert np.array_equal(photo.rgba[..., :3], RAMP)
    assert "colour profile" in photo.warnings[0]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_of_several_pictures_the_first_is_used_with_a_warning(tmp_path: Path, name: str) -> None:
    first = Image.fromarray(np.full((H, W, 3), (250, 10, 10), np.uint8))
    second = Image.fromarray(np.full((H, W, 3), (10, 10, 250), np.uint8))
    photo = read_photo(saved(tmp_path, first, name, save_all=True, append_images=[second]))
    assert difference(photo.rgba, np.array(first)) <= 3
    assert "2 pictures" in photo.warnings[0]


def test_large_photos_are_reduced_with_a_warning(tmp_path: Path) -> None:
    picture = Image.fromarray(RAMP).resize((6000, 300))
    photo = read_photo(saved(tmp_path, picture, "a.png"))
    assert photo.rgba.shape[1] == photos.MAX_SIDE and photo.rgba.shape[0] in (153, 154)
    assert "reduced from 6000 x 300" in photo.warnings[0]


def test_huge_jpegs_are_decoded_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.fromarray(RAMP).resize((1600, 1200)), "a.jpg")
    monkeypatch.setattr(photos, "MAX_SIDE", 400)
    monkeypatch.setattr(photos, "MAX_PIXELS", 1_000_000)
    assert read_photo(path).rgba.shape == (300, 400, 4)


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_bombs_are_refused_before_decoding(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(png(struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), b""))
    with pytest.raises(PhotoError, match="megapixels; reduce it first"):
        read_photo(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.gif", "a.bmp"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_files_that_are_cut_off_are_one_line(tmp_path: Path, name: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
    whole = saved(tmp_path, Image.fromarray(noise), name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(PhotoError, match=r"damaged|as an image") as caught:
        read_photo(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_every_flipped_byte_is_read_or_refused(tmp_path: Path) -> None:
    """Damage anywhere gives a picture or a PhotoError, never another exception."""
    rng = np.random.default_rng(1)
    for name in ("a.png", "a.jpg", "a.webp", "a.tif", "a.gif"):
        whole = np.frombuffer(saved(tmp_path, Image.fromarray(RAMP), name).read_bytes(), np.uint8)
        for _ in range(25):
            damaged = whole.copy()
            damaged[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
            (tmp_path / name).write_bytes(damaged.tobytes())
            try:
                assert read_photo(tmp_path / name).rgba.shape[2] == 4
            except PhotoError:
                pass


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    cases = {
        "missing.png": (None, "no such file"),
        "empty.png": (b"", "empty"),
        "text.png": (b"hello world" * 20, "cannot be read as an image"),
        "drawing.svg": (b"<svg xmlns='x'/>", "drawing"),
        "photo.heic": (b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
        "page.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "cannot be read as an image"),
    }
    for name, (data, expected) in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(PhotoError, match=expected):
            read_photo(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(PhotoError, match="folder"):
        read_photo(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PhotoError, match="regular file"):
        read_photo(tmp_path / "pipe")


def test_a_photo_of_a_few_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="too small"):
        read_photo(saved(tmp_path, Image.fromarray(RAMP[:10]), "a.png"))


def test_a_mask_is_its_alpha_or_its_brightness(tmp_path: Path) -> None:
    inside = np.zeros((H, W), np.uint8)
    inside[10:20, 10:30] = 255
    grey = saved(tmp_path, Image.fromarray(inside), "m.png")
    cut = saved(tmp_path, Image.fromarray(np.dstack([RAMP, inside])), "c.png")
    assert np.array_equal(read_mask(grey), inside) and np.array_equal(read_mask(cut), inside)


@pytest.mark.parametrize(("value", "found"), [(0, "nothing"), (255, "everything")])
def test_a_mask_that_says_nothing_is_refused(tmp_path: Path, value: int, found: str) -> None:
    with pytest.raises(PhotoError, match=found):
        read_mask(saved(tmp_path, Image.fromarray(np.full((H, W), value, np.uint8)), "m.png"))


def png(header: bytes, data: bytes) -> bytes:
    """The bytes of a PNG with this IHDR and these packed rows."""
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


def png_16_bit(pixels: np.ndarray, color_type: int) -> bytes:
    """Pillow writes no 16 bit colour: by hand."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, color_type, 0, 0, 0)
    return png(header, zlib.compress(rows))


def swapped() -> bytes:
    """The sRGB profile with its red and blue primaries exchanged, and a name that does not say sRGB."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[o : o + 4]): o for o in range(132, 132 + 12 * struct.unpack(">I", data[128:132])[0], 12)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = data[blue + 4 : blue + 12], data[red + 4 : red + 12]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


# -------------------------------------------------------------------------------------- whole, and of other kinds


def a_jpeg(path: Path, progressive: bool) -> bytes:
    y, x = np.mgrid[:200, :300]
    noise = np.random.default_rng(0).normal(0, 12, (200, 300, 3))
    picture = np.stack([x * 0.8, y, (x + y) / 3], -1) + noise
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path, quality=90, progressive=progressive)
    return path.read_bytes()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_only_its_end_mark_is_whole(tmp_path: Path, progressive: bool) -> None:
    data = a_jpeg(tmp_path / "a.jpg", progressive)
    before = read_photo(tmp_path / "a.jpg").rgba
    for lacking in (1, 2):
        (tmp_path / "b.jpg").write_bytes(data[:-lacking])
        np.testing.assert_array_equal(read_photo(tmp_path / "b.jpg").rgba, before)
    for left in (0.5, 0.9):
        (tmp_path / "b.jpg").write_bytes(data[: int(len(data) * left)])
        with pytest.raises(PhotoError, match="damaged or"):
            read_photo(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.latent", b"x" * 99, "no photo; latents that can be carried on"),
        ("a.safetensors", b"x" * 99, "no photo"),
        ("a.npy", b"x" * 99, "no photo"),
        ("a.CR2", b"II*\0" + b"x" * 99, "RAW file; develop it"),
        ("a.heic", b"\0\0\0\x18ftypheic" + b"x" * 99, r"need the extra `heic`: pip install 'img2mv3d\[heic\]'"),
    ],
)
def test_what_is_no_photo_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, says: str
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PhotoError, match=says):
        read_photo(tmp_path / name)


def test_an_endless_strip_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (20000, 17)).save(tmp_path / "a.png")
    with pytest.raises(PhotoError, match="too long and thin"):
        read_photo(tmp_path / "a.png")
