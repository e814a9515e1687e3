"""Gymnasium's checker, the registered ids, and options that there are not."""

from __future__ import annotations

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import vipjax
from vipjax.envs import RobotEnv
from vipjax.runtime.errors import UserError

ACTIONS = {"torque": 8, "end_effector": 4}

# Any warning of the checker fails the test.


@pytest.mark.parametrize(("control", "actions"), ACTIONS.items())
def test_the_checker_passes_through_make(control, actions):
  env = gymnasium.make(f"vipjax/window-open-{control}-sawyer-v0", size=16)
  assert env.action_space.shape == (actions,)
  assert env.unwrapped.control == control
  check_env(env.unwrapped)
  env.close()


@pytest.mark.parametrize("task", ["window-open", "drawer-close"])
def test_the_checker_passes_for_make_env(task):
  env = vipjax.make_env(task, size=16)
  check_env(env)
  env.close()


def test_an_episode_through_make():
  env = gymnasium.make("vipjax/window-open-torque-sawyer-v0", size=16, horizon=3)
  env.reset(seed=0)
  assert env.render().shape == (16, 16, 3)
  ends = [env.step(env.action_space.sample())[2:4] for _ in range(3)]
  assert ends == [(False, False), (False, False), (False, True)]
  env.close()


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"task": "open-window"}, "expected a Meta-World task .* got 'open-window'.*window-open"),
    ({"robot": "ur5"}, "expected a robot among .*sawyer.*'ur5'"),
    ({"control": "velocity"}, "expected control among torque, end_effector, got 'velocity'"),
    ({"render_mode": "human"}, "expected render_mode None or 'rgb_array', got 'human'"),
    ({"horizon": 0}, "expected a horizon of at least 1 step, got 0"),
    ({"frame_skip": 0}, "expected a frame_skip of at least 1 physics step, got 0"),
    ({"placement": -1}, "expected placement None or a seed of at least 0, got -1"),
    ({"size": 0}, "expected frames of at least 1 pixel, got size 0"),
    ({"quality": "best"}, "expected rendering quality 'fast' or 'full', got 'best'"),
  ],
)
def test_unknown_options(options, words):
  with pytest.raises(UserError, match=f"^{words}[^\n]*$"):
    RobotEnv(**options)
