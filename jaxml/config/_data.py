"""The settings of the data; see `_tree` for the others."""

import dataclasses

from jaxml.config._node import LARGEST_INT, Settings, setting


@dataclasses.dataclass
class DataConfig(Settings):
    """The data set, its normalization and its augmentation."""

    name: str = setting(
        "digits",
        "Data set, one of jaxml.data.DATASETS, or the format of your own images, one of "
        "jaxml.data.SOURCES.",
    )
    dir: str = setting(
        ".",
        "Directory with the files of the data set; not used by data sets of scikit-learn.",
        resume="any",
    )
    validation_size: int = setting(
        0,
        "Number of examples that are held out from the end of the training set and evaluated "
        "instead of the test set.",
        low=0,
    )
    normalization: str = setting(
        "per_image",
        "Normalization of the inputs: per_image and per_channel standardize, unit and min_max "
        "scale to [0, 1], pca and zca whiten, patch_pca whitens patches of 2x2 pixels. All except "
        "per_image and unit are fitted to the training set.",
        choices=("per_image", "per_channel", "unit", "min_max", "pca", "zca", "patch_pca"),
    )
    augment: tuple[str, ...] = setting(
        (),
        "Augmentations of training images, one after the other: names of "
        "jaxml.data.augment.AUGMENTATIONS, each with parameters of the function, such as "
        "crop:padding=4,flip,random_erasing:probability=0.25:fill=noise. mixup and cutmix mix the "
        "labels too; the training accuracy then counts the class with the largest part.",
    )
    balanced: bool = setting(
        False,
        "Visits all classes equally often in an epoch, which repeats examples of rare classes and "
        "leaves out some of frequent ones.",
    )
    mixing_epochs: int | None = setting(
        None,
        "Number of epochs after which mixup and cutmix stop; None mixes in all epochs.",
        low=0,
    )
    progressive_sizes: tuple[int, ...] = setting(
        (),
        "Progressive resizing: heights and widths of the training images, after augmentation, each "
        "for an equal part of the epochs, such as 16,24,32. Evaluation uses the full size.",
        low=1,
        high=LARGEST_INT,
    )
    image_column: str = setting(
        "image", "Column, feature or array of a source that holds the images."
    )
    label_column: str = setting(
        "label", "Column, feature or array of a source that holds the labels."
    )
    eval_split: str | None = setting(
        None,
        "Split of a source that is evaluated; None is val, or test if there is no val.",
        choices=("val", "test"),
    )
    validation_fraction: float | None = setting(
        None,
        "Fraction of the training images of each class of a source that are held out, at random, "
        "and evaluated instead; None is 0.1 if there is no val and no test split, otherwise 0.",
        low=0,
        below=1,
    )
    split_seed: int = setting(0, "Seed of the choice of the images that are held out.", low=0)
    image_size: int | None = setting(
        None,
        "Height and width to which the images of a source are resized and cropped; None requires "
        "images of one size.",
        low=1,
        high=LARGEST_INT,
    )
    train_image_size: int | None = setting(
        None,
        "Height and width of the training images of a source; None takes image_size, which is "
        "otherwise that of evaluation.",
        low=1,
        high=LARGEST_INT,
    )
    center_fraction: float = setting(
        1.0,
        "Fraction of the resized image that the central crop of image_size keeps: 0.875 resizes "
        "the shorter side to 256 for a crop of 224.",
        above=0,
        high=1,
    )
    smallest_crop: float | None = setting(
        None,
        "Random resized crop of training images: smallest area of the crop as a fraction of the "
        "image; None takes the central crop.",
        above=0,
        high=1,
    )
    stream: bool = setting(
        True,
        "Decodes the images of a source during training; false decodes them once, without random "
        "resized crops, and keeps them in device memory.",
    )
    workers: int | None = setting(
        None,
        "Number of threads that decode images; None is one for each core, 0 decodes in the main "
        "thread. The batches do not depend on it.",
        low=0,
        resume="any",
    )
    max_damaged: int = setting(
        10,
        "Number of damaged images that are reported and replaced by the next image; one more ends "
        "the run.",
        low=0,
        resume="any",
    )
