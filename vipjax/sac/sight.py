"""Encoders that actor and critics have of their own, which learn with them.

V-PTR (arXiv:2309.13041) gives both one each, started from the same weights, and bounds what they
see: LayerNorm and tanh (after a dense layer there). The frames before and after a step are shifted
and change their colours separately.

An encoder is "encoder" of the network's variables: "params", and "batch_stats" with BatchNorm,
which stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vipjax.encoder import L2, Preprocessing, ResNetConfig, ValueFunction
from vipjax.encoder.augment import colour_jitter, random_shift
from vipjax.encoder.value import embed_function
from vipjax.runtime import ranges
from vipjax.sac.agent import SacState, network

_OF_ENCODER = ("params", "batch_stats")


@dataclasses.dataclass(frozen=True)
class SightSettings:
  """How frames change while an encoder learns from them.

  Attributes:
    crop_padding: pixels by which a frame is shifted at most, to each side.
    colour_jitter: greatest changes of brightness, contrast, saturation and hue, as
      `encoder.augment.colour_jitter` takes them.
    colour_share: share of the frames whose colours change.

  Raises:
    UserError: one of them is out of its range.
  """

  crop_padding: int
  colour_jitter: tuple[float, float, float, float]
  colour_share: float

  def __post_init__(self):
    ranges.check("vptr", vars(self))


@dataclasses.dataclass(frozen=True)
class Sight:
  """How networks see frames (hashable: arrays are in the agent's state).

  Attributes:
    config, preprocessing, dtype: of the encoder, as in `ValueFunction`.
    settings: see there.
  """

  config: ResNetConfig
  preprocessing: Preprocessing
  dtype: Any
  settings: SightSettings

  @classmethod
  def of(cls, value: ValueFunction, settings: SightSettings) -> Sight:
    return cls(value.config, value.preprocessing, value.dtype, settings)

  def seen(self, variables: Any, observation: jax.Array, frames: jax.Array) -> jax.Array:
    """Observations [B, O] whose first entries are what an encoder sees in frames [B, H, W, 3]."""
    embed = embed_function(self.config, self.preprocessing, self.dtype)
    embedding = bounded(embed(variables, frames))
    return jnp.concatenate([embedding, observation[:, embedding.shape[-1] :]], axis=1)

  def changed(self, key: jax.Array, frames: jax.Array) -> jax.Array:
    """Frames uint8 [..., H, W, 3], each shifted and of other colours."""
    shift_key, colour_key = jax.random.split(key)
    flat = frames.reshape(-1, *frames.shape[-3:])
    flat = random_shift(shift_key, flat, self.settings.crop_padding)
    flat = colour_jitter(colour_key, flat, self.settings.colour_jitter, self.settings.colour_share)
    return flat.reshape(frames.shape)


def bounded(embedding: jax.Array) -> jax.Array:
  """What a network takes of an embedding [..., D] that is learnt with it: LayerNorm, then tanh."""
  return jnp.tanh(jax.nn.standardize(embedding))


def learnt(variables: Any) -> Any:
  """What the optimizer changes of a network's variables, its encoder's among them."""
  if "encoder" not in variables:
    return network(variables)
  return {**network(variables), "encoder": variables["encoder"]["params"]}


def with_learnt(variables: Any, changed: Any) -> Any:
  """The variables with what `learnt` took out of them changed."""
  variables = {**variables, "params": changed["params"]}
  if "encoder" in variables:
    variables["encoder"] = {**variables["encoder"], "params": changed["encoder"]}
  return variables


def with_encoders(
  state: SacState, encoder: Any, learning_rate: float, actor_learning_rate: float
) -> SacState:
  """Returns an agent before its first update with an encoder for each network.

  Args:
    state: of `init_agent`.
    encoder: variables of a `ValueFunction`; a head's are left out.
    learning_rate, actor_learning_rate: Adam's, of critics and actor.
  """
  own = {name: encoder[name] for name in _OF_ENCODER if name in encoder}
  actor, critic, target = (
    {**variables, "encoder": jax.tree.map(jnp.array, own)}
    for variables in (state.actor, state.critic, state.target_critic)
  )
  return state._replace(
    actor=actor, critic=critic, target_critic=target,
    actor_opt=optax.adam(actor_learning_rate).init(learnt(actor)),
    critic_opt=optax.adam(learning_rate).init(learnt(critic)),
  )  # fmt: skip


def actors_encoder(value: ValueFunction, actor: Any) -> ValueFunction:
  """The encoder of an actor that has one, with no head: distances are not what it learned."""
  facts = {"trained_on": "robot data, by the loss of an actor (V-PTR)"}
  return value.replace(
    variables=dict(actor["encoder"]), head=L2, metadata={**value.metadata, **facts}
  )


def eye(value: ValueFunction, actor: Any) -> Callable[[np.ndarray], np.ndarray]:
  """What an actor sees of a frame uint8 [H, W, 3], by its own encoder or, without one, `value`."""
  if "encoder" not in actor:
    return lambda frame: value.embed(frame[None], chunk=1)[0]
  own = actors_encoder(value, actor)
  return lambda frame: np.asarray(bounded(own.embed(frame[None], chunk=1)[0]))


def without_encoder(actor: Any) -> Any:
  """The actor's variables but for its encoder."""
  return {name: leaf for name, leaf in actor.items() if name != "encoder"}
