"""The value function: frames -> embeddings -> distance to a goal (VIP, arXiv:2210.00030).

V(o, g) = -||phi(o) - phi(g)||_2, with phi a ResNet. Distance is -V. A head of another kind than
"l2" says otherwise what the distance of two embeddings is (`encoder.heads`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vipjax.encoder.distances import goal_distances, reduce_goals
from vipjax.encoder.heads import HEAD, L2, Head
from vipjax.encoder.preprocess import Preprocessing
from vipjax.encoder.progress import PROGRESS, signed_progress
from vipjax.encoder.resnet import ResNet, ResNetConfig, init_variables
from vipjax.runtime.cores import usable_cores
from vipjax.runtime.errors import UserError
from vipjax.runtime.frames import check_frames
from vipjax.runtime.platform import on_cpu

# Frames per compiled call. A CPU gains nothing from more than a few; an accelerator does.
CPU_CHUNK = 8
ACCELERATOR_CHUNK = 64


def compute_dtype() -> Any:
  """float32 on a CPU, bfloat16 on accelerators: the default dtype of the convolutions."""
  return jnp.float32 if on_cpu() else jnp.bfloat16


def embed_function(
  config: ResNetConfig, preprocessing: Preprocessing, dtype: Any = None
) -> Callable[[Any, jax.Array], jax.Array]:
  """The pure embedding function of an architecture, for use inside other jitted code.

  Args:
    config: the architecture.
    preprocessing: the sizes frames are brought to.
    dtype: dtype of the convolutions; None means `compute_dtype()`.

  Returns:
    A function (variables, frames uint8 [..., H, W, 3]) -> float32 embeddings [..., D], in eval
    mode (BatchNorm uses its running statistics).
  """
  module = ResNet(config, dtype=compute_dtype() if dtype is None else dtype)

  def embed(variables, frames):
    leading = frames.shape[:-3]
    x = preprocessing(frames)
    embeddings = module.apply(variables, x.reshape((-1, *x.shape[-3:])), train=False)
    return embeddings.reshape((*leading, config.embedding_dim))

  return embed


@functools.cache
def _compiled(config: ResNetConfig, preprocessing: Preprocessing, dtype: Any):
  """One jitted function per architecture, so that values that share it share compilations."""
  return jax.jit(embed_function(config, preprocessing, dtype))


@dataclasses.dataclass(frozen=True, eq=False)
class ValueFunction:
  """A trained (or fresh) encoder with its preprocessing.

  Attributes:
    config: the architecture.
    preprocessing: the sizes frames are brought to before the network.
    variables: Flax variables: "params" and, with BatchNorm, "batch_stats"; float32. An encoder
      with a progress head (`vipjax.encoder.progress`) has it as "progress", one whose head has
      variables (`vipjax.encoder.heads`) these as "head".
    metadata: JSON-able facts, such as "name", "trained_on", "licence", "source".
    dtype: dtype of the convolutions; None means `compute_dtype()`.
    head: what the distance of two embeddings means.
  """

  config: ResNetConfig
  preprocessing: Preprocessing
  variables: Any
  metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
  dtype: Any = None
  head: Head = L2

  def module(self, axis_name: str | None = None) -> ResNet:
    """The Linen module; `axis_name` syncs BatchNorm over devices when it trains."""
    dtype = compute_dtype() if self.dtype is None else self.dtype
    return ResNet(self.config, axis_name=axis_name, dtype=dtype)

  @property
  def embed_fn(self) -> Callable[[Any, jax.Array], jax.Array]:
    """Pure function (variables, frames uint8 [..., H, W, 3]) -> embeddings [..., D]; jit it."""
    return embed_function(self.config, self.preprocessing, self.dtype)

  def replace(self, **changes) -> ValueFunction:
    """A copy with some attributes changed, such as the variables after a training step."""
    return dataclasses.replace(self, **changes)

  def embed(self, frames: np.ndarray, chunk: int | None = None) -> np.ndarray:
    """Embeds frames, a few at a time; compiles once per frame size.

    Args:
      frames: uint8 [T, H, W, 3], RGB, upright, T >= 1.
      chunk: how many at a time, to which the last ones are filled up; None is fast for many frames,
        1 for a single one.

    Returns:
      float32 [T, D].

    Raises:
      UserError: frames of another dtype or shape, or none at all.
    """
    frames = np.asarray(check_frames(frames))
    chunk = chunk or (CPU_CHUNK if on_cpu() else ACCELERATOR_CHUNK)
    dtype = compute_dtype() if self.dtype is None else self.dtype
    embed = _compiled(self.config, self.preprocessing, jnp.dtype(dtype))
    variables = jax.device_put(self.variables)
    starts = range(0, len(frames), chunk)

    def embed_from(start: int) -> jax.Array:
      part = frames[start : start + chunk]
      return embed(variables, np.pad(part, [(0, chunk - len(part))] + [(0, 0)] * 3))

    first = embed_from(0)  # returns once it is compiled, and computes meanwhile
    if not on_cpu():
      found = [first, *map(embed_from, starts[1:])]
    else:
      # XLA splits a convolution among the cores at a loss; calls of several threads run side by
      # side instead. Two cores embed 1.4 times as many frames with ResNet-18, 1.1 with ResNet-50.
      with ThreadPoolExecutor(usable_cores()) as pool:
        found = [first, *pool.map(lambda start: embed_from(start).block_until_ready(), starts[1:])]
    return np.concatenate([np.asarray(out) for out in found])[: len(frames)]

  def distance(
    self, frames: np.ndarray, goal: np.ndarray, goal_reduction: str = "mean"
  ) -> np.ndarray:
    """Distance of each frame to the goal as the head has it, published as ||phi(o) - phi(g)||_2.

    Args:
      frames: uint8 [T, H, W, 3].
      goal: one uint8 frame [H, W, 3] or a stack [G, H, W, 3] of the same size as the frames.
      goal_reduction: with a stack, "mean" takes the distance to the mean goal embedding, "nearest"
        the least of the distances to each goal.

    Returns:
      float32 [T], >= 0.

    Raises:
      UserError: wrong frames, a goal of another size, or another word for `goal_reduction`.
    """
    frames, goal = np.asarray(check_frames(frames)), np.asarray(goal)
    goal = goal[None] if goal.ndim == 3 else goal
    check_frames(goal, "the goal", "[G, H, W, 3]")
    if goal.shape[1:] != frames.shape[1:]:
      raise UserError(
        f"expected a goal of {frames.shape[1]}x{frames.shape[2]} as the frames (height x width), "
        f"got {goal.shape[1]}x{goal.shape[2]}; resize it with vipjax.videos.fit_square."
      )
    embeddings = self.embed(np.concatenate([frames, goal]))
    goals = reduce_goals(embeddings[len(frames) :], goal_reduction)
    return self.distances(embeddings[: len(frames)], goals)

  def distances(self, embeddings: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """Distance of each embedding to the nearest goal.

    Args:
      embeddings: float32 [T, D], from `embed`.
      goals: float32 [G, D], as from `reduce_goals`.

    Returns:
      float32 [T], >= 0.
    """
    return goal_distances(embeddings, goals, self.head, self.variables.get(HEAD))

  def value(self, frames: np.ndarray, goal: np.ndarray, goal_reduction: str = "mean") -> np.ndarray:
    """V(o, g) = -distance(o, g), float32 [T], <= 0; arguments and errors as `distance`."""
    return -self.distance(frames, goal, goal_reduction)

  def progress(self, frames: np.ndarray, next_frames: np.ndarray) -> np.ndarray:
    """How far each of the next frames is ahead of the frame before, as a share of the task.

    Args:
      frames: uint8 [T, H, W, 3].
      next_frames: uint8 [T, H, W, 3], as many, of the same size.

    Returns:
      float32 [T] in [-1, 1], < 0 where it is behind (`encoder.progress.signed_progress`).

    Raises:
      UserError: no progress head, wrong frames, or another number or size of next frames.
    """
    self.require_progress()
    frames, next_frames = np.asarray(check_frames(frames)), np.asarray(next_frames)
    check_frames(next_frames, "the next frames")
    if next_frames.shape != frames.shape:
      raise UserError(
        f"expected next frames of shape {list(frames.shape)} as the frames, got "
        f"{list(next_frames.shape)}; pass one next frame for each."
      )
    first, second = np.split(self.embed(np.concatenate([frames, next_frames])), 2)
    return np.asarray(signed_progress(self.variables[PROGRESS], first, second))

  def with_head(self, head: Head, key: jax.Array) -> ValueFunction:
    """A copy with another head.

    Args:
      head: "icvf" keeps its variables where there are some of the same widths.
      key: random key, consumed by fresh variables.

    Raises:
      UserError: the head does not fit the embeddings.
    """
    variables = dict(self.variables)
    if head.hidden != self.head.hidden:
      variables.pop(HEAD, None)
    fresh = head.init(key, self.config.embedding_dim)
    if fresh is not None:
      variables.setdefault(HEAD, fresh)
    return self.replace(head=head, variables=variables)

  def require_l2(self, what: str) -> None:
    """Raises UserError where the head is not "l2", for what knows no other."""
    if self.head != L2:
      raise UserError(
        f"expected an encoder with the head 'l2' for {what}, got {self.head.name!r}; take an "
        "encoder that was trained with config.encoder.head = 'l2'."
      )

  def require_progress(self) -> None:
    """Raises UserError where the encoder has no progress head."""
    if PROGRESS not in self.variables:
      raise UserError(
        "expected an encoder with a progress head, got one without; fine-tune it with "
        "config.finetune.progress.weight above 0."
      )


def init_value(
  key: jax.Array,
  config: ResNetConfig,
  preprocessing: Preprocessing | None = None,
  metadata: dict[str, Any] | None = None,
  dtype: Any = None,
) -> ValueFunction:
  """An encoder with fresh weights, initialised as torchvision's.

  Args:
    key: random key, consumed by the initialisation.
    config: the architecture.
    preprocessing: sizes; None means VIP's 256 and 224.
    metadata: JSON-able facts to carry along.
    dtype: dtype of the convolutions; None means `compute_dtype()`.
  """
  preprocessing = preprocessing or Preprocessing()
  variables = init_variables(key, config)
  return ValueFunction(config, preprocessing, variables, dict(metadata or {}), dtype)
