"""The fine-tuning step, one jitted program: (state, videos) -> (state, metrics).

It samples clips, crops and resizes them, embeds them, computes VIP (arXiv:2210.00030) and
TCC (arXiv:1904.07846) losses of the embeddings, and applies Adam, all in one program; the videos
lie on the device as uint8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vipjax import losses, sampling
from vipjax.encoder import ValueFunction, normalize_levels, random_resized_crop
from vipjax.types import VideoSet


@dataclasses.dataclass(frozen=True)
class TccSettings:
  """The cycle-consistency loss: weight 0 turns it off; other fields as `losses.tcc_loss`.

  Attributes:
    weight: factor of the TCC loss beside the VIP loss.
    num_cycles: K cycles; 0 takes all ordered pairs of videos from every frame instead.
    videos_per_cycle: T videos in each cycle (with K > 0).
    frames: frames drawn of each video.
    loss: "regression_mse", "regression_mse_var", "regression_huber" or "classification".
    similarity: "l2" or "cosine".
    temperature: of every softmax.
  """

  weight: float = 1.0
  num_cycles: int = 20
  videos_per_cycle: int = 4
  frames: int = 16
  loss: str = "regression_mse"
  similarity: str = "l2"
  temperature: float = 0.1


@dataclasses.dataclass(frozen=True)
class Settings:
  """What one training step does.

  Attributes:
    batch_size: clips of four frames in the VIP loss.
    background_clips: further clips in the VIP loss from unlabelled background videos; 0 is
      published. They teach what lies off the expert's path.
    sampler: draws the first frame of each clip and the frames for TCC; background clips are drawn
      uniformly.
    learning_rate: of Adam.
    head_learning_rate: of Adam for the last, dense layer; 0 takes learning_rate (published). A
      fresh encoder's embeddings span a distance of about 1 and VIP wants about one unit per
      frame: at a common rate most steps would go into growing that layer.
    decay_steps: updates over which both rates fall to 0 along a cosine; 0 keeps them (published).
    discount, num_negatives, l1_weight, l2_weight: as `losses.vip_loss`.
    crop_scale: least and greatest area of the random crop.
    then_resize: resize after the crop, before the central cut (VIP: 256); 0 for none.
    train_batch_norm: whether BatchNorm uses batch statistics and updates its running ones.
    tcc: the cycle-consistency loss.
  """

  batch_size: int = 4
  background_clips: int = 0
  sampler: sampling.Sampler = sampling.Sampler("exponential")
  learning_rate: float = 1e-4
  head_learning_rate: float = 0.0
  decay_steps: int = 0
  discount: float = 0.98
  num_negatives: int = 3
  l1_weight: float = 0.001
  l2_weight: float = 0.001
  crop_scale: tuple[float, float] = (0.2, 1.0)
  then_resize: int = 0
  train_batch_norm: bool = True
  tcc: TccSettings = TccSettings()


class TrainState(NamedTuple):
  """Everything that changes during fine-tuning (a pytree).

  Attributes:
    step: int32 scalar, updates done.
    key: the run's random key; step i uses fold_in(key, i).
    params: the encoder's parameters.
    batch_stats: BatchNorm's running statistics; {} without BatchNorm.
    opt_state: Adam's.
  """

  step: jax.Array
  key: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any


def init_state(key: jax.Array, value: ValueFunction, settings: Settings) -> TrainState:
  """The state before the first update; `key` is kept in it."""
  # Copies: the training step donates its state, and the caller keeps its value function.
  variables = jax.tree.map(jnp.array, value.variables)
  params = variables["params"]
  opt_state = _optimizer(settings).init(params)
  return TrainState(jnp.int32(0), key, params, variables.get("batch_stats", {}), opt_state)


def make_train_step(
  value: ValueFunction, settings: Settings
) -> Callable[[TrainState, VideoSet, VideoSet | None], tuple[TrainState, dict[str, jax.Array]]]:
  """The pure training step (state, videos, background) -> (state, metrics); jit it.

  Args:
    value: gives the architecture and the input size; its variables are not used.
    settings: what the step does.

  Returns:
    The step. `videos` are those of the task; `background` is None unless
    `settings.background_clips` asks for it. Metrics are scalars.
  """
  module = value.module()
  size = value.preprocessing.crop
  optimizer = _optimizer(settings)

  def loss_fn(params, batch_stats, batch):
    clips, subsets = batch.clips, batch.tcc_frames
    frames = clips.reshape((-1, *clips.shape[2:]))
    if subsets is not None:
      frames = jnp.concatenate([frames, subsets.reshape((-1, *subsets.shape[2:]))])
    variables = {"params": params, **({"batch_stats": batch_stats} if batch_stats else {})}
    train = settings.train_batch_norm
    embeddings, updated = module.apply(
      variables, normalize_levels(frames), train=train, mutable=["batch_stats"] if train else []
    )
    count = clips.shape[0] * 4
    vip, metrics = losses.vip_loss(
      embeddings[:count].reshape((clips.shape[0], 4, -1)),
      -jnp.ones(clips.shape[0]),
      batch.permutations,
      discount=settings.discount,
      l1_weight=settings.l1_weight,
      l2_weight=settings.l2_weight,
    )
    total = vip
    if subsets is not None:
      tcc, tcc_metrics = losses.tcc_loss(
        embeddings[count:].reshape((*subsets.shape[:2], -1)),
        batch.tcc_indices,
        batch.tcc_lengths,
        cycles=batch.cycles,
        starts=batch.starts,
        loss=settings.tcc.loss,
        similarity=settings.tcc.similarity,
        temperature=settings.tcc.temperature,
      )
      total = vip + settings.tcc.weight * tcc
      metrics = {**metrics, **tcc_metrics}
    return total, ({"loss": total, **metrics}, updated.get("batch_stats", batch_stats))

  def step(state, videos, background=None):
    batch = _sample_batch(
      jax.random.fold_in(state.key, state.step), videos, background, settings, size
    )
    grads, (metrics, batch_stats) = jax.grad(loss_fn, has_aux=True)(
      state.params, state.batch_stats, batch
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics["gradient_norm"] = optax.global_norm(grads)
    return TrainState(state.step + 1, state.key, params, batch_stats, opt_state), metrics

  return step


class _Batch(NamedTuple):
  clips: jax.Array  # [B, 4, size, size, 3], levels 0..255
  permutations: jax.Array  # int32 [M, B]
  tcc_frames: jax.Array | None  # [V, N, size, size, 3]
  tcc_indices: jax.Array | None
  tcc_lengths: jax.Array | None
  cycles: jax.Array | None
  starts: jax.Array | None


def _sample_batch(key, videos, background, settings: Settings, size: int) -> _Batch:
  keys = jax.random.split(key, 6)
  clips = _sample_clips(keys[0], videos, settings.batch_size, settings.sampler, settings, size)
  if settings.background_clips:
    uniform = sampling.make_sampler("uniform")
    more = _sample_clips(keys[1], background, settings.background_clips, uniform, settings, size)
    clips = jnp.concatenate([clips, more])
  count = clips.shape[0]
  permutations = jax.vmap(lambda k: jax.random.permutation(k, count))(
    jax.random.split(keys[2], settings.num_negatives)
  ) if settings.num_negatives else jnp.zeros((0, count), jnp.int32)  # fmt: skip
  tcc = settings.tcc
  if not tcc.weight:
    return _Batch(clips, permutations, None, None, None, None, None)
  frames = videos.frames
  indices = sampling.frame_subset(
    keys[3], settings.sampler, videos.lengths, tcc.frames, frames.shape[1]
  )
  chosen = frames[jnp.arange(frames.shape[0])[:, None], indices]
  chosen = _crop(keys[4], chosen, settings, size)
  cycles = starts = None
  if tcc.num_cycles:
    cycle_key, start_key = jax.random.split(keys[5])
    cycles = sampling.sample_cycles(
      cycle_key, frames.shape[0], tcc.num_cycles, tcc.videos_per_cycle
    )
    starts = sampling.sample_starts(start_key, tcc.num_cycles, tcc.frames)
  return _Batch(clips, permutations, chosen, indices, videos.lengths, cycles, starts)


def _sample_clips(key, videos, count, sampler, settings, size):
  video_key, index_key, crop_key = jax.random.split(key, 3)
  ids = sampling.sample_videos(video_key, videos.frames.shape[0], count)
  indices = sampling.clip_indices(index_key, sampler, videos.lengths[ids])
  return _crop(crop_key, videos.frames[ids[:, None], indices], settings, size)


def _crop(key, frames, settings: Settings, size: int):
  return random_resized_crop(
    key, frames, size, scale=settings.crop_scale, then_resize=settings.then_resize or None
  )


def _optimizer(settings: Settings) -> optax.GradientTransformation:
  rates = {
    "body": settings.learning_rate,
    "head": settings.head_learning_rate or settings.learning_rate,
  }

  def labels(params):
    return {name: "head" if name == "fc" else "body" for name in params}

  if settings.decay_steps:
    rates = {
      name: optax.cosine_decay_schedule(rate, settings.decay_steps) for name, rate in rates.items()
    }
  return optax.multi_transform({name: optax.adam(rate) for name, rate in rates.items()}, labels)
