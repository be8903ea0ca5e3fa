"""Initial values of parameters, as initializers `(key, shape, dtype) -> array`.

`zeros` and `ones` are initializers themselves; every other function returns one, except `lsuv`,
which rescales the kernels of an initialized network. Kernels are `[in, out]` or
`[*window, in, out]`. The argument `dtype` of a function is the default dtype of its initializer;
None stands for float32, or float64 under x64.

A name that `jax.nn.initializers` has takes the same arguments with the same defaults here, and
draws the same values in float32 and float64. Ours add `groups` for grouped convolutions, validate
their arguments, and draw in float32 at least before rounding, because a draw in bfloat16 takes only
128 different values. They raise `TypeError` for integer and complex dtypes, and take no
`out_sharding`: jit the initializer with `out_shardings` instead.

`he_normal` is also named `kaiming_normal`, and `xavier_normal` is also named `glorot_normal`;
likewise for the uniform distributions.
"""

from jax.nn.initializers import constant, ones, zeros

from jaxml.initializers._distributions import (
    normal,
    sparse,
    truncated_normal,
    uniform,
    uniform_range,
)
from jaxml.initializers._lsuv import lsuv
from jaxml.initializers._matrices import delta_orthogonal, dirac, identity, orthogonal
from jaxml.initializers._variance_scaling import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
)

__all__ = [
    "constant", "delta_orthogonal", "dirac", "glorot_normal", "glorot_uniform", "he_normal",
    "he_uniform", "identity", "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform",
    "lsuv", "normal", "ones", "orthogonal", "sparse", "truncated_normal", "uniform",
    "uniform_range", "variance_scaling", "xavier_normal", "xavier_uniform", "zeros",
]  # fmt: skip
