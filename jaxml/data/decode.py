"""Decodes, crops and resizes images on the host.

Encoded images are decoded by their content, whatever the name of the file: JPEG by simplejpeg if it
is installed, everything else by Pillow, with equal results except for random crops. The orientation
in the EXIF metadata is applied, and greyscale, palette, CMYK, 16-bit and transparent images become
RGB as in `PIL.Image.Image.convert("RGB")`. Of an animation, the first frame is taken. Arrays are
images that are decoded already, and keep their channels.

All results are uint8 `[height, width, channels]`. The decoders release the interpreter lock.

Raises:
  DamagedError: from every function, if an image cannot be decoded.
"""

import functools
import importlib
import io
import math
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxml.data._optional import require
from jaxml.errors import one_line

__all__ = ["DamagedError", "center_crop", "full_size", "random_box", "random_resized_crop"]

Content = bytes | np.ndarray

_ORIENTATION = 0x0112  # EXIF tag
_METADATA = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")  # may hold an orientation
_SCALES = (8, 4, 2)  # by which the JPEG decoder can reduce an image


class DamagedError(ValueError):
    """An image cannot be read or decoded."""


class _Image(NamedTuple):
    """An image that is not decoded yet.

    Attributes:
      width: width after the orientation is applied.
      height: height after the orientation is applied.
      decode: decodes the image, reduced by a scale of 1, 2, 4 or 8, to an array or an image of
        Pillow. The second argument permits a JPEG to be decoded without interpolation of the
        colors, which is faster.
    """

    width: int
    height: int
    decode: Callable[[int, bool], Any]


def full_size(content: Content) -> np.ndarray:
    """Decodes an image in its own size."""
    if isinstance(content, np.ndarray):
        return content
    return _decoded(lambda: np.asarray(_open(content).decode(1, False)))


