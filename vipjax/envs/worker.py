"""The processes of `FrameVectorEnv`: they step and draw its environments in shared memory.

Either each process draws its own environments, or they leave to one drawer what a picture depends
on.
"""

from __future__ import annotations

import math
import signal
import traceback
from multiprocessing import shared_memory

import numpy as np
from gymnasium.utils import seeding

from vipjax.envs.robot_env import RobotEnv
from vipjax.runtime import shared
from vipjax.runtime.errors import UserError
from vipjax.scene.tiles import TileRenderer, state_vector

_GENERATOR_WORDS = 6


def layout(
  num_envs, horizon, action, observation, frames, drawn_state: int = 0
) -> dict[str, tuple[tuple, str]]:
  """Returns shapes and dtypes of the arrays that the learner and its workers share.

  Args:
    num_envs, horizon: their numbers.
    action, observation, frames: shapes of those of one environment.
    drawn_state: length of the state that a drawer draws; 0 where workers draw themselves.
  """
  states = ((num_envs, drawn_state), "float64")
  drawn = {"drawn_state": states, "reset_drawn_state": states} if drawn_state else {}
  return {
    "action": ((num_envs, *action), "float32"),
    "observation": ((num_envs, *observation), "float32"),
    "frames": ((num_envs, *frames), "uint8"),
    "distances": ((num_envs, 2), "float32"),
    "task_reward": ((num_envs,), "float32"),
    "truncated": ((num_envs,), "bool"),
    "success": ((num_envs,), "bool"),
    "reset_observation": ((num_envs, *observation), "float32"),
    "reset_frames": ((num_envs, *frames), "uint8"),
    "reset_distances": ((num_envs, 2), "float32"),
    "reset_task_reward": ((num_envs,), "float32"),
    "generator": ((num_envs, _GENERATOR_WORDS), "uint64"),
    "actions": ((num_envs, horizon, *action), "float32"),
    "steps": ((num_envs,), "int32"),
    **drawn,
  }


def shared_bytes(layout) -> int:
  """Returns the size of `SharedArrays` of a layout in bytes."""
  return int(_starts(layout)[-1])


