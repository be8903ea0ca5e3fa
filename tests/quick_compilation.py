"""XLA flags that halve the time of the suite, most of which is compilation.

Numerics are slightly different and large computations slower. Setting the environment variable
`JAXML_TESTS_OPTIMIZED=1` tests XLA's defaults.
"""

import os
import subprocess
import sys

OPTIMIZED = "JAXML_TESTS_OPTIMIZED"
_FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"


def environment() -> dict[str, str]:
    """Returns the environment variables of a process that compiles quickly."""
    if os.environ.get(OPTIMIZED):
        return {}
    return {"XLA_FLAGS": f"{_FLAGS} {os.environ.get('XLA_FLAGS', '')}".strip()}


def is_accepted() -> bool:
    """Returns whether XLA knows the flags; it ends the process at an unknown one."""
    variables = {**os.environ, "XLA_FLAGS": _FLAGS, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    return subprocess.run(command, env=variables, capture_output=True).returncode == 0
