"""Noise of the acting policy, correlated over time where asked; a function of key and step alone.

A torque that changes its sign at every action moves an arm hardly at all: what is drawn anew more
seldom goes further.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from vipjax.runtime import ranges


@dataclasses.dataclass(frozen=True)
class ExplorationSettings:
  """How the noise of actions is correlated; the defaults are those of configs/paper.py.

  Attributes:
    hold: actions for which a noise is held, at least 1.
    octaves: at least 1. The noise is the sum of so many, each held twice as long as the one before:
      1 is white, more give a spectrum of 1/f down to their longest (pink noise, Voss and Clarke
      1978; for exploration Eberhard et al., ICLR 2023).
    mixed: whether environments differ: the first has one octave, the next two, up to `octaves`, and
      so on in turns (as actors differ in Ape-X, Horgan et al., ICLR 2018). What is found by small
      movements and what by long ones is then found in one run.

  Raises:
    UserError: one of them is out of its range.
  """

  hold: int = 1
  octaves: int = 1
  mixed: bool = False

  def __post_init__(self):
    ranges.check("policy.exploration", vars(self))


def normal(
  key: jax.Array, env_steps: int, shape: tuple[int, int], settings: ExplorationSettings
) -> jax.Array:
  """Returns standard normal noise float32 [N, A] for the action at a step.

  Args:
    key: of the run; the same for all its steps.
    env_steps: steps of all environments so far, a multiple of N.
    shape: (N, A).
    settings: how it is correlated.
  """
  keys = _keys(key, env_steps, shape[0], settings)
  if not settings.mixed:
    return sum(jax.random.normal(each, shape) for each in keys) / math.sqrt(settings.octaves)
  counts = 1 + jnp.arange(shape[0])[:, None] % settings.octaves
  octaves = ((counts > octave) * jax.random.normal(each, shape) for octave, each in enumerate(keys))
  return sum(octaves) / jnp.sqrt(counts)


def uniform(
  key: jax.Array, env_steps: int, shape: tuple[int, int], settings: ExplorationSettings
) -> jax.Array:
  """Returns actions float32 [N, A], uniform in [-1, 1] at each step; arguments as `normal`."""
  if settings.octaves > 1:
    return 2 * jax.scipy.stats.norm.cdf(normal(key, env_steps, shape, settings)) - 1
  (held,) = _keys(key, env_steps, shape[0], settings)
  return jax.random.uniform(held, shape, minval=-1.0, maxval=1.0)


def _keys(
  key: jax.Array, env_steps: int, num_envs: int, settings: ExplorationSettings
) -> list[jax.Array]:
  keys = []
  for octave in range(settings.octaves):
    period = settings.hold * 2**octave * num_envs
    held = jax.random.fold_in(key, env_steps // period * period)
    keys.append(jax.random.fold_in(held, octave) if octave else held)
  return keys
