import io
import os
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from core.prepare.images import BadImage, Decoding, decode, decode_all
from tests.prepare.fake_images import deep_tiff, picture


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_kind_becomes_a_square(kind, mode):
    for size in (8, 84):
        assert decode(encoded(picture(0, mode=mode), kind), Decoding(size)).shape == (size, size, 3)


def test_an_image_of_the_wanted_size_is_untouched():
    image = picture(0, 12, 12)
    assert (decode(encoded(image, "PNG"), Decoding(12)) == np.asarray(image)).all()


def test_the_crop_is_the_centre():
    image = Image.new("RGB", (30, 10), "red")
    image.paste("blue", (10, 0, 20, 10))
    pixels = decode(encoded(image, "PNG"), Decoding(10))
    assert (pixels == [0, 0, 255]).all()


def test_reduction_is_antialiased():
    """A checkerboard becomes grey, where sampling would leave black or white."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = decode(encoded(Image.fromarray(board), "PNG"), Decoding(8))
    assert abs(pixels.astype(int) - 127).max() < 8


def test_alpha_is_laid_on_white_and_palettes_are_resolved():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (decode(encoded(clear, "PNG"), Decoding(8)) == 255).all()
    assert (decode(encoded(clear, "PNG"), Decoding(8, as_published=True)) == [255, 0, 0]).all()
    palette = picture(0, 8, 8).quantize(8)
    assert (decode(encoded(palette, "PNG"), Decoding(8)) == np.asarray(palette.convert("RGB"))).all()


def test_camera_rotation_is_applied_to_own_images_only():
    image = Image.new("RGB", (8, 8), "black")
    image.paste("white", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    content = encoded(image, "PNG", exif=exif)
    assert decode(content, Decoding(8))[0, 0, 0] == 0
    assert decode(content, Decoding(8, as_published=True))[0, 0, 0] == 255


def test_a_large_jpeg_is_read_at_a_reduced_scale_and_looks_the_same():
    smooth = Image.fromarray(np.linspace(0, 255, 400 * 300 * 3).astype(np.uint8).reshape(300, 400, 3))
    reduced = decode(encoded(smooth, "JPEG", quality=95), Decoding(16)).astype(int)
    assert abs(reduced - decode(encoded(smooth, "PNG"), Decoding(16))).max() < 12


def bad_images():
    sixteen = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900)
    frames = {"save_all": True, "append_images": [picture(1)]}
    good = encoded(picture(0), "PNG")
    return {
        "is empty": b"",
        "does not decode": b"no image",
        "is HEIC, which is not read; save it as JPEG": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
        "is AVIF, which": encoded(picture(0), "AVIF"),
        "is JPEG 2000, which": encoded(picture(0), "JPEG2000"),
        "perhaps cut short": good[: len(good) // 2],
        "is in CMYK": encoded(picture(0, mode="CMYK"), "JPEG"),
        "has 16 bits a channel": encoded(sixteen, "PNG"),
        "has more than 8 bits": encoded(sixteen, "TIFF"),
        r"is animated \(2 frames\)": encoded(picture(0), "GIF", **frames),
        "has 2 pages; save one page": encoded(picture(0), "TIFF", **frames),
        "frames": encoded(picture(0), "WEBP", **frames),
    }


@pytest.mark.parametrize("reason", bad_images())
def test_what_cannot_be_shown_is_refused_with_a_reason(reason):
    with pytest.raises(BadImage, match=reason):
        decode(bad_images()[reason], Decoding(8))


def test_a_tiff_of_16_bits_in_three_channels_is_refused():
    with pytest.raises(BadImage, match="has 16 bits a channel; save it with 8"):
        decode(deep_tiff(), Decoding(8))


def test_published_benchmarks_may_hold_cmyk():
    assert decode(bad_images()["is in CMYK"], Decoding(8, as_published=True)).shape == (8, 8, 3)


def test_bad_images_are_black_and_listed(tmp_path):
    good = tmp_path / "good.png"
    picture(0).save(good)
    decoded = decode_all([good, tmp_path / "missing.png", b""], Decoding(8))
    pixels, bad = decoded.pixels, decoded.bad
    assert pixels[0].any()
    assert not pixels[1:].any()
    assert bad.keys() == {1, 2}
    assert "No such file" in bad[1]


def animated(kind):
    frames = [picture(seed, 12, 12) for seed in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_any_cut_of_an_animation_is_a_reason(kind):
    content = animated(kind)
    for length in range(0, len(content), 7):
        with suppress(BadImage):
            decode(content[:length], Decoding(8))


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("seed", range(3))
def test_any_damage_is_a_reason_or_other_pixels(kind, seed):
    content, rng = encoded(picture(0, 16, 16), kind), np.random.default_rng(seed)
    for _ in range(60):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(0, min(len(damaged), 200), rng.integers(1, 4))
        damaged[places] = rng.integers(0, 256, len(places))
        with suppress(BadImage):
            assert decode(damaged.tobytes(), Decoding(8)).shape == (8, 8, 3)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), os.mkdir])
def test_what_is_no_file_is_named_and_nothing_hangs(tmp_path, make):
    make(tmp_path / "x.png")
    with pytest.raises(BadImage, match=r"cannot be read \((it is no regular file|Is a directory)\)"):
        decode(tmp_path / "x.png", Decoding(8))


def test_a_pipe_among_the_images_is_named_by_the_command(tmp_path, space):
    for name in ("a", "b", "c", "d", "e", "f"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in (1, 2):
            picture(number, 12, 12).save(tmp_path / "in" / name / f"{number}.png")
    os.mkfifo(tmp_path / "in" / "a" / "x.png")
    arguments = (f"folder:{tmp_path / 'in'}", "--root", tmp_path / "out", "--size", 16)
    code, _, err = space.script("prepare_data.py", *arguments)
    assert code == 2
    assert f"{tmp_path / 'in/a/x.png'} cannot be read (it is no regular file)" in err


def test_an_image_of_too_many_pixels_is_named_as_such():
    with pytest.raises(BadImage, match="has more pixels than can be read safely; save it smaller"):
        decode(encoded(Image.new("1", (20_000, 10_000)), "PNG"), Decoding(8))
