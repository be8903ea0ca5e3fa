"""Decoding and cropping of images, compared with Pillow."""

import io
import math

import numpy as np
import pytest
import scipy.stats
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

from jaxml.data import decode
from tests.data.sources.formats import png

PHOTO = load_sample_image("flower.jpg")  # 427 x 640


def _encode(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _photo(mode="RGB"):
    return Image.fromarray(PHOTO).convert(mode)


ENCODED = {
    **{kind: _encode(_photo(), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF")},
    "444": _encode(_photo(), "JPEG", quality=95, subsampling=0),
    "progressive": _encode(_photo(), "JPEG", progressive=True),
    "grey": _encode(_photo("L"), "JPEG"),
    "cmyk": _encode(_photo("CMYK"), "JPEG"),
    "palette": _encode(_photo("P"), "PNG"),
    "alpha": _encode(_photo("RGBA"), "PNG"),
    "bilevel": _encode(_photo("1"), "PNG"),
    "16-bit": _encode(Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 3), "PNG"),
}


@pytest.fixture(params=["simplejpeg", "Pillow"])
def _decoder(request, monkeypatch):
    """Runs a test with each of the decoders of JPEG."""
    if request.param == "Pillow":
        monkeypatch.setattr(decode, "_simplejpeg", lambda: None)
    else:
        pytest.importorskip("simplejpeg")


@pytest.mark.usefixtures("_decoder")
@pytest.mark.parametrize("kind", ENCODED)
def test_a_decoded_image_is_that_of_pillow(kind):
    expected = np.asarray(Image.open(io.BytesIO(ENCODED[kind])).convert("RGB"))
    np.testing.assert_array_equal(decode.full_size(ENCODED[kind]), expected, strict=True)


@pytest.mark.slow
@pytest.mark.usefixtures("_decoder")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = _encode(_photo(), kind, exif=exif)
    image = Image.open(io.BytesIO(content))
    expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(decode.full_size(content), expected)
    size = (60, 90) if orientation < 5 else (90, 60)
    cropped = decode.center_crop(content, size)
    assert cropped.shape == (*size, 3)
    generator = np.random.default_rng(0)
    assert decode.random_resized_crop(content, (8, 8), generator, smallest=0.9).shape == (8, 8, 3)


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (0, 255)]
    content = _encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode.full_size(content).max() == 0


@pytest.mark.parametrize(
    ("size", "fraction", "resized", "corner"),
    [  # the sizes and corners of torchvision's Resize and CenterCrop
        (224, 0.875, (383, 256), (80, 16)),
        (32, 1.0, (47, 32), (8, 0)),
        (500, 1.0, (749, 500), (124, 0)),
    ],
)
def test_a_central_crop_is_that_of_pillow(size, fraction, resized, corner):
    left, top = corner
    expected = _photo().resize(resized, Image.Resampling.BILINEAR)
    expected = expected.crop((left, top, left + size, top + size))
    found = decode.center_crop(ENCODED["PNG"], (size, size), fraction=fraction)
    np.testing.assert_array_equal(found, np.asarray(expected))
    turned = decode.center_crop(PHOTO.transpose(1, 0, 2), (size, size), fraction=fraction)
    assert np.abs(turned.transpose(1, 0, 2).astype(int) - found).max() <= 1


def test_an_image_of_the_wanted_size_is_unchanged():
    small = PHOTO[:32, :32]
    np.testing.assert_array_equal(decode.center_crop(png(small), (32, 32)), small)
    np.testing.assert_array_equal(decode.center_crop(small[..., :1], (32, 32)), small[..., :1])


@pytest.mark.usefixtures("_decoder")
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_random_crop_is_the_resized_part_of_the_image(kind, monkeypatch):
    monkeypatch.setattr(decode, "_draw_box", lambda *_: (40, 30, 340, 290))
    generator = np.random.default_rng(0)
    found = decode.random_resized_crop(ENCODED[kind], (64, 64), generator, smallest=0.1)
    image = Image.open(io.BytesIO(ENCODED[kind]))
    image.draft(None, (160, 106))  # the decoder of JPEG reduces to a quarter, 160 x 107
    assert image.size == ((640, 427) if kind == "PNG" else (160, 107))
    if kind == "PNG":
        expected = image.crop((40, 30, 340, 290)).resize((64, 64), Image.Resampling.BILINEAR)
    else:  # the crop begins and ends within a pixel
        y = 107 / 427
        box = (0, 30 * y - 7, 75, 290 * y - 7)
        expected = image.crop((10, 7, 85, 73)).resize((64, 64), Image.Resampling.BILINEAR, box)
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_pixels_outside_of_a_random_crop_have_no_effect(monkeypatch):
    monkeypatch.setattr(decode, "_draw_box", lambda *_: (40, 30, 340, 290))

    def crop(photo):
        return decode.random_resized_crop(photo, (64, 64), np.random.default_rng(0), smallest=0.1)

    changed = 255 - PHOTO
    changed[30:290, 40:340] = PHOTO[30:290, 40:340]
    np.testing.assert_array_equal(crop(changed), crop(PHOTO))


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("kind", ["Exif", "XMP"])
@pytest.mark.parametrize("segments", [0, 1, 3])
def test_the_orientation_is_found_after_other_segments(kind, segments):
    exif = Image.Exif()
    exif[0x0112] = 6
    metadata = {"exif": exif} if kind == "Exif" else {"xmp": XMP}
    content = _encode(_photo(), "JPEG", **metadata)
    comment = b"\xff\xff\xfe" + (60_002).to_bytes(2) + bytes(60_000)
    content = content[:2] + segments * comment + content[2:]
    assert decode._may_have_orientation(content)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    assert expected.size == (427, 640)
    np.testing.assert_array_equal(decode.full_size(content), np.asarray(expected))
    assert not decode._may_have_orientation(ENCODED["JPEG"])
    assert not decode._may_have_orientation(b"\xff\xd8\xff")


@pytest.mark.parametrize("kind", ["JPEG", "444", "progressive", "grey"])
def test_both_decoders_crop_alike(kind, monkeypatch):
    pytest.importorskip("simplejpeg")

    def crops():
        return np.asarray(
            [
                decode.random_resized_crop(
                    ENCODED[kind], (48, 32), np.random.default_rng(seed), smallest=0.05
                )
                for seed in range(8)
            ],
            np.float32,
        )

    fast = crops()
    monkeypatch.setattr(decode, "_simplejpeg", lambda: None)
    difference = np.abs(fast - crops())
    if kind in ("444", "grey"):  # have all colors
        assert not difference.any()
    else:
        assert difference.mean() < 1
        assert np.quantile(difference, 0.99) < 10


def test_the_area_of_the_crops_is_uniform():
    image = decode._Image(400, 400, lambda *_: None)
    generator = np.random.default_rng(0)
    boxes = np.asarray([decode._draw_box(image, generator, 0.2) for _ in range(2000)])
    left, top, right, bottom = boxes.T
    assert boxes.min() >= 0
    assert max(right.max(), bottom.max()) <= 400
    width, height = right - left, bottom - top
    area = width * height / 400**2
    small = area[area < 0.7]  # larger ones do not fit with every ratio
    assert scipy.stats.kstest(small, scipy.stats.uniform(0.2, 0.5).cdf).pvalue > 1e-3
    ratio = np.log(width / height)[area < 0.7]
    spread = math.log(4 / 3)
    uniform = scipy.stats.uniform(-spread, 2 * spread)
    assert scipy.stats.kstest(ratio, uniform.cdf).pvalue > 1e-3


def test_a_narrow_image_is_cropped_at_its_center():
    image = decode._Image(10, 1000, lambda *_: None)
    assert decode._draw_box(image, np.random.default_rng(0), 1.0) == (0, 493, 10, 506)


@pytest.mark.usefixtures("_decoder")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "the file is not an image"),
        (ENCODED["JPEG"][:5000], "image file is truncated"),
        (ENCODED["JPEG"][:100], "not an image|truncated|Truncated"),
        (ENCODED["PNG"][:5000], "truncated|[Uu]nexpected"),
        (ENCODED["WEBP"][:5000], "."),
        (ENCODED["GIF"][:5000], "truncated"),
        (ENCODED["PNG"][:5000] + bytes(100) + ENCODED["PNG"][5100:], "broken"),
    ],
)
def test_a_damaged_image_is_an_error(content, reason):
    with pytest.raises(decode.DamagedError, match=reason):
        decode.full_size(content)
    with pytest.raises(decode.DamagedError):
        decode.random_resized_crop(content, (8, 8), np.random.default_rng(0), smallest=0.1)


def test_a_truncated_photo_is_damaged_for_every_length():
    small = _encode(_photo().resize((40, 30)), "JPEG")
    for size in range(0, len(small) - 2, 7):
        with pytest.raises(decode.DamagedError):
            decode.full_size(small[:size])
