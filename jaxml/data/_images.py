"""The images of a table as an array that decodes its entries when they are read."""

import dataclasses
import threading
from typing import NamedTuple

import numpy as np

from jaxml.data import decode
from jaxml.data._optional import MissingPackageError
from jaxml.data.sources.table import Table
from jaxml.errors import InputError


class Preparation(NamedTuple):
    """Conversion of images of any size to images of one size.

    Attributes:
      size: height and width; None leaves images, which must have one size, as they are.
      center_fraction: see `decode.center_crop`.
      smallest_crop: see `decode.random_resized_crop`; None takes the center.
      seed: seed of the random crops.
    """

    size: tuple[int, int] | None = None
    center_fraction: float = 1.0
    smallest_crop: float | None = None
    seed: int = 0

    def apply(self, content: decode.Content, index: int, epoch: int | None) -> np.ndarray:
        """Decodes and crops an image; the crop is a function of seed, epoch and index."""
        if self.size is None:
            return decode.full_size(content)
        if self.smallest_crop is None or epoch is None:
            return decode.center_crop(content, self.size, fraction=self.center_fraction)
        generator = self._generator(index, epoch)
        return decode.random_resized_crop(
            content, self.size, generator, smallest=self.smallest_crop
        )

    def box(
        self, content: decode.Content, index: int, epoch: int
    ) -> tuple[int, int, int, int] | None:
        """Returns the left, upper, right and lower edge of the random crop, if there is one."""
        if self.size is None or self.smallest_crop is None:
            return None
        generator = self._generator(index, epoch)
        return decode.random_box(content, generator, smallest=self.smallest_crop)

    def _generator(self, index: int, epoch: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, index))


class Damage:
    """The damaged images that were replaced, up to a limit; several threads may add to it.

    Attributes:
      limit: number of damaged images above which `add` raises an error.
      messages: a message for each of them, in the order in which they were found.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.messages: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, name: str, message: str) -> None:
        """Records a damaged image, if it is a new one.

        Raises:
          InputError: there are more than the limit.
        """
        with self._lock:
            if name in self.messages:
                return
            if len(self.messages) >= self.limit:
                raise InputError(
                    f"{message}; config.data.max_damaged must be at least "
                    f"{len(self.messages) + 1} to replace it by another image, got {self.limit}"
                )
            self.messages[name] = message


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Images `[n, height, width, channels]`, uint8, decoded when they are read.

    Attributes:
      table: the images before decoding.
      preparation: how they are decoded.
      damage: receives the damaged images.
      example_shape: height, width and channels.
    """

    table: Table
    preparation: Preparation
    damage: Damage
    example_shape: tuple[int, ...]
    dtype = np.dtype(np.uint8)
    ndim = 4

    def __len__(self) -> int:
        return len(self.table)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array."""
        return (len(self), *self.example_shape)

    def read(self, index: int, epoch: int | None = None) -> tuple[np.ndarray, int]:
        """Reads an image; see `read_image`.

        Raises:
          InputError: too many images are damaged, or the image has another size than the set.
        """
        image, found = read_image(self.table, self.preparation, self.damage, index, epoch)
        if image.shape != self.example_shape:
            raise InputError(
                f"config.data.image_size must be set for images of several sizes, got "
                f"{_in_words(image.shape)} in {self.table.name(found)!r} and "
                f"{_in_words(self.example_shape)} before"
            )
        return image, found

    def locate(self, index: int, epoch: int) -> tuple[int, tuple[int, int, int, int] | None]:
        """Returns the index of the image that `read` returns, and the edges of its crop."""
        _, found = self.read(index, epoch)
        return found, self.preparation.box(self.table[found].content, found, epoch)

    def sample(self, count: int) -> np.ndarray:
        """Reads at most `count` evenly spaced images, without randomness."""
        indices = np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64)
        return np.stack([self.read(int(index))[0] for index in indices])


def read_image(
    table: Table, preparation: Preparation, damage: Damage, index: int, epoch: int | None = None
) -> tuple[np.ndarray, int]:
    """Reads an image of a table, or the next undamaged one in place of a damaged one.

    Args:
      table: the images before decoding.
      preparation: how they are decoded.
      damage: receives the damaged images.
      index: index of the image.
      epoch: epoch of the random crop; None reads without randomness, for evaluation.

    Returns:
      The image, and the index of the image that it is.

    Raises:
      InputError: too many images are damaged.
    """
    for offset in range(len(table)):
        found = (index + offset) % len(table)
        try:
            return preparation.apply(table[found].content, found, epoch), found
        except MissingPackageError:
            raise
        except (decode.DamagedError, OSError, InputError) as error:
            damage.add(table.name(found), describe_damage(table, found, error))
    raise InputError(f"config.data.dir must contain an undamaged image, got {len(table)} damaged")


def describe_damage(table: Table, index: int, error: Exception) -> str:
    """Returns a message about a damaged image."""
    reason = getattr(error, "strerror", None) or error
    return f"image {index} {table.name(index)!r} is damaged: {reason}"


def _in_words(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
