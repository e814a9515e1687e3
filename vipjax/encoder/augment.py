"""Random shifts and colours of single frames, for encoders that learn from little robot data."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from vipjax.runtime.frames import check_frames

# RGB -> YIQ, where a change of hue is a rotation of the last two.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def random_shift(key: jax.Array, frames: jax.Array, padding: int) -> jax.Array:
  """Shifts each frame by up to `padding` pixels; its border is repeated (DrQ, arXiv:2004.13649).

  Args:
    key: random key, consumed by the shifts.
    frames: uint8 [N, H, W, 3].
    padding: pixels to each side, >= 0.

  Returns:
    uint8 [N, H, W, 3].

  Raises:
    UserError: frames of another dtype or shape.
  """
  check_frames(frames, axes="[N, H, W, 3]")
  rows = ((padding, padding), (padding, padding), (0, 0))
  corners = jax.random.randint(key, (len(frames), 2), 0, 2 * padding + 1)

  def shift(frame, corner):
    return jax.lax.dynamic_slice(jnp.pad(frame, rows, mode="edge"), (*corner, 0), frame.shape)

  return jax.vmap(shift)(frames, corners)


def colour_jitter(
  key: jax.Array, frames: jax.Array, strengths: tuple[float, float, float, float], share: float
) -> jax.Array:
  """Changes brightness, contrast, saturation and hue of some frames, in this order.

  Args:
    key: random key, consumed by the changes.
    frames: uint8 [N, H, W, 3].
    strengths: of brightness, contrast and saturation the greatest change of the factor, which is 1
      without one; of the hue the greatest share of the circle.
    share: of the frames that change, 0 to 1.

  Returns:
    uint8 [N, H, W, 3].

  Raises:
    UserError: frames of another dtype or shape.
  """
  check_frames(frames, axes="[N, H, W, 3]")
  count, limits = len(frames), jnp.asarray(strengths)
  chex.assert_shape(limits, (4,))
  drawn = jax.random.uniform(key, (count, 5), minval=-1.0, maxval=1.0)
  changes = drawn[:, :4] * limits[None]
  brightness, contrast, saturation = jnp.moveaxis(1 + changes[:, :3, None, None, None], 1, 0)
  grey = lambda x: jnp.einsum("nhwc,c->nhw", x, _YIQ[0].astype(np.float32))[..., None]  # noqa: E731
  blend = lambda x, other, factor: jnp.clip(other + factor * (x - other), 0, 255)  # noqa: E731
  x = blend(frames.astype(jnp.float32), 0.0, brightness)
  x = blend(x, jnp.mean(grey(x), axis=(1, 2), keepdims=True), contrast)
  x = blend(x, grey(x), saturation)
  x = jnp.clip(jnp.einsum("nhwc,ndc->nhwd", x, _turned(2 * jnp.pi * changes[:, 3])), 0, 255)
  changed = (jnp.abs(drawn[:, 4]) < share)[:, None, None, None]
  return jnp.where(changed, jnp.round(x).astype(jnp.uint8), frames)


def _turned(angles: jax.Array) -> jax.Array:
  """Matrices [N, 3, 3] that turn the hue of RGB colours by angles [N], in radians."""
  cos, sin, one = jnp.cos(angles), jnp.sin(angles), jnp.ones_like(angles)
  rows = [[one, 0 * one, 0 * one], [0 * one, cos, -sin], [0 * one, sin, cos]]
  turn = jnp.moveaxis(jnp.asarray(rows), -1, 0)
  there, back = (each.astype(np.float32) for each in (_YIQ, np.linalg.inv(_YIQ)))
  return jnp.einsum("ab,nbc,cd->nad", back, turn, there)
