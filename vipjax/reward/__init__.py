"""Rewards from pictures, and wrappers that give them to other people's environments.

`EmbeddingReward` is the reward itself, over arrays of frames. `EmbeddingRewardWrapper` and
`EmbeddingRewardVectorWrapper` put it on any Gymnasium environment that renders; the module
`vipjax.reward.stable_baselines` does so for the vector environments of stable-baselines3 and sbx.
"""

from vipjax.reward.embedding import EmbeddingReward, RewardSettings
from vipjax.reward.wrappers import (
  EmbeddingRewardVectorWrapper,
  EmbeddingRewardWrapper,
  FrameInInfo,
)

__all__ = [
  "EmbeddingReward",
  "EmbeddingRewardVectorWrapper",
  "EmbeddingRewardWrapper",
  "FrameInInfo",
  "RewardSettings",
]
