"""Augmentation of image batches, on the device.

The functions are pure and can be jitted. These conventions hold for all of them:

- Images are `[batch, height, width, channels]`, uint8 or floating-point, with values from 0 to 255
  in either case: normalization comes later. Shape and dtype are kept, except that
  `random_resized_crop` and `resize` can change the size. uint8 results are rounded, or truncated
  where Pillow truncates.
- A random function takes a PRNG key first, and draws independently for each image unless it says
  otherwise. Deterministic functions take magnitudes that are one number, or one per image.
- A wrong dtype raises a TypeError, a wrong shape or a value out of range a ValueError.

`AUGMENTATIONS` maps the names that a config uses to functions; `parse` and `apply` compose them.
"""

from jaxml.data.augment._color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    autocontrast,
    color_jitter,
    equalize,
    grayscale,
    invert,
    posterize,
    solarize,
)
from jaxml.data.augment._compose import (
    AUGMENTATIONS,
    MIXING,
    Augmentation,
    Examples,
    apply,
    parse,
    randomly,
)
from jaxml.data.augment._crop import (
    alternating_flip,
    flip,
    flip_average,
    random_crop,
    random_flip,
    random_resized_crop,
    resize,
)
from jaxml.data.augment._erase import cutout, random_erasing
from jaxml.data.augment._filter import adjust_sharpness, gaussian_blur, random_gaussian_blur
from jaxml.data.augment._mix import cutmix, mixup, mixup_or_cutmix, repeat
from jaxml.data.augment._policies import aug_mix, rand_augment, trivial_augment_wide
from jaxml.data.augment._warp import (
    affine,
    perspective,
    random_affine,
    random_perspective,
    random_rotation,
    rotate,
)

__all__ = [
    "AUGMENTATIONS",
    "MIXING",
    "Augmentation",
    "Examples",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "adjust_sharpness",
    "affine",
    "alternating_flip",
    "apply",
    "aug_mix",
    "autocontrast",
    "color_jitter",
    "cutmix",
    "cutout",
    "equalize",
    "flip",
    "flip_average",
    "gaussian_blur",
    "grayscale",
    "invert",
    "mixup",
    "mixup_or_cutmix",
    "parse",
    "perspective",
    "posterize",
    "rand_augment",
    "random_affine",
    "random_crop",
    "random_erasing",
    "random_flip",
    "random_gaussian_blur",
    "random_perspective",
    "random_resized_crop",
    "random_rotation",
    "randomly",
    "repeat",
    "resize",
    "rotate",
    "solarize",
    "trivial_augment_wide",
]
