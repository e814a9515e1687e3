"""Goals that the config names instead of the videos' last frames."""

import jax
import pytest
from absl import logging

from configs import paper
from tests.videos.clips import moving_picture
from vipjax.encoder import Preprocessing, ResNetConfig, init_value
from vipjax.runtime.errors import UserError
from vipjax.sac.goals import make_reward
from vipjax.types import Video
from vipjax.videos import write_image


@pytest.fixture(scope="module")
def value():
  config = ResNetConfig("resnet18", width=8, embedding_dim=8)
  return init_value(jax.random.key(0), config, Preprocessing(16, 16))


@pytest.fixture
def videos():
  return [Video(moving_picture(6, 16, 16), view="front", robot_visible=True)]


def config_of(**overrides):
  config = paper.get_config()
  config.update_from_flattened_dict(overrides)
  return config


def test_images_are_goals(value, videos, tmp_path):
  write_image(tmp_path / "a.png", videos[0].frames[2])
  write_image(tmp_path / "b.png", videos[0].frames[4].repeat(2, 0).repeat(2, 1))
  config = config_of(**{
    "reward.goal": f"{tmp_path / 'a.png'},{tmp_path / 'b.png'}", "reward.goals": "nearest",
  })  # fmt: skip
  reward, channels, size = make_reward(config, value, videos)
  assert size == 16 and [channel.robot_visible for channel in channels] == [True]
  _, distances = reward.potential(videos[0].frames[:, None])
  assert distances[2, 0] < 1e-4 and distances[0, 0] > 1e-3


def test_an_image_that_does_not_fit_is_warned_of(value, videos, tmp_path, monkeypatch):
  write_image(tmp_path / "a.png", videos[0].frames[2, ::-1, ::-1])
  warnings = []
  monkeypatch.setattr(logging, "warning", warnings.append)
  make_reward(config_of(**{"reward.goal": str(tmp_path / "a.png")}), value, videos)
  assert len(warnings) == 1 and "resembles no frame" in warnings[0]


@pytest.mark.parametrize(
  "overrides", [{"policy.views": ("front", "side")}, {"reward.robot_free_weight": 2.0}]
)
def test_an_image_shows_one_view_with_the_robot(value, videos, overrides):
  config = config_of(**{"reward.goal": "a.png", **overrides})
  with pytest.raises(UserError, match="which shows one view with the robot"):
    make_reward(config, value, videos)
