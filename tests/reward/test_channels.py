"""Goals that the config names instead of the videos' last frames."""

import jax
import numpy as np
import pytest
from absl import logging

from configs import paper
from tests.reward.of_config import channel_goals, make_reward
from tests.videos.clips import moving_picture
from vipjax.reward import channels
from vipjax.reward.channels import picture_channels, record_goals
from vipjax.runtime import files
from vipjax.runtime.errors import UserError
from vipjax.stages.agent import reward_settings
from vipjax.stages.task import filled
from vipjax.types import Video
from vipjax.videos import read_image, write_image


@pytest.fixture
def videos():
  return [Video(moving_picture(6, 16, 16), view="front", robot_visible=True)]


def config_of(**overrides):
  config = filled(paper.get_config())
  config.update_from_flattened_dict(overrides)
  return config


def test_images_are_goals(value, videos, tmp_path):
  write_image(tmp_path / "a.png", videos[0].frames[2])
  write_image(tmp_path / "b.png", videos[0].frames[4].repeat(2, 0).repeat(2, 1))
  config = config_of(**{
    "reward.goal": f"{tmp_path / 'a.png'},{tmp_path / 'b.png'}", "reward.goal_reduction": "nearest",
  })  # fmt: skip
  reward, channels, size = make_reward(config, value, videos)
  assert size == 16 and [channel.robot_visible for channel in channels] == [True]
  _, distances = reward.potential(videos[0].frames[:, None])
  assert distances[2, 0] < 1e-4 and distances[0, 0] > 1e-3


def test_frames_of_the_videos_are_goals_of_every_channel(value):
  films = [
    Video(moving_picture(6, 16, 16)[start:], view="front", robot_visible=visible, source=f"{start}")
    for start in (0, 1)
    for visible in (True, False)
  ]
  config = config_of(**{"reward.goal": "frame=2", "reward.robot_free_weight": 2.0})
  plain, robot_free = channel_goals(config, films)
  assert [plain.weight, robot_free.weight] == [1.0, 2.0]
  assert robot_free.channel.robot_visible is False
  assert plain.goal.sources == ("0, frame 2", "1, frame 2")
  np.testing.assert_array_equal(plain.frames, moving_picture(6, 16, 16)[[2, 3]])
  (last, _) = channel_goals(config_of(**{"reward.robot_free_weight": 2.0}), films)
  assert last.goal.sources == ("0, last frame", "1, last frame")


def test_goals_are_written_for_the_report_and_warned_of(value, videos, tmp_path, monkeypatch):
  write_image(tmp_path / "a.png", videos[0].frames[2, ::-1, ::-1])
  write_image(tmp_path / "b.png", videos[0].frames[1, ::-1, ::-1])
  goal = f"{tmp_path / 'a.png'},{tmp_path / 'b.png'}"
  warnings = []
  monkeypatch.setattr(logging, "warning", warnings.append)
  goals = channel_goals(config_of(**{"reward.goal": goal}), videos)
  record_goals(tmp_path / "policy", value, goals, "nearest")
  assert len(warnings) == 1 and "resembles no frame" in warnings[0]
  written = files.read_json(tmp_path / "policy" / "goals.json")
  assert written["goals"] == "nearest" and len(written["frames"]) == 2
  second = written["frames"][1]
  assert second["source"] == str(tmp_path / "b.png") and second["warnings"] == warnings
  image = read_image(tmp_path / "policy" / second["file"])
  np.testing.assert_array_equal(image, videos[0].frames[1, ::-1, ::-1])


@pytest.mark.parametrize(
  "overrides", [{"policy.views": ("front", "side")}, {"reward.robot_free_weight": 2.0}]
)
def test_an_image_shows_one_view_with_the_robot(value, videos, overrides):
  config = config_of(**{"reward.goal": "a.png", **overrides})
  with pytest.raises(UserError, match="which show one view with the robot"):
    make_reward(config, value, videos)


def test_two_views_need_videos_that_say_theirs():
  film = moving_picture(6, 16, 16)
  films = [Video(film, view=view, robot_visible=True) for view in ("front", None)]
  (one,) = channel_goals(config_of(), films)
  assert len(one.videos) == 2
  with pytest.raises(UserError, match="expected videos that say which view they show"):
    channel_goals(config_of(**{"policy.views": ("front", "side")}), films)


def test_what_is_predicted_is_no_picture(value):
  films = [
    Video(moving_picture(6, 16, 16), view=view, robot_visible=visible)
    for view in ("front", "side")
    for visible in (True, False)
  ]
  config = config_of(**{
    "reward.robot_free": "predicted", "reward.robot_free_weight": 2.0,
    "policy.views": ("front", "side"),
  })  # fmt: skip
  goals, settings = channel_goals(config, films), reward_settings(config)
  shown = picture_channels(goals, settings)
  assert [(each.view, each.robot_visible) for each in shown] == [
    (goals[0].channel.view, True), (goals[2].channel.view, True),
  ]  # fmt: skip
  past = value.replace(variables=jax.tree.map(lambda x: 1.5 * x, value.variables))
  reward = channels.make_reward(goals, value, settings, robot_free=[past])
  frames = np.stack([films[0].frames, films[2].frames], axis=1)
  _, distances = reward.potential(frames)
  away = np.linalg.norm(past.embed(frames[:, 0]) - value.embed(frames[-1:, 0]), axis=-1)
  np.testing.assert_allclose(
    distances[:, 0], value.distance(frames[:, 0], frames[-1, 0]), atol=1e-3
  )
  np.testing.assert_allclose(distances[:, 1], away, rtol=1e-3)
  with pytest.raises(UserError, match="encoders as robot_free for .* got none; give them"):
    channels.make_reward(goals, value, settings)