def _starts(layout) -> np.ndarray:
  """Returns the offset of each array and the end of the last one, in bytes."""
  sizes = [math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in layout.values()]
  return np.cumsum([0] + [-(-size // 64) * 64 for size in sizes])


class SharedArrays:
  """Named arrays in one block of shared memory."""

  def __init__(self, layout, name: str | None = None):
    starts = _starts(layout)
    self._block = shared_memory.SharedMemory(name) if name else shared.make_block(int(starts[-1]))
    self.name = self._block.name
    self.arrays = {
      key: np.ndarray(shape, dtype, buffer=self._block.buf, offset=int(start))
      for (key, (shape, dtype)), start in zip(layout.items(), starts[:-1], strict=True)
    }

  def close(self, unlink: bool) -> None:
    self.arrays = {}
    self._block.close()
    if unlink:
      self._block.unlink()


class Stepper:
  """Steps the environments of some rows and draws them, or leaves that to a `Drawer`."""

  def __init__(self, arrays, rows: range, env_options, channels, size: int):
    self._arrays, self._rows, self._channels = arrays, rows, channels
    self._envs = make_envs(len(rows), env_options, size)

  def answer(self, command: str, seeds) -> None:
    """Carries out a message for every row."""
    for row, env in zip(self._rows, self._envs, strict=True):
      advance(self._arrays, row, env, self._channels, seeds, command)

  def close(self) -> None:
    self._arrays = {}  # the shared memory can go
    for env in self._envs:
      env.close()


class Drawer:
  """Draws the states that a `Stepper` has left in some rows; it comes after the same message."""

  def __init__(self, arrays, rows: range, env_options, channels, size: int):
    self._arrays, self._rows = arrays, rows
    self._pictures = [(channel.view, channel.robot_visible) for channel in channels]
    with RobotEnv(**env_options, size=size) as env:
      quality = env_options.get("quality", "fast")
      count = len(rows) * len(channels)
      self._renderer = TileRenderer(env.task.spec_of_scene, env.robot, size, quality, count)

  def answer(self, command: str, seeds) -> None:
    """Draws the rows after a message; after a step also those that then began an episode."""
    wanted = [("reset_", row) for row in self._rows]
    if command == "step":
      wanted = [each for each in wanted if self._arrays["truncated"][each[1]]]
      wanted = [("", row) for row in self._rows] + wanted
    states = (self._arrays[f"{prefix}drawn_state"][row] for prefix, row in wanted)
    outs = (self._arrays[f"{prefix}frames"][row] for prefix, row in wanted)
    self._renderer.render(states, self._pictures, outs)

  def close(self) -> None:
    self._arrays = {}
    self._renderer.close()


def work(kind, pipe, rows, name, layout, *arguments) -> None:
  """Makes a `Stepper` or a `Drawer` of the rows, which answers messages until it is closed."""
  # Ctrl-C and schedulers signal the whole group; the learner reacts and ends this process.
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
  memory = worker = None
  try:
    memory = SharedArrays(layout, name)
    worker = kind(memory.arrays, rows, *arguments)
    pipe.send(None)
    while True:
      command, seeds = pipe.recv()
      if command == "close":
        return
      worker.answer(command, seeds)
      pipe.send(None)
  except EOFError:
    pass  # the learner has ended
  except UserError as error:
    pipe.send(("user", str(error)))
  except BaseException:
    pipe.send(("failure", traceback.format_exc()))
  finally:
    if worker is not None:
      worker.close()
    if memory is not None:
      memory.close(unlink=False)


def make_envs(count: int, env_options, size: int) -> list[RobotEnv]:
  """Returns environments of one scene, which share a renderer."""
  envs = [RobotEnv(**env_options, size=size) for _ in range(count)]
  for env in envs[1:]:
    env.share_renderer(envs[0])
  return envs


def advance(arrays, row: int, env: RobotEnv, channels, seeds, command: str) -> None:
  """Carries out a message for the environment of a row; a reset has a seed for each row."""
  if command == "reset":
    env.np_random, _ = seeding.np_random(seeds[row])
    _begin(arrays, row, env, channels)
    return
  if command == "restore":
    _replay(arrays, row, env, channels)
    return
  observation, _, _, truncated, info = env.step(arrays["action"][row])
  arrays["observation"][row] = observation
  _measure(arrays, "", row, env, info)
  arrays["truncated"][row] = truncated
  arrays["success"][row] = info["success"]
  arrays["actions"][row, arrays["steps"][row]] = arrays["action"][row]
  arrays["steps"][row] += 1
  channels = channels if command == "step" else ()
  _show(arrays, "", row, env, channels)
  if truncated:
    _begin(arrays, row, env, channels)
  else:  # The frames are the step's, too: the learner sees that without a copy.
    for name in ("observation", "distances", "task_reward"):
      arrays[f"reset_{name}"][row] = arrays[name][row]


def _begin(arrays, row: int, env: RobotEnv, channels) -> None:
  """Starts an episode and stores the state of the generator before it."""
  arrays["generator"][row] = _generator_words(env.np_random)
  arrays["steps"][row] = 0
  arrays["reset_observation"][row], info = env.reset()
  _measure(arrays, "reset_", row, env, info)
  _show(arrays, "reset_", row, env, channels)


def _replay(arrays, row: int, env: RobotEnv, channels) -> None:
  """Restores an episode by playing it again; physics is deterministic."""
  env.np_random = _generator(arrays["generator"][row])
  observation, info = env.reset()
  for action in arrays["actions"][row, : arrays["steps"][row]]:
    observation, _, _, truncated, info = env.step(action)
    if truncated:
      raise RuntimeError("a restored episode ended before the place where it was left")
  arrays["reset_observation"][row] = observation
  _measure(arrays, "reset_", row, env, info)
  _show(arrays, "reset_", row, env, channels)


def _measure(arrays, prefix: str, row: int, env: RobotEnv, info) -> None:
  arrays[f"{prefix}distances"][row] = env.hand_to_object(), info["object_to_target"]
  arrays[f"{prefix}task_reward"][row] = info["task_reward"]


def _show(arrays, prefix: str, row: int, env: RobotEnv, channels) -> None:
  """Draws the channels, or leaves the state to the drawer."""
  if "drawn_state" in arrays:
    state_vector(env.model, env.data, arrays[f"{prefix}drawn_state"][row])
    return
  for index, channel in enumerate(channels):
    env.frame(channel.view, channel.robot_visible, arrays[f"{prefix}frames"][row, index])


def _generator_words(generator: np.random.Generator) -> np.ndarray:
  """Returns the whole state of a PCG64 generator, uint64 [6]."""
  state = generator.bit_generator.state
  low = (1 << 64) - 1
  numbers = [state["state"]["state"], state["state"]["inc"]]
  words = [part for number in numbers for part in (number >> 64, number & low)]
  return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def _generator(words: np.ndarray) -> np.random.Generator:
  """Returns the generator that `_generator_words` was given."""
  *halves, has_uint32, uinteger = (int(word) for word in words)
  bits = np.random.PCG64()
  bits.state = {
    "bit_generator": "PCG64",
    "state": {"state": halves[0] << 64 | halves[1], "inc": halves[2] << 64 | halves[3]},
    "has_uint32": has_uint32,
    "uinteger": uinteger,
  }
  return np.random.Generator(bits)
