"""Deep learning as pure functions in JAX, composed by Flax Linen, trained by one jitted step."""

__version__ = "0.1.0"
