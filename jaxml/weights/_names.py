"""Names of the modules of each network in the library that has it.

A network has the names of at most one library: those of torchvision and timm if they have it, and
those of Keras for the variants that end in `_keras`. All others have native names only: the keys of
the tree joined by dots, such as `params.stage1.block1.conv1.kernel`.
"""

from collections.abc import Mapping, Sequence

from jaxml.weights._convert import Naming
from jaxml.weights._inception_names import INCEPTION_NAMINGS
from jaxml.weights._inception_resnet_names import INCEPTION_RESNET_NAMINGS
from jaxml.weights._resnet_names import RESNET_NAMINGS


def native(paths: Sequence[str]) -> dict[str, str]:
    """Returns the native names.

    >>> native(["stage1/block1/conv1"])
    {'stage1/block1/conv1': 'stage1.block1.conv1'}
    """
    return {path: path.replace("/", ".") for path in paths}


# Kind of layout and naming of each network.
NAMINGS: Mapping[str, tuple[str, Naming]] = {
    **RESNET_NAMINGS,
    **INCEPTION_NAMINGS,
    **INCEPTION_RESNET_NAMINGS,
}


def naming_of(network: str) -> tuple[str, Naming]:
    """Returns the kind of layout and the naming of a network; native if no library has it.

    >>> naming_of("resnet20v1")[0], naming_of("resnet50")[0]
    ('native', 'torch')
    """
    return NAMINGS.get(network, ("native", native))
