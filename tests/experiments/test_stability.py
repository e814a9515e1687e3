"""Wild torques: a short version of what `launch.stability` does for 10,000 steps."""

from __future__ import annotations

import pytest

from configs import stability as config_file
from vipjax.envs import RobotEnv
from vipjax.experiments import stability
from vipjax.runtime.errors import UserError


@pytest.mark.parametrize("motion", stability.MOTIONS)
@pytest.mark.parametrize("robot", ["sawyer", "panda", "jaco"])
def test_wild_torques_are_stable_and_bounded(robot, motion, arms_files):
  numbers = stability.drive(robot, motion, steps=150)
  assert numbers["diverged"] == numbers["warnings"] == 0
  assert numbers["outside"] < 0.12
  assert numbers["fastest"] > 0.5  # it did move


def test_what_went_wrong_is_counted(monkeypatch):
  step = RobotEnv.step

  def broken(env, action):
    *rest, info = step(env, action)
    env.data.body("hand").xpos[2] = 9.0
    return *rest, {**info, "diverged": True}

  monkeypatch.setattr(RobotEnv, "step", broken)
  numbers = stability.drive("sawyer", "all +1", steps=3)
  assert numbers["diverged"] == 3 and numbers["outside"] > 5.0


def config_of(steps):
  config = config_file.get_config()
  config.stability.update({"robots": ("sawyer",), "steps": steps})
  return config


def test_measured_once(tmp_path, monkeypatch):
  results = stability.measure(config_of(2), tmp_path)
  assert list(results["sawyer"]) == list(stability.MOTIONS)
  monkeypatch.setattr(stability, "drive", None)
  assert stability.measure(config_of(2), tmp_path) == results


def test_no_steps(tmp_path):
  with pytest.raises(UserError, match="expected config.stability.steps of at least 1 .*got 0"):
    stability.measure(config_of(0), tmp_path)


def test_the_table():
  numbers = {"diverged": 0, "warnings": 2, "outside": 0.0346, "fastest": 7.28}
  assert stability.table({"jaco": {"all +1": numbers}}).splitlines() == [
    "| arm | torques | diverged | warnings | past a wall, m | fastest joint, rad/s |",
    "| --- | --- | --- | --- | --- | --- |",
    "| jaco | all +1 | 0 | 2 | 0.035 | 7.3 |",
  ]
