"""The scripted expert opens the window under both controls."""

from __future__ import annotations

import numpy as np
import pytest

from vipjax.envs import Expert, RobotEnv


@pytest.fixture(scope="module", params=["torque", "end_effector"])
def env(request):
  with RobotEnv(control=request.param) as env:
    yield env


def test_the_expert_opens_the_window(env):
  steps = []
  for seed in range(5):
    env.reset(seed=seed)
    expert = Expert(env)
    expert.reset()
    for step in range(1, env.horizon + 1):
      action = expert.action()
      assert action in env.action_space
      if env.step(action)[-1]["success"]:
        steps.append(step)
        break
  assert len(steps) == 5
  assert max(steps) < 120


def test_one_expert_serves_many_episodes(env):
  expert, lasts = Expert(env), []
  for seed in (0, 1, 0):
    env.reset(seed=seed)
    expert.reset()
    lasts.append([env.step(expert.action())[0] for _ in range(20)][-1])
  np.testing.assert_array_equal(lasts[0], lasts[2])
  assert (lasts[0] != lasts[1]).any()


def test_the_expert_keeps_the_hand_level_and_near_its_target():
  with RobotEnv(joint_noise=0.0, placement=0) as env:
    env.reset(seed=0)
    expert = Expert(env)
    expert.reset()
    hand = env.data.body("hand")
    for _ in range(50):  # before it touches the window
      env.step(expert.action())
      # The target runs ahead by what the damping costs.
      assert np.linalg.norm(expert._target - hand.xpos) < 0.1
      assert abs(hand.xquat @ np.array([1, 0, 1, 0]) / np.sqrt(2)) > 0.96
