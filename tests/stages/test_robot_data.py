"""Robot data: the corpus's own episodes, with what the robot did in them."""

import json

import numpy as np
import pytest

from configs import robot_data as config_lib
from vipjax.envs import RobotEnv, robot_state
from vipjax.runtime.errors import UserError
from vipjax.stages import corpus, robot_data
from vipjax.stages.corpus import record_corpus
from vipjax.stages.robot_data import record_robot_data, robot_tasks
from vipjax.videos import read_videos
from vipjax.videos.trajectories import read_trajectories


def config_of(**overrides):
  config = config_lib.get_config()
  config.corpus.update({
    "only": ("drawer-open",), "expert_episodes": 1, "recovering_episodes": 1, "noisy_episodes": 0,
    "random_episodes": 1, "size": 16, "frame_stride": 4, "max_frames": 6, "noise": (0.1,),
    "astray": (20, 21), "approach": (10, 11), "close_azimuths": (),
  })  # fmt: skip
  config.robot_data.update({"tasks": ("drawer-open",), "formats": ("tfds",), **overrides})
  return config


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
  for module in (corpus, robot_data):
    monkeypatch.setattr(module, "share_out", lambda work, jobs, **_: map(work, jobs))


def test_the_corpus_s_episodes_come_back_with_their_actions(tmp_path):
  result = record_robot_data(config_of(), tmp_path)
  found = list(read_trajectories(tmp_path / "robot" / "drawer-open" / "tfds"))
  assert result == {
    "tasks": ["drawer-open"], "trajectories": 3, "successes": 2, "steps": sum(map(len, found)),
  }  # fmt: skip
  expert, recovering, wandering = found
  assert expert.success and recovering.success and len(wandering) == 24
  assert expert.rewards.sum() == 3 and expert.rewards[-3:].all() and expert.discounts[-1] == 0
  assert not wandering.rewards.any() and wandering.discounts.all()
  assert expert.actions.shape[1] == 8 and expert.observations.shape[1] == 30
  # As long as the corpus's films, which show every fourth control step and the last.
  record_corpus(config_of(), tmp_path)
  films = [v for v in read_videos(tmp_path / "videos" / "drawer-open") if v.robot_visible]
  assert [len(v.frames) for v in films[:2]] == [
    len(range(0, len(each), 4)) + 1 for each in (expert, recovering)
  ]
  # The actions lead to the states.
  with RobotEnv("drawer-open", joint_noise=0.05, size=16) as env:
    rng = np.random.default_rng([0, corpus.task_names().index("drawer-open"), 0])
    env.reset(seed=int(rng.integers(2**31)))
    np.testing.assert_allclose(robot_state(env), expert.observations[0], atol=1e-6)
    for action in expert.actions:
      env.step(action)
    np.testing.assert_allclose(robot_state(env), expert.observations[-1], atol=1e-4)
    np.testing.assert_allclose(robot_state(env)[:3], env.task.get_endeff_pos(), rtol=1e-5)
  # What is there is not recorded again.
  facts = tmp_path / "robot" / "drawer-open" / "facts.json"
  facts.write_text(json.dumps({**json.loads(facts.read_text()), "steps": 7}))
  assert record_robot_data(config_of(), tmp_path, again=True)["steps"] == 7


def test_tasks_that_the_torque_expert_solves_and_that_are_not_held_out():
  config = config_lib.get_config()
  tasks = robot_tasks(config)
  assert len(tasks) == 25 and not set(tasks) & set(config.corpus.held_out)


def test_bad_settings_are_one_sentence(tmp_path):
  for options, words in (
    ({"formats": ("mp4",)}, "config.robot_data.formats among tfds, lerobot"),
    ({"tasks": ("window-ajar",)}, "names of Meta-World tasks in config.robot_data.tasks"),
  ):
    with pytest.raises(UserError, match=words):
      record_robot_data(config_of(**options), tmp_path)
  config = config_of()
  config.corpus.controls = ("torque", "end_effector")
  with pytest.raises(UserError, match="one control in config.corpus.controls"):
    record_robot_data(config, tmp_path)
