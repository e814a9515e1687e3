"""The settings of the reward model; `launch.convert_weights --goal` writes them as config.json."""

from __future__ import annotations

import dataclasses

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.configs.rewards import RewardModelConfig

FORMS = ("value", "difference", "progress")


@RewardModelConfig.register_subclass("vipjax")
@dataclasses.dataclass
class VipjaxConfig(RewardModelConfig):
  """The encoder's architecture, what it looks at, and the form of the reward.

  Attributes:
    arch: "resnet18", "resnet34" or "resnet50".
    width: channels of its first stage.
    embedding_dim: size D of the embedding.
    stem: "imagenet" or "small".
    resize: pixels that the shorter side of a picture becomes.
    crop: side of the central square that is then cut.
    num_goals: G, how many embeddings of goals there are; the nearest counts.
    image_key: the camera, a key of the batch.
    form: "value", minus the distance of the last picture to the goal; "difference", how much nearer
      the last picture is than the one before it (what VIP pays, arXiv:2210.00030); "progress", the
      share of the first picture's distance that the last has covered, 0 to 1.
  """

  arch: str = "resnet18"
  width: int = 64
  embedding_dim: int = 1024
  stem: str = "imagenet"
  resize: int = 256
  crop: int = 224
  num_goals: int = 1
  image_key: str = "observation.images.top"
  form: str = "value"

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.form not in FORMS:
      raise ValueError(
        f"expected a form of the reward among {', '.join(FORMS)}, got {self.form!r}; choose one."
      )
    # Pictures of any size will do; this is the size that the network sees.
    picture = PolicyFeature(type=FeatureType.VISUAL, shape=(3, self.crop, self.crop))
    self.input_features.setdefault(self.image_key, picture)
    self.output_features.setdefault("reward", PolicyFeature(type=FeatureType.REWARD, shape=(1,)))

  @property
  def observation_delta_indices(self) -> list[int] | None:
    """Which pictures LeRobot's data sets give of a frame: for "difference" the next one, too.

    In an episode's last frame that is the same picture again, so that its reward is 0.
    """
    return [0, 1] if self.form == "difference" else None
