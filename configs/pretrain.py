"""Trains the package's encoder "mini": VIP on videos of 43 Meta-World tasks without a window.

    python -m launch.pretrain --config=configs/pretrain.py --workdir=runs/pretrain

Hardware: 2 CPU cores, 16 GiB. Run time and numbers: docs/results/mini.md.

The corpus excludes window-open and window-close, the demo's subject, and five more tasks for
measuring. Training sees only the frames: no actions, no rewards, no success. The films depend on
the simulator's success: a film ends 6 control steps after success, or at the time limit. Without
success only the first config.corpus.max_frames frames are kept. Only successful experts also get
films without the robot.
"""

from ml_collections import ConfigDict

from configs import paper


def get_config() -> ConfigDict:
  config = paper.get_config()

  config.corpus = ConfigDict()
  config.corpus.held_out = (
    "window-open", "window-close", "drawer-close", "button-press-wall", "faucet-close",
    "plate-slide-back", "handle-pull-side",
  )  # fmt: skip
  config.corpus.only = ()  # tasks to record; (): all
  config.corpus.controls = ("torque", "end_effector")  # in turns
  config.corpus.expert_episodes = 6  # of each task, each from a random viewpoint and a close one
  # Experts filmed on their way back from random motion; half of them approach the object before it.
  config.corpus.recovering_episodes = 6
  config.corpus.astray = (5, 100)  # control steps of random motion
  config.corpus.approach = (10, 60)  # control steps
  config.corpus.noisy_episodes = 2
  config.corpus.random_episodes = 2
  config.corpus.noise = (0.0, 0.0, 0.1, 0.2, 0.3)  # standard deviation on the expert's actions
  config.corpus.heavy_noise = 0.6  # the same in the noisy episodes
  config.corpus.size = 96  # pixels
  config.corpus.frame_stride = 2
  config.corpus.max_frames = 60  # kept of a failed episode
  config.corpus.azimuth = (15.0, 165.0)  # degrees
  config.corpus.elevation = (-60.0, -20.0)
  config.corpus.distance = (0.85, 1.4)  # metres
  # A second film of every episode comes from near one of these azimuths of close cameras.
  config.corpus.close_azimuths = (40.0, 140.0, 165.0)

  config.encoder.init = "scratch"
  config.encoder.name = "mini"
  config.encoder.licence = "Apache-2.0"
  config.encoder.arch = "resnet18"
  config.encoder.width = 16
  config.encoder.embedding_dim = 128
  config.encoder.size = 80
  config.encoder.resize = 80

  config.finetune.steps = 8000
  config.finetune.batch_size = 24
  config.finetune.learning_rate = 1e-3
  # VIP asks for about one unit of distance per frame; fresh embeddings span about one in all. With
  # the loss icvf set it to 0: its heads die at this rate.
  config.finetune.head_learning_rate = 1e-2
  config.finetune.decay = True
  config.finetune.last_goal = 0.5  # most uses have the end of the task as goal
  config.finetune.crop_scale = (0.3, 1.0)
  config.finetune.then_resize = 0
  config.finetune.sampler.name = "uniform"  # the hard part of 43 tasks is not in one place
  config.finetune.tcc.weight = 0.0  # cycles between different tasks mean nothing
  config.finetune.checkpoint_every = 250

  # Each stage changes some of these values, records its corpus and trains; encoder.init and
  # finetune.teachers can name earlier stages. base gives rank correlation along an expert's path,
  # gamma96, whose distances saturate earlier, progress off the path. Distilling two such encoders
  # into one, ensemble, raises both a little. plain sees no recovering experts and is the better
  # start for fine-tuning, so the last stages distil it and the others.
  config.pretrain = ConfigDict()
  config.pretrain.stages = (
    "plain", "base", "gamma96", "gamma97", "gamma97_96", "ensemble", "plain_ensemble", "mini",
  )  # fmt: skip
  gamma96 = {
    "corpus": {"frame_stride": 4, "max_frames": 30},
    "finetune": {
      "steps": 1200, "discount": 0.96, "learning_rate": 3e-4, "head_learning_rate": 1e-3,
    },
  }  # fmt: skip
  distillation = {
    "loss": "distillation", "steps": 1600, "learning_rate": 5e-4, "head_learning_rate": 1e-3,
    "train_batch_norm": False,
  }  # fmt: skip
  config.pretrain.plain = ConfigDict({"corpus": {"recovering_episodes": 0}})
  config.pretrain.base = ConfigDict()
  config.pretrain.gamma96 = ConfigDict({**gamma96, "encoder": {"init": "base"}})
  config.pretrain.gamma97 = ConfigDict({"finetune": {"discount": 0.97}})
  config.pretrain.gamma97_96 = ConfigDict({**gamma96, "encoder": {"init": "gamma97"}})
  config.pretrain.ensemble = ConfigDict({
    "encoder": {"init": "gamma96"},
    "finetune": {**distillation, "teachers": ("gamma96", "gamma97_96")},
  })  # fmt: skip
  config.pretrain.plain_ensemble = ConfigDict({
    "encoder": {"init": "plain"},
    "finetune": {**distillation, "teachers": ("plain", "ensemble", "ensemble")},
  })  # fmt: skip
  config.pretrain.mini = ConfigDict({
    "encoder": {"init": "plain_ensemble"},
    "finetune": {**distillation, "teachers": ("plain", "ensemble", "gamma97_96"), "steps": 2000},
  })  # fmt: skip
  return config
