"""The fine-tuning step, one jitted program: (state, videos) -> (state, metrics).

It samples clips, crops and resizes them, embeds them, computes VIP (arXiv:2210.00030) or another
loss in its place, TCC (arXiv:1904.07846) and progress (arXiv:2509.26627) losses of the embeddings,
and applies Adam, all in one program; the videos lie on the device as uint8.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vipjax import losses
from vipjax.encoder import HEAD, ValueFunction, normalize_levels, random_resized_crop
from vipjax.encoder.progress import PROGRESS, head_logits, init_head
from vipjax.finetune import priorities
from vipjax.finetune.batch import Batch, make_draw
from vipjax.finetune.contrast import Contrast
from vipjax.finetune.settings import Settings, check_head
from vipjax.runtime import parallel, skips
from vipjax.types import VideoSet

# Losses whose targets come from an average of the parameters.
_AVERAGED = ("expectile", "icvf")


class TrainState(NamedTuple):
  """Everything that changes during fine-tuning (a pytree).

  Attributes:
    step: int32 scalar, updates done.
    key: the run's random key; step i uses fold_in(key, i).
    params: the encoder's parameters, and where it has them those of the value's head, as "head",
      and of the progress head, as "progress".
    batch_stats: BatchNorm's running statistics; {} without BatchNorm.
    opt_state: Adam's.
    skipped: int32 [2], updates that were not finite and changed nothing: in all, and in a row up
      to now.
    errors: what the prioritised sampler has learnt, see `priorities`; None with other samplers.
    target: the parameters without the progress head's as the losses "expectile" and "icvf" average
      them; None with other losses.
  """

  step: jax.Array
  key: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  skipped: jax.Array
  errors: jax.Array | None = None
  target: Any = None


class HostBatch(NamedTuple):
  """A batch whose frames come from the host, where the videos do not fit the device (a pytree).

  Attributes:
    batch: drawn by `make_draw` for this step.
    pixels: uint8 [F, H, W, 3], its frames; within the step of several devices, one's share.
    lengths: int32 [N], of all videos.
  """

  batch: Batch
  pixels: Any
  lengths: Any


# What devices share of it, for `parallel.compile_step`: the frames.
HOST_BATCH_AXES = HostBatch(None, 0, None)


def init_state(
  key: jax.Array, value: ValueFunction, settings: Settings, num_task: int = 0
) -> TrainState:
  """The state before the first update.

  Args:
    key: kept in it.
    value: gives the variables.
    settings: of the training step.
    num_task: how many videos the task has; only the prioritised sampler needs to know.
  """
  # Copies: the training step donates its state, and the caller keeps its value function.
  variables = jax.tree.map(jnp.array, value.variables)
  params = dict(variables["params"])
  if HEAD in variables:
    params[HEAD] = variables[HEAD]
  # The step donates the target, too, so it shares no arrays with the parameters.
  target = jax.tree.map(jnp.array, params) if settings.loss in _AVERAGED else None
  if settings.progress.weight:
    head = variables.get(PROGRESS) or init_head(value.config.embedding_dim)
    params[PROGRESS] = jax.tree.map(jnp.array, head)
  opt_state = _optimizer(settings).init(params)
  statistics = variables.get("batch_stats", {})
  skipped = jnp.zeros(2, jnp.int32)
  errors = None
  if settings.sampler.name == "prioritised":
    errors = priorities.init_errors(num_task + settings.made_videos, settings.sampler.bins)
  return TrainState(jnp.int32(0), key, params, statistics, opt_state, skipped, errors, target)


def frames_per_step(settings: Settings, num_task: int, contrast: Contrast | None = None) -> int:
  """How many frames a step embeds: 4 per clip and goal, TCC's of each task's video, 2 per pair."""
  clips, progress = settings.batch_size + settings.background_clips, settings.progress
  frames = 4 * clips + (num_task * settings.tcc.frames if settings.tcc.weight else 0)
  frames += 2 * progress.pairs if progress.weight else 0
  return frames + (contrast.num_frames if contrast else 0)


def make_train_step(
  value: ValueFunction,
  settings: Settings,
  num_task: int,
  teachers: Sequence[ValueFunction] = (),
  contrast: Contrast | None = None,
) -> Callable[[TrainState, VideoSet | HostBatch], tuple[TrainState, dict[str, jax.Array]]]:
  """The pure training step (state, data) -> (state, metrics).

  The data are all videos, or a `HostBatch`. `runtime.parallel.compile_step` compiles the step for
  one device, or for many that share the frames of each batch.

  Args:
    value: gives the architecture and the input size; its variables are not used.
    settings: what the step does.
    num_task: how many of the videos, the first ones, are of the task; the composites follow, the
      others are background.
    teachers: for the loss "distillation"; they see the crops that the encoder sees.
    contrast: goals against failures, in a loss beside the others; None for none.

  Returns:
    The step; its metrics are scalars. An update whose loss or gradient is not finite counts in
    `skipped` and changes nothing else but the step, so that the next one draws another batch.
  """
  check_head(settings.loss, value.head.name)
  distils = settings.loss == "distillation"
  tcc, progress, optimizer = settings.tcc, settings.progress, _optimizer(settings)
  clips = settings.batch_size + settings.background_clips

  def embed(params, target, batch_stats, data, frames):
    """Embeddings [n, D] of frames, by the encoder and by its target or each teacher; for "icvf"
    what tells the pictures apart, uint32 [n]; BatchNorm's statistics."""
    if isinstance(data, HostBatch):
      pixels = data.pixels
    else:
      pixels = data.frames[frames.video, frames.index]
    marks = _marks(pixels) if settings.loss == "icvf" else None
    pixels = random_resized_crop(
      frames.crop, pixels[:, None], value.preprocessing.crop, scale=settings.crop_scale,
      then_resize=settings.then_resize or None,
    )[:, 0]  # fmt: skip
    levels = normalize_levels(pixels)
    train = settings.train_batch_norm

    def apply(params):
      return value.module(parallel.axis_name()).apply(
        {"params": _of_encoder(params), **({"batch_stats": batch_stats} if batch_stats else {})},
        levels, train=train, mutable=["batch_stats"] if train else [],
      )  # fmt: skip

    embeddings, updated = apply(params)
    taught = [
      teacher.module().apply(teacher.variables, levels) for teacher in (teachers if distils else ())
    ]
    if target is not None:
      # BatchNorm as the encoder has it, with the statistics of the same batch: the running ones are
      # those of other parameters, and what they change would count as steps to the goal.
      taught.append(apply(target)[0])
    return [embeddings, *taught], marks, updated.get("batch_stats", batch_stats)

  def loss_fn(params, frames, target, batch_stats, data, batch):
    embedded, marks, batch_stats = embed(params, target, batch_stats, data, frames)
    embeddings, *taught = parallel.gather(embedded)
    distance = functools.partial(value.head.distance, None)
    clip_frames, *taught = (
      each[: 4 * clips].reshape((clips, 4, -1)) for each in (embeddings, *taught)
    )
    rewards = -jnp.ones(clips)
    if settings.loss == "triplet":
      total, metrics = losses.triplet_loss(clip_frames)
    elif distils:
      total, metrics = losses.distillation_loss(clip_frames, taught)
    elif settings.loss == "expectile":
      total, metrics = losses.expectile_loss(
        clip_frames,
        *taught,
        batch.frames.video[: 4 * clips : 4],
        batch.frames.index[: 4 * clips].reshape((clips, 4)),
        batch.permutations,
        discount=settings.discount,
        expectile=settings.expectile,
        distance=distance,
      )
    elif settings.loss == "icvf":
      total, metrics = losses.icvf_loss(
        *_intent_values(value.head, params, target, clip_frames, *taught),
        *_reached(batch, parallel.gather(marks)),
        discount=settings.discount,
        expectile=settings.expectile,
      )
    else:
      total, metrics = losses.vip_loss(
        clip_frames,
        rewards,
        batch.permutations,
        discount=settings.discount,
        l1_weight=settings.l1_weight,
        l2_weight=settings.l2_weight,
        weights=batch.weights,
        distance=distance,
      )
    if tcc.weight:
      cycle_loss, tcc_metrics = losses.tcc_loss(
        embeddings[4 * clips :][: num_task * tcc.frames].reshape((num_task, tcc.frames, -1)),
        batch.tcc_indices,
        data.lengths[:num_task],
        cycles=batch.cycles,
        starts=batch.starts,
        loss=tcc.loss,
        similarity=tcc.similarity,
        temperature=tcc.temperature,
        temperature_unit=tcc.temperature_unit,
      )
      total = total + tcc.weight * cycle_loss
      metrics = {**metrics, **tcc_metrics}
    if progress.weight:
      first = 4 * clips + (num_task * tcc.frames if tcc.weight else 0)
      pairs = embeddings[first:][: 2 * progress.pairs].reshape((progress.pairs, 2, -1))
      both = jnp.concatenate([pairs, pairs[:, ::-1]])
      progress_loss, progress_metrics = losses.progress_loss(
        head_logits(params[PROGRESS], both[:, 0], both[:, 1]),
        jnp.concatenate([batch.progress, -batch.progress]),
      )
      total = total + progress.weight * progress_loss
      metrics = {**metrics, **progress_metrics}
    if contrast:
      failures = batch.frames.video[3 - contrast.num_frames :: 4]
      goal_loss, goal_metrics = losses.contrast_loss(
        embeddings[-contrast.num_frames :].reshape((contrast.clips, 4, -1)),
        weights=(data.lengths[failures] > 0).astype(jnp.float32),
      )
      total = total + contrast.weight * goal_loss
      metrics = {**metrics, **goal_metrics}
    found = None
    if settings.sampler.name == "prioritised":
      found = losses.vip_errors(clip_frames, rewards, settings.discount, distance)
      found = found[: settings.batch_size]
    return total, ({"loss": total, **metrics}, batch_stats, found)

  def step(state, data):
    if isinstance(data, HostBatch):
      batch = data.batch
    else:
      draw = make_draw(settings, num_task, data.frames.shape[1], contrast)
      batch = draw(state.key, state.step, data.lengths, state.errors)
    grads, (metrics, batch_stats, found) = parallel.grad(loss_fn)(
      state.params, batch.frames, state.target, state.batch_stats, data, batch
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics["gradient_norm"] = optax.tree.norm(grads)
    finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])
    errors = state.errors
    if errors is not None:
      errors = priorities.update(errors, batch.cells, found, settings.sampler.momentum)
    target = state.target
    if target is not None:
      # Towards the parameters before this update, as in ICVF's trainer; no progress head is in it.
      before = {name: state.params[name] for name in target}
      target = optax.incremental_update(before, target, settings.target_rate)
    new = state._replace(
      params=params, batch_stats=batch_stats, opt_state=opt_state, errors=errors, target=target
    )
    state = skips.keep_finite(finite, new, state)
    metrics["skipped"], metrics["skipped_in_a_row"] = state.skipped
    return state, metrics

  return step


