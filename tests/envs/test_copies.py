"""Copies of an environment, in memory and through a file, go on as it does."""

from __future__ import annotations

import copy
import pickle

import gymnasium
import numpy as np
import pytest

from vipjax.envs import RobotEnv

WAYS = {
  "copy": copy.copy,
  "deepcopy": copy.deepcopy,
  "pickle": lambda env: pickle.loads(pickle.dumps(env)),
}


@pytest.fixture(params=["deepcopy", "pickle"])
def copied(request):
  return WAYS[request.param]


def same_steps(env, other, steps):
  """Whether both give the same to the bit, over the steps and the reset after them."""
  for _ in range(steps):
    action = env.action_space.sample()
    (a, *ends, info), (b, *other_ends, other_info) = env.step(action), other.step(action)
    np.testing.assert_array_equal(a, b)
    assert (ends, info) == (other_ends, other_info)
  (a, info), (b, other_info) = env.reset(), other.reset()
  np.testing.assert_array_equal(a, b)
  assert info == other_info


# Of door-lock and soccer, what is remembered of the first state changes with the present one.
@pytest.mark.parametrize(
  ("task", "control"),
  [("window-open", "torque"), ("window-open", "end_effector"), ("door-lock", "torque"),
   ("soccer", "torque")],
)  # fmt: skip
def test_a_copy_in_the_middle_of_an_episode(copied, task, control):
  with RobotEnv(task, control=control, horizon=40, size=24) as env:
    env.reset(seed=3)
    for _ in range(25):
      env.step(env.action_space.sample())
    picture = env.render()
    other = copied(env)
    assert env.data.time == other.data.time > 0
    np.testing.assert_array_equal(other.render(), picture)
    same_steps(env, other, 20)
    same_steps(env, other, 3)
    other.close()


@pytest.mark.parametrize("way", WAYS)
def test_what_happens_to_a_copy_stays_there(way):
  with RobotEnv(size=24) as env, RobotEnv(size=24) as apart:
    for each in (env, apart):
      each.action_space.seed(0)
      each.reset(seed=5)
    other = WAYS[way](env)
    for _ in range(5):
      other.step(other.action_space.sample())
    other.reset(seed=9)
    same_steps(env, apart, 5)


def test_one_that_was_never_reset(copied):
  with RobotEnv(horizon=7, size=24) as env:
    other = copied(env)
    assert other.horizon == 7
    np.testing.assert_array_equal(env.reset(seed=1)[0], other.reset(seed=1)[0])


def test_one_from_gymnasium_with_its_wrappers(copied):
  env = gymnasium.make("vipjax/window-open-torque-sawyer-v0", size=24, horizon=5)
  env.reset(seed=0)
  env.step(env.action_space.sample())
  other = copied(env)
  assert str(other) == str(env) and other.spec == env.spec
  same_steps(env, other, 4)
  env.close()
  other.close()
