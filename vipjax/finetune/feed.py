"""Batches from videos on the host, where the device cannot hold them: grain prefetches them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import grain
import jax
import numpy as np

from vipjax.finetune.batch import Batch, make_draw
from vipjax.finetune.settings import Settings
from vipjax.finetune.step import HostBatch
from vipjax.runtime.platform import cpu_device
from vipjax.types import Video

_THREADS, _AHEAD = 4, 8
_NAMED = 3  # videos of a batch that an error names


def host_loader(
  key: jax.Array,
  videos: Sequence[Video],
  settings: Settings,
  num_task: int,
  first: int,
  steps: int,
  share: slice = slice(None),
) -> Iterator[HostBatch]:
  """The batches of steps first..steps - 1, the same ones that the device would draw itself.

  A step's batch depends on the key and its number alone, so the position of this iterator is the
  step of the train state: restoring that restores this.

  Args:
    key: `TrainState.key`.
    videos: the task's first, then the background's; of one size. Their frames may be read as they
      are indexed.
    settings: of the training step.
    num_task: how many are the task's.
    first: updates done.
    steps: updates in all.
    share: which frames of each batch to read; those that the devices of this process embed.
  """
  draw, lengths = _draw_on_host(key, videos, settings, num_task)

  def load(step: int) -> HostBatch:
    batch = draw(step)
    rows = np.asarray(batch.frames.video)[share]
    places = np.asarray(batch.frames.index)[share]
    # One reading of each video, whichever way it keeps its frames.
    pixels = np.empty((len(rows), *videos[0].frames.shape[1:]), np.uint8)
    for row in np.unique(rows):
      chosen = rows == row
      pixels[chosen] = videos[row].frames[places[chosen]]
    return HostBatch(batch, pixels, lengths)

  dataset = grain.MapDataset.range(first, steps).map(load)
  options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)
  return iter(dataset.to_iter_dataset(options))


def describe_batches(
  key: jax.Array, videos: Sequence[Video], settings: Settings, num_task: int
) -> Callable[[int], str]:
  """A function that names the videos of a step's batch; arguments as of `host_loader`."""
  if settings.sampler.name == "prioritised":
    return lambda step: "drawn by priorities, which are not kept"
  draw, _ = _draw_on_host(key, videos, settings, num_task)

  def describe(step: int) -> str:
    # The first step is drawn by 0, the number of updates done.
    rows = sorted(set(np.asarray(draw(step - 1).frames.video).tolist()))
    names = [videos[row].source or f"video {row}" for row in rows[:_NAMED]]
    more = len(rows) - len(names)
    return f"{', '.join(names)}{f' and {more} more videos' if more else ''}"

  return describe


def _draw_on_host(
  key: jax.Array, videos: Sequence[Video], settings: Settings, num_task: int
) -> tuple[Callable[[int], Batch], np.ndarray]:
  """Draws the batch of a number of updates done, on the CPU where JAX may use it; and the videos'
  lengths, int32 [N]."""
  lengths = np.array([len(video.frames) for video in videos], np.int32)
  host = cpu_device()  # None is JAX's own choice
  draw = jax.jit(make_draw(settings, num_task, int(lengths.max())))
  # A copy: the training step donates the state that holds this key.
  data = np.array(jax.random.key_data(key))
  with jax.default_device(host):
    key = jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))

  def draw_step(done: int) -> Batch:
    with jax.default_device(host):
      return draw(key, np.int32(done), lengths)

  return draw_step, lengths
