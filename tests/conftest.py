"""What holds for all tests; it is loaded before any of them imports JAX or MuJoCo."""

import os

# Tests of several devices use fake ones on the CPU.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
).strip()

from vipjax.runtime import gl  # noqa: E402

gl.configure()

import jax  # noqa: E402

# Adding [B] to [B, D] without saying how is a mistake more often than not.
jax.config.update("jax_numpy_rank_promotion", "raise")
