"""Rewards from pictures, and wrappers that add them to any environment.

`EmbeddingReward` computes the reward of arrays of frames. `EmbeddingRewardWrapper` and
`EmbeddingRewardVectorWrapper` add it to any Gymnasium environment that renders; the module
`vipjax.reward.stable_baselines` adds it to vector environments of stable-baselines3 and sbx.
"""

from vipjax.reward.embedding import EmbeddingReward
from vipjax.reward.settings import RewardSettings
from vipjax.reward.wrappers import EmbeddingRewardVectorWrapper, EmbeddingRewardWrapper, FrameInInfo

__all__ = [
  "EmbeddingReward",
  "EmbeddingRewardVectorWrapper",
  "EmbeddingRewardWrapper",
  "FrameInInfo",
  "RewardSettings",
]
