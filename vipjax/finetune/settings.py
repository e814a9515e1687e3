"""What one training step does, as plain values."""

from __future__ import annotations

import dataclasses

import jax

from vipjax import sampling
from vipjax.runtime import ranges
from vipjax.runtime.errors import UserError

# The heads that each loss can teach.
_HEADS = {"vip": ("l2", "mrn"), "expectile": ("l2", "mrn"), "icvf": ("icvf",)}


@dataclasses.dataclass(frozen=True)
class TccSettings:
  """The cycle-consistency loss: weight 0 turns it off; other fields as `losses.tcc_loss`.

  Attributes:
    weight: factor of the TCC loss beside the VIP loss.
    num_cycles: K cycles; 0 takes all ordered pairs of videos from every frame instead.
    videos_per_cycle: T videos in each cycle (with K > 0).
    frames: frames drawn of each video.
    loss: "regression_mse", "regression_mse_var", "regression_huber" or "classification".
    similarity: "l2" or "cosine".
    temperature: of every softmax.
    temperature_unit: "absolute" or "mean_squared_distance".

  Raises:
    UserError: one of them is out of its range.
  """

  weight: float = 1.0
  num_cycles: int = 20
  videos_per_cycle: int = 4
  frames: int = 16
  loss: str = "regression_mse"
  similarity: str = "l2"
  temperature: float = 0.1
  temperature_unit: str = "absolute"

  def __post_init__(self):
    ranges.check("finetune.tcc", vars(self))


@dataclasses.dataclass(frozen=True)
class ProgressSettings:
  """The loss of a progress head (`losses.progress_loss`): weight 0 turns it off.

  Attributes:
    weight: factor of the loss beside the others; 0 trains no head, and the encoder has none then.
    pairs: pairs of frames of the task's videos in a step, each taken in both orders.

  Raises:
    UserError: one of them is out of its range.
  """

  weight: float = 0.0
  pairs: int = 32

  def __post_init__(self):
    ranges.check("finetune.progress", vars(self))


@dataclasses.dataclass(frozen=True)
class IntentSettings:
  """What is drawn as outcome and intent of a frame for the loss "icvf", see `intent_indices`.

  Attributes:
    current: share of goals that are the frame itself.
    future: share of goals that are later frames of its video; the rest are frames of any video.
    same: share of outcomes that are the intent.
    in_video: whether intents are always later frames of their own video; its authors' choice for
      films of all kinds. False also teaches distances to other videos, and back to earlier frames.

  Raises:
    UserError: one of them, or the sum of the first two, is out of its range.
  """

  current: float = 0.2
  future: float = 0.7
  same: float = 0.5
  in_video: bool = True

  def __post_init__(self):
    ranges.check("finetune.intents", vars(self))
    if self.current + self.future > 1 + 1e-9:
      raise UserError(
        "expected config.finetune.intents.current and future to add up to at most 1, got "
        f"{self.current} and {self.future}; lower one of them."
      )


@dataclasses.dataclass(frozen=True)
class Settings:
  """What one training step does; the defaults are those of configs/paper.py.

  Attributes:
    batch_size: clips of four frames in the VIP loss.
    loss: "vip", or in its place "triplet", a baseline (`losses.triplet_loss`), "distillation" of
      other encoders (`losses.distillation_loss`), "expectile", temporal distance from any videos
      (`losses.expectile_loss`) on VIP's clips, or "icvf", the same under intents
      (`losses.icvf_loss`) on steps with an outcome and an intent in place of clips. `check_head`
      says which heads they can teach.
    background_clips: further clips in the VIP loss from unlabelled background videos; 0 is
      published. They teach what lies off the expert's path.
    sampler: draws the first frame of each clip and the frames for TCC; background clips are drawn
      uniformly.
    learning_rate: of Adam.
    head_learning_rate: of Adam for the last, dense layer, the progress head and the variables of
      the value's head; 0 takes learning_rate (published). A fresh encoder's embeddings span a
      distance of about 1 and VIP wants about one unit per frame: at a common rate most steps would
      go into growing that layer.
    decay_steps: updates over which both rates fall to 0 along a cosine; 0 keeps them (published).
    made_videos: how many composites follow the task's videos; 0 is published. VIP's clips are drawn
      from both alike; TCC aligns no composites, because they do not show the task's course.
    anneal_steps: updates over which the prioritised sampler's beta goes to its final_beta; 0 keeps
      it.
    last_goal: share of the task's clips whose goal is the last frame of their video; 0 is
      published. The reward asks for the distance to that frame alone.
    discount, num_negatives, l1_weight, l2_weight: as `losses.vip_loss`.
    expectile: of the losses "expectile" and "icvf".
    target_rate: of the same two, how far the target's parameters move towards the encoder's at each
      update, above 0, at most 1.
    crop_scale: least and greatest area of the random crop.
    then_resize: resize after the crop, before the central cut (VIP: 256); 0 for none.
    train_batch_norm: whether BatchNorm uses batch statistics and updates its running ones.
    tcc: the cycle-consistency loss.
    progress: the loss of the progress head.
    intents: the draws of the loss "icvf".

  Raises:
    UserError: one of them is out of its range.
  """

  batch_size: int = 4
  background_clips: int = 0
  loss: str = "vip"
  sampler: sampling.Sampler = sampling.Sampler("exponential")
  learning_rate: float = 1e-4
  head_learning_rate: float = 0.0
  decay_steps: int = 0
  anneal_steps: int = 0
  made_videos: int = 0
  last_goal: float = 0.0
  discount: float = 0.98
  num_negatives: int = 3
  l1_weight: float = 0.001
  l2_weight: float = 0.001
  expectile: float = 0.9
  target_rate: float = 0.005
  crop_scale: tuple[float, float] = (0.2, 1.0)
  then_resize: int = 256
  train_batch_norm: bool = True
  tcc: TccSettings = TccSettings()
  progress: ProgressSettings = ProgressSettings()
  intents: IntentSettings = IntentSettings()

  def __post_init__(self):
    ranges.check("finetune", vars(self))


def check_cycles(tcc: TccSettings, num_videos: int) -> None:
  """Raises UserError when TCC's cycles need more videos than there are."""
  if tcc.weight and tcc.num_cycles:
    # Draws nothing: it checks the sizes as the step will, before the encoder is compiled.
    sampling.sample_cycles(jax.random.key(0), num_videos, tcc.num_cycles, tcc.videos_per_cycle)


def check_head(loss: str, head: str) -> None:
  """Raises UserError when a loss cannot teach a head."""
  fitting = _HEADS.get(loss, ("l2",))
  if head not in fitting:
    raise UserError(
      f"expected config.encoder.head {' or '.join(map(repr, fitting))} with config.finetune.loss = "
      f"{loss!r}, got {head!r}; change one of the two."
    )
