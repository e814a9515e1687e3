"""Many environments in processes: the same numbers and frames as one environment alone."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import signal
from multiprocessing import shared_memory

import numpy as np
import pytest

from vipjax.envs import Channel, FrameVectorEnv, RobotEnv
from vipjax.envs.pool import WorkerPool
from vipjax.runtime.errors import UserError
from vipjax.scene import View

HORIZON, NUM_ENVS, SIZE = 4, 3, 24
OPTIONS = {"horizon": HORIZON, "joint_noise": 0.05}
CHANNELS = [Channel(View()), Channel(View(camera="corner"), robot_visible=False)]
SEED = 5


@pytest.fixture(scope="module")
def env():
  # 3 environments over 2 workers: one of them has two, with one renderer.
  with FrameVectorEnv(OPTIONS, NUM_ENVS, CHANNELS, SIZE, num_workers=2) as env:
    yield env


@pytest.fixture(scope="module")
def single():
  with RobotEnv(**OPTIONS, size=SIZE) as env:
    yield env


def actions(steps):
  shape = (steps, NUM_ENVS, 8)
  return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def frames_of(env):
  return np.stack([env.frame(channel.view, channel.robot_visible) for channel in CHANNELS])


def alone(env, row, steps):
  """What environment `row` should give: first observation and frames, then a dict per step."""
  observation, _ = env.reset(seed=SEED + row)
  first, rows = (observation, frames_of(env), np.float32(env.distances())), []
  for action in actions(steps)[:, row]:
    observation, _, _, truncated, info = env.step(action)
    frames = frames_of(env)
    # float32 of what the environment itself says, in double.
    measured = np.float32(env.distances()), np.float32(info["task_reward"])
    given = {
      "observation": observation,
      "frames": frames,
      "distances": measured[0],
      "task_reward": measured[1],
      "truncated": truncated,
      "success": info["success"],
      "reset_observation": observation,
      "reset_frames": frames,
      "reset_distances": measured[0],
      "reset_task_reward": measured[1],
    }
    if truncated:
      given["reset_observation"], info = env.reset()
      given["reset_frames"] = frames_of(env)
      given["reset_distances"] = np.float32(env.distances())
      given["reset_task_reward"] = np.float32(info["task_reward"])
    rows.append(given)
  return first, rows


def test_it_equals_one_environment_alone_bit_for_bit(env, single):
  steps = 2 * HORIZON + 1
  observation, (frames, distances, _) = env.reset(SEED)
  taken = [env.step(action) for action in actions(steps)]
  for row in range(NUM_ENVS):
    first, expected = alone(single, row, steps)
    np.testing.assert_array_equal(observation[row], first[0])
    np.testing.assert_array_equal(frames[row], first[1])
    np.testing.assert_array_equal(distances[row], first[2])
    for step, fields in zip(taken, expected, strict=True):
      for name, value in fields.items():
        np.testing.assert_array_equal(getattr(step, name)[row], value, err_msg=name)
  ends = [step.truncated.tolist() for step in taken]
  assert ends == [[(t + 1) % HORIZON == 0] * NUM_ENVS for t in range(steps)]


def test_shapes_and_dtypes(env):
  observation, (frames, *measured) = env.reset(SEED)
  assert observation.shape == (NUM_ENVS, 51) and observation.dtype == np.float32
  assert frames.shape == (NUM_ENVS, 2, SIZE, SIZE, 3) and frames.dtype == np.uint8
  step = env.step(actions(1)[0])
  assert step.observation.shape == step.reset_observation.shape == observation.shape
  assert step.frames.shape == step.reset_frames.shape == frames.shape
  assert step.truncated.dtype == step.success.dtype == bool
  for given in (measured, step.seen[1:], step.reset_seen[1:]):
    assert [each.shape for each in given] == [(NUM_ENVS, 2), (NUM_ENVS,)]
    assert {each.dtype for each in given} == {np.dtype(np.float32)}
  assert (env.num_envs, env.horizon, env.action_space.shape) == (NUM_ENVS, HORIZON, (8,))


def test_each_of_several_seeds_has_its_share_of_the_environments(env):
  seeds = [SEED + 40, SEED, SEED + 7]
  together, _ = env.reset(seeds)
  alone = [env.reset(seed)[0][0] for seed in seeds]
  np.testing.assert_array_equal(together, alone)
  with pytest.raises(UserError, match="seed of at least 0, got -2"):
    env.reset([SEED, SEED, -2])


def test_the_frame_before_an_automatic_reset_is_the_one_rewarded(env):
  observation, _ = env.reset(SEED)
  for action in actions(HORIZON):
    step = env.step(action)
  assert step.truncated.all()
  # Had it been taken after the reset it would show, like that one, another window.
  assert (step.frames != step.reset_frames).any(axis=(2, 3, 4)).all()
  window = np.s_[:, 10:13]
  np.testing.assert_array_equal(step.observation[window], observation[window])
  assert (step.reset_observation[window] != observation[window]).any(axis=-1).all()
  following = env.step(np.zeros((NUM_ENVS, 8)))
  np.testing.assert_array_equal(following.observation[:, 24:48], step.reset_observation[:, :24])
  assert not following.truncated.any()


def test_steps_without_drawing_change_nothing_else(env):
  env.reset(SEED)
  drawn = [env.step(action) for action in actions(HORIZON + 2)]
  env.reset(SEED)
  blind = [env.step(action, draw=False) for action in actions(HORIZON + 2)[:-1]]
  for step, reference in zip(blind, drawn, strict=False):
    np.testing.assert_array_equal(step.observation, reference.observation)
    np.testing.assert_array_equal(step.reset_observation, reference.reset_observation)
    np.testing.assert_array_equal(step.truncated, reference.truncated)
  last = env.step(actions(HORIZON + 2)[-1])
  np.testing.assert_array_equal(last.frames, drawn[-1].frames)


def test_results_are_copies(env):
  observation, (frames, *_) = env.reset(SEED)
  kept = observation.copy(), frames.copy()
  step = env.step(actions(1)[0])
  np.testing.assert_array_equal(observation, kept[0])
  np.testing.assert_array_equal(frames, kept[1])
  before = step.frames.copy()
  env.step(actions(2)[1])
  np.testing.assert_array_equal(step.frames, before)


@pytest.mark.parametrize("shape", [(NUM_ENVS, 4), (NUM_ENVS - 1, 8), (8,)])
def test_actions_of_another_shape(env, shape):
  env.reset(SEED)
  with pytest.raises(UserError) as error:
    env.step(np.zeros(shape))
  assert str(error.value) == (
    f"expected actions of shape (3, 8), got {shape}; give one for each environment."
  )
  env.step(np.zeros((NUM_ENVS, 8)))  # it still works


def test_actions_that_are_not_finite(env):
  env.reset(SEED)
  bad = np.zeros((NUM_ENVS, 8))
  bad[1, 2] = np.nan
  with pytest.raises(UserError, match="expected finite actions, got NaN or infinity"):
    env.step(bad)
  env.step(np.zeros((NUM_ENVS, 8)))


def test_a_negative_seed(env):
  with pytest.raises(UserError, match="expected a seed of at least 0, got -1"):
    env.reset(-1)
  env.reset(0)


def test_asking_out_of_turn(env):
  env.reset(SEED)
  with pytest.raises(RuntimeError, match="expected step_async before step_wait"):
    env.step_wait()
  env.step_async(actions(1)[0])
  with pytest.raises(RuntimeError, match="the last step was not waited for"):
    env.step_async(actions(1)[0])
  assert env.step_wait().observation.shape == (NUM_ENVS, 51)


@pytest.mark.skipif(not pathlib.Path("/proc/self/environ").exists(), reason="needs /proc")
def test_workers_know_the_gl_library(env):
  for process in env._pool.processes:
    given = pathlib.Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    for name in ("MUJOCO_GL", "LP_NUM_THREADS"):
      assert f"{name}={os.environ[name]}".encode() in given


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"num_envs": 0}, "expected at least 1 environment, got 0"),
    ({"num_envs": 2, "num_workers": -1}, "expected at least 0 workers, got -1"),
    ({"num_envs": 2, "env_options": {"robot": "ur5"}}, "expected a robot among"),
    ({"num_envs": 2, "size": 0}, "expected frames of at least 1 pixel"),
  ],
)
def test_bad_options_start_no_worker(options, words):
  before = multiprocessing.active_children()
  with pytest.raises(UserError, match=words):
    FrameVectorEnv(**({"env_options": OPTIONS} | options))
  assert multiprocessing.active_children() == before


def _played(env, faults, steps=7):
  """Everything that seven steps give, over the end of episodes, with a fault before some."""
  env.reset(SEED)
  given = []
  for number, action in enumerate(actions(steps)):
    if number in faults:
      faults[number](env._pool.processes[1])
    given.append(env.step(action))
  return given


def _die(process):
  os.kill(process.pid, signal.SIGKILL)
  process.join()


def _hang(process):
  os.kill(process.pid, signal.SIGSTOP)


def test_a_lost_worker_is_replaced_and_nothing_changes(env, monkeypatch, caplog):
  expected = _played(env, {})
  monkeypatch.setattr("vipjax.envs.vector._STEP_SECONDS", 1.0)
  # Before the first step, right after the end of an episode, and in the middle of one.
  got = _played(env, {0: _die, 4: _hang, 6: _die})
  for one, other in zip(got, expected, strict=True):
    for field in one._fields:
      np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
  reasons = [record.getMessage() for record in caplog.records]
  assert len(reasons) == 3
  assert all("the worker of environments 1 to 2 " in reason for reason in reasons)
  assert "gave no answer for 1 s; a new one takes its place" in reasons[1]


def test_without_workers_nothing_changes(env):
  expected = _played(env, {})
  with FrameVectorEnv(OPTIONS, NUM_ENVS, CHANNELS, SIZE, num_workers=0) as here:
    got = _played(here, {})
    episodes = here.episodes()
    here.step(actions(1)[0])
    observation, seen = here.restore(episodes)
  last = got[-1]
  for one, other in zip(
    (observation, *seen), (last.reset_observation, *last.reset_seen), strict=True
  ):
    np.testing.assert_array_equal(one, other)
  for one, other in zip(got, expected, strict=True):
    for field in one._fields:
      np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_signals_to_the_whole_group_are_the_learners_to_answer(env):
  env.reset(SEED)
  before = [process.pid for process in env._pool.processes]
  for pid in before:
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
  for action in actions(2):
    env.step(action)
  assert [process.pid for process in env._pool.processes] == before


def test_a_worker_lost_again_and_again_is_named(capfd, monkeypatch):
  env = FrameVectorEnv(OPTIONS, 2, num_workers=2)
  env.reset(0)
  replace = WorkerPool._replace

  def in_vain(self, index):
    replace(self, index)
    _die(self.processes[index])

  monkeypatch.setattr(WorkerPool, "_replace", in_vain)
  _die(env._pool.processes[1])
  with pytest.raises(RuntimeError, match="environments 1 to 1 .*died.*; so were 2 in its place"):
    env.step(np.zeros((2, 8)))
  name = env._memory.name
  workers = list(env._pool.processes)
  env.close()
  env.close()
  assert not any(process.is_alive() for process in workers)
  with pytest.raises(FileNotFoundError):
    shared_memory.SharedMemory(name)
  with pytest.raises(RuntimeError, match="these environments are closed"):
    env.step(np.zeros((2, 8)))
  with pytest.raises(RuntimeError, match="these environments are closed"):
    env.reset(0)
  assert "Traceback" not in capfd.readouterr().err


def test_what_a_worker_refuses_is_the_users_error(capfd):
  with FrameVectorEnv(OPTIONS, 1, [Channel(View(camera="corner9"))], SIZE) as env:
    for _ in range(2):
      with pytest.raises(UserError, match="expected a camera of the scene .*got 'corner9'"):
        env.reset(0)
  assert "Traceback" not in capfd.readouterr().err


def test_closing_in_the_middle_of_a_step(capfd):
  env = FrameVectorEnv({}, 1, [Channel(View())], SIZE)
  env.reset(0)
  process = env._pool.processes[0]
  env.step_async(np.zeros((1, 8)))
  env.close()
  assert process.exitcode == 0
  assert capfd.readouterr().err == ""


def test_an_interrupted_start_leaves_nothing_behind(monkeypatch):
  names = []

  def interrupted(self):
    names.append(self._arguments[0])
    raise KeyboardInterrupt

  monkeypatch.setattr(WorkerPool, "start", interrupted)
  before = set(multiprocessing.active_children())
  with pytest.raises(KeyboardInterrupt):
    FrameVectorEnv(OPTIONS, 1)
  assert set(multiprocessing.active_children()) == before
  with pytest.raises(FileNotFoundError):
    shared_memory.SharedMemory(names[0])
