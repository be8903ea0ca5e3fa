"""What another library calls the modules of each network, for files from there and for there.

A network has the names of one library at most. Where torchvision and timm have it, these are
theirs; the variants that are Keras' end in `_keras` and have its names. All other networks go by
their native names: the keys of the tree with dots between them, as
`params.stage1.block1.conv1.kernel` and `batch_stats.stem_norm.mean`.
"""

from collections.abc import Mapping, Sequence

from jaxml.weights._convert import Naming
from jaxml.weights._inception_names import INCEPTION_NAMINGS
from jaxml.weights._inception_resnet_names import INCEPTION_RESNET_NAMINGS
from jaxml.weights._resnet_names import RESNET_NAMINGS


def native(paths: Sequence[str]) -> dict[str, str]:
    """Our own names.

    >>> native(["stage1/block1/conv1"])
    {'stage1/block1/conv1': 'stage1.block1.conv1'}
    """
    return {path: path.replace("/", ".") for path in paths}


# By the name of the network: kind of `jaxml.weights._layout`, and its names.
NAMINGS: Mapping[str, tuple[str, Naming]] = {
    **RESNET_NAMINGS,
    **INCEPTION_NAMINGS,
    **INCEPTION_RESNET_NAMINGS,
}


def naming_of(network: str) -> tuple[str, Naming]:
    """The kind and the naming of a network, native ones where no library has it.

    >>> naming_of("resnet20v1")[0], naming_of("resnet50")[0]
    ('native', 'torch')
    """
    return NAMINGS.get(network, ("native", native))
