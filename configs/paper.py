"""The published experiment: VIP's ResNet-50, four videos at 480x480, 100k steps, SAC for 2M steps.

    python -m launch.pipeline --config=configs/paper.py --workdir=runs/paper

Hardware: one GPU with 16 GB or more; it starts from VIP's released weights (CC BY-NC 4.0), which
`vipjax.load("vip-resnet50")` downloads or takes from VIPJAX_VIP_CHECKPOINT. Run time: by the steps
measured on an H200 (docs/results/gpu.md) half an hour of fine-tuning and hours of policy, most of
them drawing; on a CPU it would take weeks. Expect: a monotone distance curve and a policy that
opens the window, if the published claims hold; nobody has run this file to its end yet.

Every key is declared here, with its meaning; other configs change values (configs/pretrain.py also
declares its corpus).
Where the publication is silent the value is ours and the comment says so.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

# Keys whose other values make another method than the published one, and why one wants it: the
# report of a run lists those that it has on.
ADDITIONS = {
  "reward.robot_free_weight": (
    "The plain distance sees the arm and hardly the window: a policy that rests in the goal's "
    "pose beside a shut window is paid. The same frame drawn without the robot shows the window "
    "alone."
  ),
  "reward.plain_weight": "How much the frame as it is counts beside the one without the robot.",
  "reward.goal_reduction": (
    "With several goal frames: the nearest one counts, where goals differ too much for a mean."
  ),
  "reward.normalize": "Makes the channels weigh alike whatever distances the embedding spans.",
  "reward.scale": (
    "The entropy temperature of SAC is in units of the reward; this sets their ratio."
  ),
  "policy.views": (
    "Other views than the published one: bumps in one view's distance, on which a policy rests, "
    "are not those of another's."
  ),
  "record.frame_stride": (
    "Between frames 12.5 ms apart little moves: VIP's steps drown in the noise of the crops."
  ),
  "policy.action_repeat": (
    "At 80 Hz random torques cancel out; held, they explore. It saves frames, too."
  ),
  "policy.min_temperature": (
    "A temperature that dies early ends exploration before the window was ever moved."
  ),
  "finetune.background_clips": (
    "Unlabelled videos of random motion teach the embedding what lies off the expert's path."
  ),
  "policy.online.every": (
    "The encoder goes on learning from the policy's own episodes, which leave the expert's path; "
    "published as a wish."
  ),
  "encoder.init_scale": (
    "VIP wants about one unit of distance per frame and fresh embeddings span about one in all."
  ),
  "finetune.head_learning_rate": (
    "VIP wants about one unit of distance per frame and fresh embeddings span about one in all: "
    "the last layer has to grow, and does so faster with a rate of its own."
  ),
  "finetune.last_goal": (
    "The reward asks for the distance to the last frame alone; goals drawn uniformly teach it "
    "slowly."
  ),
  "finetune.crop_scale": (
    "A fifth of the frame, drawn in 80 pixels, often shows neither hand nor handle."
  ),
  "finetune.decay": (
    "A short run ends in the noise of its last batches unless the learning rate falls."
  ),
  "finetune.loss": "A baseline in place of the VIP loss, for comparison.",
  "finetune.sampler.name": (
    "The published sampler draws first frames ever likelier towards the end, wherever the hard "
    "part is; prioritised asks the value where it is most wrong, others draw evenly or around a "
    "place."
  ),
  "finetune.train_batch_norm": (
    "VIP updates BatchNorm's statistics while it trains; frozen ones keep those of pretraining."
  ),
  "encoder.init": (
    "The published encoder is VIP's released ResNet-50 at 224 pixels, which asks for a download, "
    "a licence and a GPU."
  ),
  "reward.form": (
    "The published reward is the plain change of the distance; this is another function of it."
  ),
  "finetune.tcc.num_cycles": (
    "0 takes all ordered pairs of videos from every frame; another number, more or fewer cycles."
  ),
}


def get_config() -> ConfigDict:
  config = ConfigDict()
  # Least values in results.json that a run should reach; the report says which it missed.
  config.expect = ConfigDict()
  config.expect.policy_success = 0.8
  config.expect.rank_correlation_unseen = 0.95

  config.seed = 0  # of everything random, with a stream of its own for each stage

  config.env = ConfigDict()
  config.env.task = "window-open"  # a Meta-World task
  config.env.robot = "sawyer"
  config.env.control = "torque"  # or "end_effector"
  config.env.horizon = 200  # control steps of 12.5 ms in an episode
  config.env.placement = 0  # seed of the one placement of the window; -1: anew in every episode
  config.env.joint_noise = 0.02  # radians, uniform, on the arm at reset (ours)

  # Viewpoints by name: a camera of the scene, or a free camera (degrees, metres). Ours: the
  # publication shows two views and does not say where from.
  config.views = ConfigDict()
  config.views.front = _view(azimuth=140.0, elevation=-35.0)
  config.views.side = _view(azimuth=165.0, elevation=-35.0, distance=1.05)

  config.record = ConfigDict()
  config.record.size = 480  # pixels, height and width
  config.record.quality = "full"  # "full" as Meta-World draws it, or "fast": see vipjax.scene
  config.record.episodes = 1  # expert episodes; each gives a video per view and visibility
  config.record.robot_free = True  # also film every view with the robot's alpha at 0
  config.record.hold = 5  # steps filmed after success
  config.record.frame_stride = 1  # control steps from frame to frame
  # "mp4", in videos/; "frames", "tfds" or "lerobot" write the same also to dataset/, for others.
  config.record.format = "mp4"
  config.record.random_episodes = 0  # unlabelled videos of random motion, for background_clips

  config.data = ConfigDict()
  # Videos of your own instead of recorded ones: a file, a folder or a data set that
  # vipjax.read_videos takes. What follows holds for them alone.
  config.data.path = ""
  config.data.view = ""  # this camera alone
  config.data.episodes = ""  # these episodes alone, such as "0,2,5-7"
  config.data.task = ""  # episodes of this task alone
  config.data.success = False  # True: only episodes that are known to have ended in success
  config.data.fps = 0.0  # frames per second to take; 0: all that there are
  config.data.frame_stride = 1  # and of those every n-th
  # Videos that take more than so many MiB stay in the host's memory, and grain feeds each step.
  config.data.resident_mb = 2048
  # There each process keeps so many MiB of decoded frames; what is drawn beyond is decoded again.
  config.data.cache_mb = 16_384
  config.data.size = 0  # pixels of the square they are brought to; 0 leaves them, if all are alike

  config.encoder = ConfigDict()
  config.encoder.init = "vip-resnet50"  # "scratch", or anything that vipjax.load takes
  # Only with init = "scratch":
  config.encoder.name = "scratch"  # noted in the artefact, like the licence of what comes out
  config.encoder.licence = "unknown"
  config.encoder.arch = "resnet50"  # resnet18, resnet34, resnet50
  config.encoder.width = 64  # channels of the first stage
  config.encoder.embedding_dim = 1024
  config.encoder.norm = "batch"  # or "group"
  config.encoder.init_scale = 1.0  # factor on the last layer's fresh weights
  config.encoder.stem = "imagenet"  # or "small", without pooling
  config.encoder.size = 224  # pixels of the network's input
  config.encoder.resize = 256  # the shorter side before the central crop to `size`

  config.finetune = ConfigDict()
  config.finetune.steps = 100_000
  config.finetune.batch_size = 4  # clips of four frames
  config.finetune.loss = "vip"  # or "triplet", a baseline for ablations, or "distillation"
  config.finetune.teachers = ()  # encoders, as encoder.init, that distillation makes one of
  config.finetune.learning_rate = 1e-4  # of Adam
  config.finetune.head_learning_rate = 0.0  # of the last layer; 0: learning_rate
  config.finetune.decay = False  # whether both rates fall to 0 along a cosine
  config.finetune.discount = 0.98  # gamma of the VIP loss
  config.finetune.num_negatives = 3
  config.finetune.last_goal = 0.0  # share of clips whose goal is their video's last frame
  config.finetune.l1_weight = 0.001
  config.finetune.l2_weight = 0.001
  config.finetune.crop_scale = (0.2, 1.0)  # area of the random crop, a share of the frame
  config.finetune.then_resize = 256  # VIP resizes the crop again; 0: it does not
  # As VIP does; False freezes the running statistics, which on the demo's videos gave a rank
  # correlation of .880 instead of .956 (docs/results/mini.md).
  config.finetune.train_batch_norm = True
  config.finetune.background_clips = 0  # further clips per batch from random-motion videos
  config.finetune.sampler = ConfigDict()
  config.finetune.sampler.name = "exponential"  # uniform, exponential, beta, prioritised
  config.finetune.sampler.rate = 5.0  # of exponential
  config.finetune.sampler.a = 2.0  # of beta
  config.finetune.sampler.b = 2.0
  # Of prioritised (arXiv:1511.05952): clips start where the value's TD errors have been greatest.
  config.finetune.sampler.bins = 16  # parts of each video that have a priority each
  config.finetune.sampler.alpha = 0.6  # 0: priorities do not matter; the paper's, like beta
  config.finetune.sampler.beta = 0.4  # 1: weights in the loss make up for them wholly
  # Where beta is after the last step, risen on a line; the same as beta: it stays (the paper: 1).
  config.finetune.sampler.final_beta = 1.0
  config.finetune.sampler.floor = 0.1  # share of draws that heed no priority
  config.finetune.sampler.momentum = 0.9  # of the running mean of a part's errors
  config.finetune.tcc = ConfigDict()
  config.finetune.tcc.weight = 1.0  # of TCC beside VIP; 0: no TCC (the publication gives none)
  config.finetune.tcc.num_cycles = 20  # K; 0: all ordered pairs of videos
  config.finetune.tcc.videos_per_cycle = 4  # T
  config.finetune.tcc.frames = 16  # drawn of each video (ours)
  config.finetune.tcc.loss = "regression_mse"
  config.finetune.tcc.similarity = "l2"
  config.finetune.tcc.temperature = 0.1
  config.finetune.checkpoint_every = 1000  # steps
  # The state that `encoder/` is made of: "last", or "best", the checkpoint since whose predecessor
  # the mean loss was least (which is not to say that its distances are the best).
  config.finetune.artefact = "last"
  config.finetune.max_skipped = 10  # updates in a row that are not finite before it stops
  # Before each checkpoint, whether all devices still hold the same numbers; if not, the run ends.
  config.finetune.check_replicas = True

  config.evaluate = ConfigDict()
  config.evaluate.unseen_episodes = 8  # expert episodes with placements never recorded
  # Degrees by which cameras are turned to film unseen episodes from unseen viewpoints; 0: none.
  config.evaluate.view_shift = 0.0
  config.evaluate.robots = ()  # other arms that act in the unseen episodes once more, such as panda
  # Episodes that fail on purpose: experts that turn into random motion early on.
  config.evaluate.failed_episodes = 0
  config.evaluate.attention_episodes = 0  # expert episodes for Grad-CAM; 0: none
  # Rollouts of each kind that leave the expert's path; 0: none. Above 0 the pipeline evaluates
  # after the policy stage, because what a policy visits is part of it.
  config.evaluate.off_path_episodes = 0

  config.policy = ConfigDict()
  config.policy.steps = 2_000_000  # actions of all environments together
  config.policy.num_envs = 9
  config.policy.action_repeat = 1  # control steps for which an action is held
  config.policy.hidden = (256, 256)
  config.policy.batch_size = 256
  config.policy.discount = 0.99
  config.policy.learning_rate = 3e-4
  config.policy.target_rate = 0.005
  config.policy.init_temperature = 0.1
  config.policy.min_temperature = 0.0  # 0: as published
  # Nats; None: minus half the number of actions, -4 of torques, -2 of the end effector (ours).
  config.policy.target_entropy = config_dict.placeholder(float)
  config.policy.updates_per_step = 9  # updates per step of all environments
  config.policy.warmup_steps = 5000  # environment steps of random actions first
  config.policy.replay_capacity = 1_000_000
  config.policy.views = ("front",)  # the viewpoints that the reward sees
  config.policy.eval_every = 20_000  # environment steps
  config.policy.eval_episodes = 10  # while learning
  config.policy.final_episodes = 20  # of the policy kept
  config.policy.checkpoint_every = 50_000  # environment steps
  config.policy.max_skipped = 1000  # updates in a row that are not finite before it stops
  config.policy.check_replicas = True  # as in finetune
  # The encoder may go on learning beside the policy: from the task's videos and from the policy's
  # own episodes, filmed with and without the robot, with the losses of `finetune`. The rewards of
  # what the replay remembers are then computed anew (docs/results/online.md).
  config.policy.online = ConfigDict()
  config.policy.online.every = 0  # environment steps from one time to the next; 0: never
  config.policy.online.steps = 50  # updates each time
  config.policy.online.learning_rate = 1e-4  # of all layers, constant
  config.policy.online.clips = 8  # further clips per batch from the policy's latest episodes
  config.policy.online.recent = 9  # how many episodes these are
  config.policy.online.best = 2  # episodes that gained most on the goal join the task's videos
  # Of the file with the frames that the policy has seen: enough for the demo's 128 pixels, where a
  # step of nine environments takes .9 MB; at 480 pixels it takes 12. The replay remembers no more
  # transitions than have their frames there.
  config.policy.online.frames_mb = 4096

  config.reward = ConfigDict()
  config.reward.form = "difference"  # V' - V; or "discounted", "value"
  config.reward.scale = 1.0
  config.reward.normalize = "none"  # or "first_frame"
  config.reward.goal_reduction = "mean"  # with several goal frames: distance to "mean" or "nearest"
  # The goal, instead of the videos' last frames: "frame=N" of each (negative from the end), or
  # image or video files, with commas between them.
  config.reward.goal = ""
  config.reward.plain_weight = 1.0  # of the frame as it is
  config.reward.robot_free_weight = 0.0  # of the same frame drawn without the robot
  return config


def _view(**fields) -> ConfigDict:
  view = ConfigDict()
  view.camera = ""  # a camera of the scene by name; "" for a free camera
  view.lookat = (0.0, 0.68, 0.15)  # metres
  view.azimuth = 140.0  # degrees
  view.elevation = -35.0
  view.distance = 0.95  # metres
  view.update(fields)
  return view


def additions(config: ConfigDict) -> list[dict[str, Any]]:
  """The additions that a config has on, as {"name", "value", "reason"}; [] as published."""
  published, found = get_config(), []
  for name, reason in ADDITIONS.items():
    value, default = (_value(each, name) for each in (config, published))
    if value != default:
      found.append({"name": name, "value": value, "reason": reason})
  return found


def _value(config: ConfigDict, name: str) -> Any:
  for key in name.split("."):
    config = config[key]
  return tuple(config) if isinstance(config, list) else config