def _of_encoder(params):
  """The encoder's own parameters, without those of heads."""
  return {name: leaves for name, leaves in params.items() if name not in (HEAD, PROGRESS)}


def _intent_values(head, params, target, frames, taught):
  """Values [2, B] as `losses.icvf_loss` takes them, of embeddings [B, 4, D] of s, s', s+, z."""
  of_target = functools.partial(head.values, target[HEAD])
  step, _, outcome, intent = (frames[:, place] for place in range(4))
  first, following, old_outcome, old_intent = (taught[:, place] for place in range(4))
  return (
    head.values(params[HEAD], step, outcome, intent),
    of_target(following, old_outcome, old_intent),
    of_target(following, old_intent, old_intent),
    of_target(first, old_intent, old_intent),
  )


def _reached(batch: Batch, marks: jax.Array) -> jax.Array:
  """bool [2, B], whether s is s+, and z: the frame itself, or one that shows the same.

  Films without the robot stand still for most of their time: there a step that is worth -1 forever
  would lead from a picture to itself.
  """
  marks = marks[: 4 * batch.reached.shape[1]].reshape((-1, 4)).T
  return batch.reached | (marks[:1] == marks[2:])


def _marks(pixels: jax.Array) -> jax.Array:
  """A number uint32 [n] of each picture uint8 [n, H, W, 3]; different ones hardly agree."""
  factors = jax.random.bits(jax.random.key(0), pixels.shape[1:])
  return jnp.sum(pixels * factors[None], axis=(1, 2, 3), dtype=jnp.uint32)


