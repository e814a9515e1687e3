"""The processes of `FrameVectorEnv`: each steps and draws its environments in shared memory."""

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

_GENERATOR_WORDS = 6


def layout(num_envs, horizon, action, observation, frames) -> dict[str, tuple[tuple, str]]:
  """Returns shapes and dtypes of the arrays that the learner and its workers share."""
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


def work(pipe, rows, name, layout, env_options, channels, size) -> None:
  """Answers messages until it is closed; has one environment per row and one renderer."""
  # Ctrl-C and schedulers signal the whole group; the learner reacts and ends this process.
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
  memory, envs = None, []
  try:
    memory = SharedArrays(layout, name)
    envs = make_envs(len(rows), env_options, size)
    pipe.send(None)
    while True:
      command, seeds = pipe.recv()
      if command == "close":
        return
      for row, env in zip(rows, envs, strict=True):
        advance(memory.arrays, row, env, channels, seeds, command)
      pipe.send(None)
  except EOFError:
    pass  # the learner has ended
  except UserError as error:
    pipe.send(("user", str(error)))
  except BaseException:
    pipe.send(("failure", traceback.format_exc()))
  finally:
    for env in envs:
      env.close()
    if memory is not None:
      memory.close(unlink=False)


def make_envs(count: int, env_options, size: int) -> list[RobotEnv]:
  """Returns environments of one scene, which share a renderer."""
  envs = [RobotEnv(**env_options, size=size) for _ in range(count)]
  for env in envs[1:]:
    env.share_renderer(envs[0])
  return envs


def advance(arrays, row: int, env: RobotEnv, channels, seeds, command: str) -> None:
  """Does what a message asks for with the environment of a row; a reset has a seed for each row."""
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
  _draw(env, channels, arrays["frames"][row])
  if truncated:
    _begin(arrays, row, env, channels)
  else:
    for name in ("observation", "frames", "distances", "task_reward"):
      arrays[f"reset_{name}"][row] = arrays[name][row]


def _begin(arrays, row: int, env: RobotEnv, channels) -> None:
  """Starts an episode and stores the state of the generator before it."""
  arrays["generator"][row] = _generator_words(env.np_random)
  arrays["steps"][row] = 0
  arrays["reset_observation"][row], info = env.reset()
  _measure(arrays, "reset_", row, env, info)
  _draw(env, channels, arrays["reset_frames"][row])


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
  _draw(env, channels, arrays["reset_frames"][row])


def _measure(arrays, prefix: str, row: int, env: RobotEnv, info) -> None:
  arrays[f"{prefix}distances"][row] = env.hand_to_object(), info["object_to_target"]
  arrays[f"{prefix}task_reward"][row] = info["task_reward"]


def _draw(env: RobotEnv, channels, out) -> None:
  for index, channel in enumerate(channels):
    env.frame(channel.view, channel.robot_visible, out[index])


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
