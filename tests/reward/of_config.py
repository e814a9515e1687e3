"""The reward that a config asks for, as the policy stage makes it."""

from vipjax.reward import channels
from vipjax.stages.agent import reward_channels, reward_settings


def channel_goals(config, videos):
  """The goals of the channels."""
  return channels.channel_goals(reward_channels(config), videos)


def make_reward(config, value, videos):
  """The reward, its channels and the size of its pictures."""
  goals = channel_goals(config, videos)
  reward = channels.make_reward(goals, value, reward_settings(config))
  return reward, [each.channel for each in goals], goals[0].frames.shape[1]
