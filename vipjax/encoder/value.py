"""The value function: frames -> embeddings -> distance to a goal (VIP, arXiv:2210.00030).

V(o, g) = -||phi(o) - phi(g)||_2, with phi a ResNet. Distance is -V. A head of another kind than
"l2" says otherwise what the distance of two embeddings is (`encoder.heads`).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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

# Frames per compiled call. A CPU gains nothing from more than a few; an accelerator does: of a call
# of 256 frames an H200 embedded 5 times as many in a second as of one of 9 (docs/results/gpu.md). A
# second, smaller program serves few frames and the rest of many.
CPU_CHUNK = 8
ACCELERATOR_CHUNK, _FEW = 256, 32
_CHUNK_BYTES = 2**28  # larger frames go in smaller chunks
_AHEAD, _RUNNING = 3, 2  # chunks on their way to an accelerator, and those that it embeds


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


def chunks(count: int, frame_bytes: int, chunk: int | None = None) -> list[tuple[int, int]]:
  """How an accelerator takes `count` frames: starts and sizes of chunks, of two sizes at most.

  Args:
    count: how many frames.
    frame_bytes: of one.
    chunk: the only size; None is the large one as long as it would be half full, then the small.
  """
  if chunk is None:
    fits = 1 << (max(_CHUNK_BYTES // frame_bytes, 1).bit_length() - 1)
    large, small = min(ACCELERATOR_CHUNK, fits), min(_FEW, fits)
  else:
    large = small = chunk
  made, start = [], 0
  while start < count:
    size = large if 2 * (count - start) >= large else small
    made.append((start, size))
    start += size
  return made


def _filled(frames: np.ndarray, start: int, size: int) -> np.ndarray:
  """`size` frames from `start` on, filled up with zeros where there are not as many."""
  part = frames[start : start + size]
  if len(part) == size:
    return part
  filled = np.zeros((size, *frames.shape[1:]), np.uint8)
  filled[: len(part)] = part
  return filled


def _stream(embed: Callable, frames: np.ndarray, parts: list[tuple[int, int]]) -> np.ndarray:
  """Embeds chunks of frames; some are on their way to the accelerator while it embeds others.

  Threads send them, because most of that is a copy by a core into memory that the device can read.
  The device holds at most `_AHEAD` chunks that wait and `_RUNNING` that it works on.
  """
  found: list[jax.Array] = []
  with ThreadPoolExecutor(min(_AHEAD, usable_cores())) as pool:

    def send(part: tuple[int, int]) -> Future:
      return pool.submit(lambda: jax.device_put(_filled(frames, *part)))

    sent = collections.deque(send(part) for part in parts[:_AHEAD])
    for index in range(len(parts)):
      found.append(embed(sent.popleft().result()))
      found[-1].copy_to_host_async()
      if index >= _RUNNING:
        found[index - _RUNNING].block_until_ready()
      sent.extend(map(send, parts[index + _AHEAD : index + _AHEAD + 1]))
  return np.concatenate([np.asarray(out) for out in found])[: len(frames)]


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
      chunk: how many at a time, the last ones filled up to it; None is fast for many frames, 1 for
        a single one.

    Returns:
      float32 [T, D].

    Raises:
      UserError: frames of another dtype or shape, or none at all.
    """
    frames = np.asarray(check_frames(frames))
    dtype = compute_dtype() if self.dtype is None else self.dtype
    embed = functools.partial(
      _compiled(self.config, self.preprocessing, jnp.dtype(dtype)), self._placed
    )
    if not on_cpu():
      return _stream(embed, frames, chunks(len(frames), frames[0].nbytes, chunk))
    chunk = chunk or CPU_CHUNK
    parts = [_filled(frames, start, chunk) for start in range(0, len(frames), chunk)]
    first = embed(parts[0])  # returns once it is compiled, and computes meanwhile
    # XLA splits a convolution among the cores at a loss; calls of several threads run side by side
    # instead. Two cores embed 1.4 times as many frames with ResNet-18, 1.1 with ResNet-50.
    with ThreadPoolExecutor(usable_cores()) as pool:
      found = [first, *pool.map(lambda part: embed(part).block_until_ready(), parts[1:])]
    return np.concatenate([np.asarray(out) for out in found])[: len(frames)]

  @functools.cached_property
  def _placed(self) -> Any:
    """The variables on the device, sent there once."""
    return jax.device_put(self.variables)

  def __getstate__(self) -> dict[str, Any]:
    """What copies and pickles hold: the fields alone."""
    return {name: value for name, value in vars(self).items() if name != "_placed"}

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
      head: "icvf" keeps its variables where there are some of the same layers.
      key: random key, consumed by fresh variables.

    Raises:
      UserError: the head does not fit the embeddings.
    """
    variables = dict(self.variables)
    if (head.hidden, head.layer_norm) != (self.head.hidden, self.head.layer_norm):
      variables.pop(HEAD, None)
    fresh = head.init(key, self.config.embedding_dim)
    if fresh is not None:
      variables.setdefault(HEAD, fresh)
    return self.replace(head=head, variables=variables)

  def require_l2(self, what: str) -> None:
    """Raises UserError where the head is not "l2"; `what` needs it, for the message."""
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
) -> ValueFunction:
  """An encoder with fresh weights, initialised as torchvision's.

  Args:
    key: random key, consumed by the initialisation.
    config: the architecture.
    preprocessing: sizes; None means VIP's 256 and 224.
    metadata: JSON-able facts to carry along.
  """
  preprocessing = preprocessing or Preprocessing()
  variables = init_variables(key, config)
  return ValueFunction(config, preprocessing, variables, dict(metadata or {}))
