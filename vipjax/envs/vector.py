"""Many environments in worker processes, with the frames from which the reward is computed.

Each worker steps and draws its share of the environments into shared memory while the learner
computes: `step_async` sends actions, `step_wait` returns the results. On a GPU the workers step and
one further process draws for all.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from vipjax.envs.pool import NoWorkers, WorkerPool
from vipjax.envs.robot_env import RobotEnv
from vipjax.envs.worker import Drawer, SharedArrays, Stepper, layout
from vipjax.runtime import gl
from vipjax.runtime.cores import usable_cores
from vipjax.runtime.errors import UserError, require_among
from vipjax.scene import View
from vipjax.scene.tiles import state_size

DRAWING = ("auto", "workers", "one_process")
_START_SECONDS, _STEP_SECONDS = 180.0, 60.0


@dataclasses.dataclass(frozen=True)
class Channel:
  """A picture that each environment takes at each step: a viewpoint, with or without the robot."""

  view: View
  robot_visible: bool = True


class Seen(NamedTuple):
  """What a reward may look at: pictures, and what only a simulator knows.

  Attributes:
    frames: uint8 [N, C, H, W, 3], one per channel.
    distances: float32 [N, 2], metres from hand to object and from object to target, as
      `RobotEnv.distances` gives them.
    task_reward: float32 [N], Meta-World's shaped reward of this state.
  """

  frames: np.ndarray
  distances: np.ndarray
  task_reward: np.ndarray


class Step(NamedTuple):
  """The result of one step of all N environments. Arrays are copies of what the workers wrote.

  Attributes:
    observation: float32 [N, O], before any automatic reset.
    frames, distances, task_reward: as in `Seen`, before any automatic reset.
    truncated: bool [N], whether the episode ended and the environment was reset afterwards.
    success: bool [N], at this step.
    reset_observation: float32 [N, O], after the automatic reset; equals `observation` without one.
    reset_frames, reset_distances, reset_task_reward: likewise; where no episode ended
      `reset_frames` is the array `frames`.
  """

  observation: np.ndarray
  frames: np.ndarray
  distances: np.ndarray
  task_reward: np.ndarray
  truncated: np.ndarray
  success: np.ndarray
  reset_observation: np.ndarray
  reset_frames: np.ndarray
  reset_distances: np.ndarray
  reset_task_reward: np.ndarray

  @property
  def seen(self) -> Seen:
    """What a reward sees before any automatic reset."""
    return Seen(self.frames, self.distances, self.task_reward)

  @property
  def reset_seen(self) -> Seen:
    """What it sees after the automatic reset; equals `seen` without one."""
    return Seen(self.reset_frames, self.reset_distances, self.reset_task_reward)


class Episodes(NamedTuple):
  """The starts of N episodes and the actions in them (a pytree).

  Physics is deterministic, so playing them again restores the environments bit for bit in any task.

  Attributes:
    generator: uint64 [N, 6], state of the environment's PCG64 generator before its last reset.
    actions: float32 [N, horizon, A], the actions since then; zeros past `steps`.
    steps: int32 [N], the number of these actions.
  """

  generator: np.ndarray
  actions: np.ndarray
  steps: np.ndarray


class FrameVectorEnv:
  """N copies of a RobotEnv, which reset automatically at the end of their episodes."""

  def __init__(
    self,
    env_options: Mapping[str, Any],
    num_envs: int,
    channels: Sequence[Channel] = (),
    size: int = 112,
    num_workers: int | None = None,
    drawing: str = "auto",
  ):
    """Starts the workers.

    Args:
      env_options: keyword arguments of RobotEnv, without `size`.
      num_envs: N, at least 1.
      channels: the pictures to take at each step; without channels nothing is drawn.
      size: height and width of the frames in pixels.
      num_workers: number of processes, at most one per environment; with 0 this process does the
        work itself while it waits for a step. None is one per core, and 0 in a process of a pool.
      drawing: "workers", each of which draws its own environments; "one_process", which draws for
        all (with 0 workers this one); "auto" is "one_process" on a GPU and "workers" elsewhere.
        On the same machine both draw the same but for rounding: a hundredth of a grey level in the
        mean.

    Raises:
      UserError: bad options, fewer than 1 environment, fewer than 0 workers, or another `drawing`.
      RuntimeError: a worker cannot start.
    """
    if num_envs < 1:
      raise UserError(f"expected at least 1 environment, got {num_envs}; raise num_envs.")
    if num_workers is None:
      # Processes of a pool may have none of their own.
      num_workers = 0 if multiprocessing.current_process().daemon else usable_cores()
    if num_workers < 0:
      raise UserError(f"expected at least 0 workers, got {num_workers}; raise num_workers.")
    workers = min(num_envs, num_workers)
    one_drawer = bool(channels) and _in_one_process(drawing)
    probe = RobotEnv(**env_options, size=size)
    self.observation_space, self.action_space = probe.observation_space, probe.action_space
    self.horizon = probe.horizon
    drawn_state = state_size(probe.model) if one_drawer else 0
    probe.close()
    self.num_envs = num_envs
    shared = layout(
      num_envs, self.horizon, self.action_space.shape, self.observation_space.shape,
      (len(channels), size, size, 3), drawn_state,
    )  # fmt: skip
    self._memory = SharedArrays(shared)
    self._message: tuple | None = None  # the message that the workers have not answered yet
    self._before: Episodes | None = None  # the episodes when it was sent
    bounds = np.linspace(0, num_envs, workers + 1).astype(int)
    ranges = [range(start, stop) for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]
    options = (dict(env_options), tuple(channels), size)
    self._pool = self._drawer = None
    # With a drawer a thread passes the answers of the workers on, while the learner computes.
    self._thread = ThreadPoolExecutor(1) if one_drawer and workers else None
    self._passed_on: Future | None = None

    def make(kind: type[Stepper | Drawer], ranges: Sequence[range]) -> WorkerPool | NoWorkers:
      if workers:
        return WorkerPool(kind, ranges, (self._memory.name, shared, *options), _START_SECONDS)
      return NoWorkers(kind, self._memory.arrays, range(num_envs), *options)

    try:
      self._pool = make(Stepper, ranges)
      if one_drawer:
        self._drawer = make(Drawer, [range(num_envs)])
        self._drawer.start()
      self._pool.start()
    except BaseException:
      self.close()
      raise

  def reset(self, seed: int | Sequence[int]) -> tuple[np.ndarray, Seen]:
    """Starts N new episodes.

    Args:
      seed: seed + i seeds environment i. Several seeds, which must divide N, have as many
        environments each, in order, and each seeds its own likewise.

    Returns:
      float32 [N, O] observations, and what a reward sees.
    """
    firsts = np.atleast_1d(seed).tolist()
    if min(firsts) < 0:
      raise UserError(f"expected a seed of at least 0, got {min(firsts)}; raise it.")
    each = self.num_envs // len(firsts)
    self._send(("reset", [first + i for first in firsts for i in range(each)]), _STEP_SECONDS)
    self._gather()
    return self._present()

  def episodes(self) -> Episodes:
    """Returns the present episodes for `restore`; not between step_async and step_wait."""
    self._require_ready()
    arrays = self._memory.arrays
    done = np.arange(self.horizon) < arrays["steps"][:, None]
    actions = np.where(done[..., None], arrays["actions"], np.float32(0))
    return Episodes(arrays["generator"].copy(), actions, arrays["steps"].copy())

  def restore(self, episodes: Episodes) -> tuple[np.ndarray, Seen]:
    """Brings environments with the same options to the state in which `episodes` was taken.

    Returns:
      The observations and sights of that state, as `reset` does.
    """
    for name, values in episodes._asdict().items():
      shape = self._memory.arrays[name].shape
      if values.shape != shape:
        raise UserError(
          f"expected {name} of shape {shape} to restore environments, got {values.shape}; restore "
          "them with the number of environments and the horizon that they had."
        )
      self._memory.arrays[name][:] = values
    self._send(("restore", None), _START_SECONDS)
    self._gather()
    return self._present()

  def step_async(self, actions: np.ndarray, draw: bool = True) -> Episodes:
    """Sends float32 [N, A] actions to the workers and returns at once.

    With `draw=False` the workers draw nothing and the step's frames are undefined.

    Returns:
      The episodes before the step, as `episodes` returns them.
    """
    self._require_ready()
    actions = np.asarray(actions, np.float32)
    expected = (self.num_envs, *self.action_space.shape)
    if actions.shape != expected:
      raise UserError(
        f"expected actions of shape {expected}, got {actions.shape}; give one for each environment."
      )
    if not np.isfinite(actions).all():
      raise UserError(
        "expected finite actions, got NaN or infinity; check the policy, which has diverged."
      )
    self._memory.arrays["action"][:] = actions
    self._send(("step" if draw else "step_blind", None), _STEP_SECONDS)
    return self._before

  def step_wait(self) -> Step:
    """Waits for the workers and returns the result of the last `step_async`."""
    if not self._message:
      raise RuntimeError("expected step_async before step_wait")
    self._gather()
    arrays = self._memory.arrays
    copies = {name: arrays[name].copy() for name in Step._fields if name != "reset_frames"}
    begun, frames = copies["truncated"], copies["frames"]
    if begun.any():
      # The workers write only those that the reset changed.
      frames = frames.copy() if not begun.all() else np.empty_like(frames)
      frames[begun] = arrays["reset_frames"][begun]
    return Step(**copies, reset_frames=frames)

  def step(self, actions: np.ndarray, draw: bool = True) -> Step:
    """Calls `step_async` and `step_wait`."""
    self.step_async(actions, draw)
    return self.step_wait()

  def finish_step(self) -> None:
    """Waits for a step whose result is not needed, if one is running."""
    if self._memory is not None and self._message:
      self._gather()

  def close(self) -> None:
    """Ends the workers and frees the shared memory; further calls do nothing."""
    if self._thread is not None:
      self._thread.shutdown()
      self._thread = None
    for pool in (self._pool, self._drawer):
      if pool is not None:
        pool.close()
    self._pool = self._drawer = None
    if self._memory is not None:
      self._memory.close(unlink=True)
      self._memory = None

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self.close()

  def _present(self) -> tuple[np.ndarray, Seen]:
    arrays = self._memory.arrays
    seen = Seen(*(arrays[f"reset_{name}"].copy() for name in Seen._fields))
    return arrays["reset_observation"].copy(), seen

  def _require_ready(self) -> None:
    if self._memory is None:
      raise RuntimeError("these environments are closed")
    if self._message:
      raise RuntimeError("the last step was not waited for")

  def _send(self, message: tuple, seconds: float) -> None:
    self._before = self.episodes()
    self._message, self._seconds = message, seconds
    self._pool.send(message)
    if self._thread is not None:
      self._passed_on = self._thread.submit(self._finish, message)

  def _gather(self) -> None:
    message, self._message = self._message, None
    if self._thread is not None:
      self._passed_on.result()
    else:
      self._finish(message)

  def _finish(self, message: tuple) -> None:
    """Waits until the workers have answered, and then the drawer."""
    self._pool.gather(self._seconds, lambda rows: self._again(message, rows))
    if self._drawer is not None and message[0] != "step_blind":
      self._drawer.send(message)
      self._drawer.gather(self._seconds, lambda rows: [message])

  def _again(self, message: tuple, rows: range) -> list[tuple]:
    """Returns the messages that bring a new worker to the answer of `message`."""
    if message[0] == "reset":
      return [message]
    for name, values in self._before._asdict().items():
      self._memory.arrays[name][rows.start : rows.stop] = values[rows.start : rows.stop]
    restored = ("restore", None)
    return [restored] if message == restored else [restored, message]


def _in_one_process(drawing: str) -> bool:
  """Whether one process draws for all environments.

  Cores draw side by side, but a GPU takes turns between the contexts of processes: nine processes
  draw no more than one, which has only one scene in its memory and can keep the GPU busy
  (docs/results/gpu.md).
  """
  require_among("drawing", drawing, DRAWING)
  return drawing == "one_process" or (drawing == "auto" and gl.draws_on_gpu())