def center_crop(content: Content, size: tuple[int, int], *, fraction: float = 1.0) -> np.ndarray:
    """Resizes an image with antialiasing and crops its center.

    Args:
      content: the image.
      size: height and width of the result.
      fraction: the image is resized so that the result is this fraction of its height or width, and
        at most this fraction of the other. Sizes are rounded as in torchvision.
    """
    height, width = size

    def crop() -> np.ndarray:
        image = _open(content)
        if height * image.width >= width * image.height:
            resized_height = round(height / fraction)
            resized_width = max(image.width * resized_height // image.height, width)
        else:
            resized_width = round(width / fraction)
            resized_height = max(image.height * resized_width // image.width, height)
        decoded = _to_pillow(image.decode(1, False))
        if (resized_width, resized_height) != (image.width, image.height):
            size = (resized_width, resized_height)
            decoded = decoded.resize(size, _pillow().Resampling.BILINEAR)
        left, top = round((resized_width - width) / 2), round((resized_height - height) / 2)
        return np.asarray(decoded.crop((left, top, left + width, top + height)))

    return _decoded(crop, content)


def random_resized_crop(
    content: Content,
    size: tuple[int, int],
    generator: np.random.Generator,
    *,
    smallest: float,
) -> np.ndarray:
    """Crops a random part of an image and resizes it with antialiasing.

    As in torchvision, the resizing reads no pixels outside of the crop. A JPEG is decoded at a
    reduced size if the crop then still has at least the size of the result, and by simplejpeg
    without interpolation of its colors, which is faster.

    Args:
      content: the image.
      size: height and width of the result.
      generator: source of randomness.
      smallest: smallest area of the crop, as a fraction of the image. The area is uniform, and the
        logarithm of the aspect ratio is uniform between those of 3/4 and 4/3.

    References:
      Szegedy et al., "Going deeper with convolutions", 2014, section 6.
    """
    height, width = size

    def crop() -> np.ndarray:
        image = _open(content)
        left, top, right, bottom = _draw_box(image, generator, smallest)
        most = min((right - left) // width, (bottom - top) // height)
        decoded = image.decode(next((scale for scale in _SCALES if scale <= most), 1), True)
        columns, rows = _size(decoded)
        x, y = columns / image.width, rows / image.height
        box = (left * x, top * y, min(right * x, columns), min(bottom * y, rows))
        part, box = _crop(decoded, box)
        return np.asarray(part.resize((width, height), _pillow().Resampling.BILINEAR, box))

    return _decoded(crop, content)


def random_box(
    content: Content, generator: np.random.Generator, *, smallest: float
) -> tuple[int, int, int, int]:
    """Returns the left, upper, right and lower edge of the crop of `random_resized_crop`."""
    box = _decoded(lambda: np.asarray(_draw_box(_open(content), generator, smallest)))
    left, top, right, bottom = box.tolist()
    return left, top, right, bottom


def _draw_box(
    image: _Image, generator: np.random.Generator, smallest: float
) -> tuple[int, int, int, int]:
    """Draws the left, upper, right and lower edge of a crop."""
    area = image.width * image.height
    least, largest = math.log(3 / 4), math.log(4 / 3)
    for _ in range(10):
        target = area * generator.uniform(smallest, 1)
        ratio = math.exp(generator.uniform(least, largest))
        width, height = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < width <= image.width and 0 < height <= image.height:
            left = int(generator.integers(image.width - width + 1))
            top = int(generator.integers(image.height - height + 1))
            return left, top, left + width, top + height
    # The image is too wide or too high for these ratios.
    width = min(image.width, round(image.height * 4 / 3))
    height = min(image.height, round(image.width * 4 / 3))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return left, top, left + width, top + height


def _size(decoded: Any) -> tuple[int, int]:
    """Returns the width and height of a decoded image."""
    return decoded.shape[1::-1] if isinstance(decoded, np.ndarray) else decoded.size


def _crop(
    decoded: Any, box: tuple[float, float, float, float]
) -> tuple[Any, tuple[float, float, float, float]]:
    """Returns the pixels of a box as an image of Pillow, and the box within it."""
    x, y = math.floor(box[0]), math.floor(box[1])
    right, bottom = math.ceil(box[2]), math.ceil(box[3])
    if isinstance(decoded, np.ndarray):  # before the conversion, which copies the pixels
        part = _to_pillow(decoded[y:bottom, x:right])
    else:
        part = decoded.crop((x, y, right, bottom))
    return part, (box[0] - x, box[1] - y, box[2] - x, box[3] - y)


def _to_pillow(decoded: Any) -> Any:
    return _pillow().fromarray(decoded) if isinstance(decoded, np.ndarray) else decoded


def _decoded(decode: Callable[[], np.ndarray], content: Content = b"") -> np.ndarray:
    """Calls a function, and turns the errors of a damaged image into a DamagedError."""
    bomb, unidentified = _pillow().DecompressionBombError, _pillow().UnidentifiedImageError
    try:
        image = decode()
    except unidentified:
        raise DamagedError("the file is not an image") from None
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError) as error:
        raise DamagedError(one_line(error, 200)) from None
    except (ArithmeticError, MemoryError, struct.error, zlib.error, bomb) as error:
        raise DamagedError(one_line(error, 200)) from None
    if isinstance(content, np.ndarray) and image.ndim == 2:
        return image[..., None]
    return image


def _open(content: Content) -> _Image:
    pillow = _pillow()
    if isinstance(content, np.ndarray):
        image = pillow.fromarray(content[..., 0] if content.shape[2] == 1 else content)
        return _Image(image.width, image.height, lambda *_: image)
    if not content:
        raise DamagedError("the file is empty")
    if content.startswith(b"\xff\xd8\xff") and (found := _open_jpeg(content)) is not None:
        return found
    image = pillow.open(io.BytesIO(content))
    width, height = image.size
    if image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8):
        width, height = height, width
    return _Image(width, height, lambda scale, _: _decode_with_pillow(content, scale))


def _decode_with_pillow(content: bytes, scale: int) -> Any:
    image = _pillow().open(io.BytesIO(content))
    if scale > 1:  # has an effect on JPEG only
        image.draft(None, (image.width // scale, image.height // scale))
    return require("PIL.ImageOps", "pillow").exif_transpose(image).convert("RGB")


def _open_jpeg(content: bytes) -> _Image | None:
    """Opens a JPEG with simplejpeg; None leaves it to Pillow."""
    simplejpeg = _simplejpeg()
    if simplejpeg is None:
        return None
    if _may_have_orientation(content):
        orientation = _pillow().open(io.BytesIO(content)).getexif().get(_ORIENTATION, 1)
        if orientation != 1:
            return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:
        return None
    if space not in ("YCbCr", "Gray"):
        return None

    def decode(scale: int, fast: bool) -> Any:
        try:
            return simplejpeg.decode_jpeg(
                content,
                fastdct=False,
                fastupsample=fast,
                min_factor=scale,
                min_height=height // scale,
                min_width=width // scale,
            )
        except ValueError:  # Pillow decides whether it is damaged
            return _decode_with_pillow(content, scale)

    return _Image(width, height, decode)


def _may_have_orientation(content: bytes) -> bool:
    """Returns whether a JPEG has Exif or XMP metadata in front of its pixels."""
    place = 2
    while content[place : place + 1] == b"\xff":
        marker = content[place + 1 : place + 2]
        if marker == b"\xff":  # fills
            place += 1
        elif marker in (b"\xda", b"\xd9", b""):  # the pixels, or the end
            return False
        elif content.startswith(_METADATA, place + 4):
            return True
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return False


@functools.cache
def _pillow() -> Any:
    return require("PIL.Image", "pillow")


@functools.cache
def _simplejpeg() -> Any:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None