def scan_steps(step: Callable, count: int) -> Callable:
  """A program of `count` steps (state, videos) -> (state, metrics), whose metrics are [count]."""

  def steps(state, videos):
    if count == 1:
      state, metrics = step(state, videos)
      return state, jax.tree.map(lambda metric: metric[None], metrics)
    return jax.lax.scan(lambda state, _: step(state, videos), state, length=count)

  return steps


def _optimizer(settings: Settings) -> optax.GradientTransformation:
  head = settings.head_learning_rate or settings.learning_rate
  rates = {"body": settings.learning_rate, "head": head}

  def labels(params):
    return {name: "head" if name in ("fc", HEAD, PROGRESS) else "body" for name in params}

  if settings.decay_steps:
    rates = {
      name: optax.cosine_decay_schedule(rate, settings.decay_steps) for name, rate in rates.items()
    }
  return optax.multi_transform({name: optax.adam(rate) for name, rate in rates.items()}, labels)


def with_state(value: ValueFunction, state: TrainState) -> ValueFunction:
  """The value function with what training has made of its variables."""
  params = state.params
  # A progress head that the encoder trains on without is left behind: the embedding has moved.
  heads = {name: params[name] for name in (HEAD, PROGRESS) if name in params}
  variables = {"params": _of_encoder(params), **heads}
  if state.batch_stats:
    variables["batch_stats"] = state.batch_stats
  return value.replace(variables=jax.device_get(variables))
