"""Which additions to the published method a config has on, and why each is there."""

from __future__ import annotations

from typing import Any

import ml_collections


def additions(config: ml_collections.ConfigDict) -> list[dict[str, Any]]:
  """The additions that are on, as {"name", "value", "reason"}; [] for the published method."""
  reward, policy, finetune = config.reward, config.policy, config.finetune
  candidates = [
    (
      "reward.robot_free_weight",
      reward.robot_free_weight,
      0.0,
      "The plain distance sees the arm and hardly the window: a policy that rests in the goal's "
      "pose beside a shut window is paid. The same frame drawn without the robot shows the window "
      "alone.",
    ),
    (
      "reward.plain_weight",
      reward.plain_weight,
      1.0,
      "How much the frame as it is counts beside the one without the robot.",
    ),
    (
      "reward.goals",
      reward.goals,
      "mean",
      "With several goal frames: the nearest one counts, where goals differ too much for a mean.",
    ),
    (
      "reward.normalise",
      reward.normalise,
      "none",
      "Makes the channels weigh alike whatever distances the embedding spans.",
    ),
    (
      "reward.scale",
      reward.scale,
      1.0,
      "The entropy temperature of SAC is in units of the reward; this sets their ratio.",
    ),
    (
      "policy.views",
      tuple(policy.views),
      ("front",),
      "Other views than the published one: bumps in one view's distance, on which a policy rests, "
      "are not those of another's.",
    ),
    (
      "record.frame_stride",
      config.record.frame_stride,
      1,
      "Between frames 12.5 ms apart little moves: VIP's steps drown in the noise of the crops.",
    ),
    (
      "policy.action_repeat",
      policy.action_repeat,
      1,
      "At 80 Hz random torques cancel out; held, they explore. It saves frames, too.",
    ),
    (
      "policy.min_temperature",
      policy.min_temperature,
      0.0,
      "A temperature that dies early ends exploration before the window was ever moved.",
    ),
    (
      "finetune.background_clips",
      finetune.background_clips,
      0,
      "Unlabelled videos of random motion teach the embedding what lies off the expert's path.",
    ),
    (
      "policy.online.every",
      policy.online.every,
      0,
      "The encoder goes on learning from the policy's own episodes, which leave the expert's path; "
      "published as a wish.",
    ),
    (
      "encoder.init_scale",
      config.encoder.init_scale,
      1.0,
      "VIP wants about one unit of distance per frame and fresh embeddings span about one in all.",
    ),
    (
      "finetune.head_learning_rate",
      finetune.head_learning_rate,
      0.0,
      "VIP wants about one unit of distance per frame and fresh embeddings span about one in all: "
      "the last layer has to grow, and does so faster with a rate of its own.",
    ),
    (
      "finetune.last_goal",
      finetune.last_goal,
      0.0,
      "The reward asks for the distance to the last frame alone; goals drawn uniformly teach it "
      "slowly.",
    ),
    (
      "finetune.crop_scale",
      tuple(finetune.crop_scale),
      (0.2, 1.0),
      "A fifth of the frame, drawn in 80 pixels, often shows neither hand nor handle.",
    ),
    (
      "finetune.decay",
      finetune.decay,
      False,
      "A short run ends in the noise of its last batches unless the learning rate falls.",
    ),
    (
      "finetune.loss",
      finetune.loss,
      "vip",
      "A baseline in place of the VIP loss, for comparison.",
    ),
    (
      "finetune.sampler.name",
      finetune.sampler.name,
      "exponential",
      "The published sampler draws first frames ever likelier towards the end, wherever the hard "
      "part is; prioritised asks the value where it is most wrong, others draw evenly or around a "
      "place.",
    ),
    (
      "finetune.train_batch_norm",
      finetune.train_batch_norm,
      True,
      "VIP updates BatchNorm's statistics while it trains; frozen ones keep those of pretraining.",
    ),
    (
      "encoder.init",
      config.encoder.init,
      "vip-resnet50",
      "The published encoder is VIP's released ResNet-50 at 224 pixels, which asks for a download, "
      "a licence and a GPU.",
    ),
    (
      "reward.form",
      reward.form,
      "difference",
      "The published reward is the plain change of the distance; this is another function of it.",
    ),
    (
      "finetune.tcc.num_cycles",
      finetune.tcc.num_cycles,
      20,
      "0 takes all ordered pairs of videos from every frame; another number, more or fewer cycles.",
    ),
  ]
  return [
    {"name": name, "value": value, "reason": reason}
    for name, value, published, reason in candidates
    if value != published
  ]
