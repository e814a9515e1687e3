"""Four videos to a policy on a laptop: 2 cores, no GPU, nothing downloaded.

    python -m launch.pipeline --config=configs/demo.py

Hardware: 2 CPU cores, 8 GiB. Run time and results: docs/results/demo.md.

What differs from configs/paper.py is set below, each with its reason.
"""

from ml_collections import ConfigDict

from configs import paper


def get_config() -> ConfigDict:
  config = paper.get_config()

  # Software rendering: 128 pixels without shadows are drawn at 250 frames/s, 480 with them at 10.
  # The agent's frames are drawn exactly as the videos are.
  config.record.size = 128
  config.record.quality = "fast"

  # A small network from scratch: ResNet-50 at 224 pixels embeds 10 frames/s on two cores.
  config.encoder.init = "scratch"
  config.encoder.arch = "resnet18"
  config.encoder.width = 16
  config.encoder.embedding_dim = 128
  config.encoder.norm = "batch"
  config.encoder.size = 64
  config.encoder.resize = 64

  config.finetune.steps = 1500
  config.finetune.batch_size = 16
  config.finetune.learning_rate = 1e-3
  config.finetune.head_learning_rate = 2e-2
  config.finetune.then_resize = 0
  config.finetune.sampler.name = "uniform"
  config.finetune.tcc.weight = 3.0
  config.finetune.tcc.num_cycles = 0
  config.finetune.tcc.frames = 8
  config.finetune.checkpoint_every = 200

  config.policy.steps = 27_000
  config.policy.discount = 0.97
  config.policy.updates_per_step = 3
  config.policy.warmup_steps = 1800
  config.policy.min_temperature = 0.02
  config.policy.eval_every = 2700
  config.policy.checkpoint_every = 9000

  config.reward.scale = 10.0
  config.reward.normalise = "first_frame"
  config.reward.robot_free_weight = 2.0
  return config
