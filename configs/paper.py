"""The published experiment: VIP's ResNet-50, four videos at 480x480, 100k steps, SAC for 2M steps.

    python -m launch.pipeline --config=configs/paper.py --workdir=runs/paper

Hardware: one GPU with 16 GB or more. The run starts from VIP's released weights (CC BY-NC 4.0),
which `vipjax.load("vip-resnet50")` downloads or takes from VIPJAX_VIP_CHECKPOINT. Expected result:
a monotone distance curve and a policy that opens the window, if the published claims hold; nobody
has completed this run yet.

Run time on one H100 or H200, extrapolated from parts that were measured there (the arithmetic is in
docs/results/gpu.md): record 11 s, fine-tuning 28 min (100,000 steps of 16.4 ms, compilation 42 s),
evaluation 20 s, policy between 52 min (drawing 2 million frames of 480 pixels) and 92 min (if
embedding and updates, 40 min, do not overlap with that on the one GPU). Pictures drawn in tiles, as
they are now, are not measured; launch/gpu_check.sh measures both stages. Weeks on a CPU. Memory of
the GPU: about 5 GiB, of which fine-tuning's temporaries are 938 MiB, the four videos of 480 pixels
264 MiB, and the replay of a million transitions 427 MiB.

This file declares every key with its meaning, and for keys whose other values change the published
method the reason to change them, which reports show. Other configs change values
(configs/pretrain.py also declares its corpus). A comment marks values that are ours because the
publication gives none.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
  return _declared()[0]


def _declared() -> tuple[ConfigDict, dict[str, str]]:
  """The config, and of keys that change the published method the reason to set another value."""
  config, reasons = ConfigDict(), {}
  # Least values that results.json should reach; the report lists missed ones.
  config.expect = ConfigDict()
  config.expect.policy_success = 0.8
  config.expect.rank_correlation_unseen = 0.95

  config.seed = 0  # of all random numbers, with a separate stream for each stage

  config.env = ConfigDict()
  config.env.task = "window-open"  # a Meta-World task
  config.env.robot = "sawyer"
  config.env.control = "torque"  # or "end_effector"
  # Control steps of 12.5 ms in an episode. None fits the task, see for_task: 200, or more where the
  # scripted expert needs more than two thirds of that.
  config.env.horizon = config_dict.placeholder(int)
  config.env.placement = 0  # seed of the one placement of the window; -1: anew in every episode
  config.env.joint_noise = 0.02  # radians, uniform, on the arm at reset (ours)

  # Viewpoints by name: a camera of the scene, or a free camera. What is None fits the task: see
  # for_task below. Ours: the publication shows two views without their positions.
  config.views = ConfigDict()
  config.views.front = _view()
  config.views.side = _view()

  # Values of keys that are None: those of the task, then of the control, then of any. What is still
  # None is chosen in the simulator: horizon, and the views that show best what the expert moves
  # (vipjax/envs/viewpoints.py). The window's were set by hand, and results were measured with them;
  # the choice would look from the first one's direction, from farther.
  config.for_task = ConfigDict({"torque": {}, "end_effector": {}})
  policy = {"steps": 2_000_000, "discount": 0.99, "eval_every": 20_000}
  config.for_task.any = ConfigDict({"policy": policy})
  lookat = (0.0, 0.68, 0.15)
  front = {"lookat": lookat, "azimuth": 140.0, "elevation": -35.0, "distance": 0.95}
  side = {"lookat": lookat, "azimuth": 165.0, "elevation": -35.0, "distance": 1.05}
  config.for_task["window-open"] = ConfigDict({
    "env": {"horizon": 200}, "views": {"front": front, "side": side}, "policy": policy,
  })  # fmt: skip

  config.record = ConfigDict()
  config.record.size = 480  # pixels, height and width
  config.record.quality = "full"  # "full" as Meta-World renders, or "fast": see vipjax.scene
  config.record.episodes = 1  # expert episodes; each gives a video per view and visibility
  config.record.robot_free = True  # also film every view with the robot's alpha at 0
  config.record.hold = 5  # steps filmed after success
  # Steps filmed after these, in which the hand leaves and shows what it hid: for launch.erase
  # --tail. A run's goals are the films' last frames, so it has no use for them. Tasks that the hand
  # undoes on its way (a drawer or a door that it pulled open) are refused.
  config.record.retreat = 0
  config.record.frame_stride = 1  # control steps from frame to frame
  reasons["record.frame_stride"] = (
    "Between frames 12.5 ms apart little moves: VIP's steps drown in the noise of the crops."
  )
  # "mp4" writes videos/; "frames", "tfds" and "lerobot" also write dataset/ for other programs.
  config.record.format = "mp4"
  config.record.random_episodes = 0  # unlabelled videos of random motion, for background_clips

  config.data = ConfigDict()
  # Your own videos instead of recorded ones: a file, a folder or a data set for
  # vipjax.read_videos. The other keys of this section apply only to them.
  config.data.path = ""
  config.data.view = ""  # only this camera
  config.data.episodes = ""  # only these episodes, such as "0,2,5-7"
  config.data.task = ""  # only episodes of this task
  config.data.success = False  # True: only episodes known to end in success
  config.data.fps = 0.0  # frames per second to take; 0: all frames
  config.data.frame_stride = 1  # takes every n-th of those frames
  # Videos of more MiB than this stay in the host's memory, and grain loads each step's batch.
  config.data.resident_mb = 2048
  # MiB of decoded frames that each process then caches; it decodes other frames again.
  config.data.cache_mb = 16_384
  config.data.size = 0  # pixels of the square that videos are fitted to; 0: their own equal size

  config.encoder = ConfigDict()
  config.encoder.init = "vip-resnet50"  # "scratch", or any argument of vipjax.load
  reasons["encoder.init"] = (
    "The published encoder is VIP's released ResNet-50 at 224 pixels, which asks for a download, "
    "a licence and a GPU."
  )
  # What the distance of two frames means, everywhere: "l2" of their embeddings; "mrn", half L2 and
  # half asymmetric (arXiv:2208.08133), with the losses vip and expectile; "icvf", the steps that
  # loss teaches. An encoder with another head gets this one.
  config.encoder.head = "l2"
  reasons["encoder.head"] = (
    "An L2 distance is as far back as forth, which the cost of a way need not be."
  )
  # Whether a fresh head "icvf" has LayerNorm in its hidden layers, an option of ICVF's code; else
  # the heads tell no frame from its goal after 4,000 steps (docs/results/vptr.md).
  config.encoder.head_layer_norm = True
  # Only with init = "scratch":
  config.encoder.name = "scratch"  # name in the artefact
  config.encoder.licence = "unknown"  # licence of the artefact
  config.encoder.arch = "resnet50"  # resnet18, resnet34, resnet50
  config.encoder.width = 64  # channels of the first stage
  config.encoder.embedding_dim = 1024
  config.encoder.norm = "batch"  # or "group"
  config.encoder.init_scale = 1.0  # factor on the last layer's fresh weights
  reasons["encoder.init_scale"] = (
    "VIP wants about one unit of distance per frame and fresh embeddings span about one in all."
  )
  config.encoder.stem = "imagenet"  # or "small", without pooling
  config.encoder.size = 224  # pixels of the network's input
  config.encoder.resize = 256  # the shorter side before the central crop to `size`

  config.finetune = ConfigDict()
  config.finetune.steps = 100_000
  config.finetune.batch_size = 4  # clips of four frames
  # Or "triplet", a baseline for ablations; "distillation"; "expectile", temporal distance from any
  # videos, failures included (HILP, arXiv:2402.15567), with VIP's discount and num_negatives; or
  # "icvf", the same under intents (arXiv:2304.04782), with encoder.head = "icvf", VIP's discount,
  # and steps with outcome and intent in place of clips, which sampler, last_goal and num_negatives
  # do not concern. Its authors' encoders have GroupNorm.
  config.finetune.loss = "vip"
  reasons["finetune.loss"] = (
    "Another loss in place of VIP's: a baseline for comparison, or one that may learn from videos "
    "that fail."
  )
  config.finetune.teachers = ()  # encoders for distillation, in the form of encoder.init
  config.finetune.learning_rate = 1e-4  # of Adam
  config.finetune.head_learning_rate = 0.0  # of the last layer; 0: learning_rate
  reasons["finetune.head_learning_rate"] = (
    "VIP wants about one unit of distance per frame and fresh embeddings span about one in all: "
    "the last layer has to grow, and does so faster with a rate of its own."
  )
  config.finetune.decay = False  # True: both rates fall to 0 along a cosine
  reasons["finetune.decay"] = (
    "A short run ends in the noise of its last batches unless the learning rate falls."
  )
  config.finetune.discount = 0.98  # gamma of the VIP loss
  config.finetune.num_negatives = 3
  config.finetune.last_goal = 0.0  # share of clips with their video's last frame as goal
  reasons["finetune.last_goal"] = (
    "The reward asks for the distance to the last frame alone; goals drawn uniformly teach it "
    "slowly."
  )
  config.finetune.l1_weight = 0.001
  config.finetune.l2_weight = 0.001
  # Keys of expectile and icvf: the nearer to 1, the more the best steps count; and how far its
  # target's parameters move towards the encoder's at each update.
  config.finetune.expectile = 0.9
  config.finetune.target_rate = 0.005
  # Keys of icvf, as its authors have them for videos: shares of outcomes and intents that are the
  # frame itself, and that are later frames of its video, where the rest are frames of any; and
  # share of outcomes that are the intent.
  config.finetune.intents = ConfigDict()
  config.finetune.intents.current = 0.2
  config.finetune.intents.future = 0.7
  config.finetune.intents.same = 0.5
  # True: intents are of their own video. False also teaches the distance to a frame of another
  # video and back to an earlier one, which a reward for states off the films asks for.
  config.finetune.intents.in_video = True
  config.finetune.crop_scale = (0.2, 1.0)  # area of the random crop as a share of the frame
  reasons["finetune.crop_scale"] = (
    "A fifth of the frame, drawn in 80 pixels, often shows neither hand nor handle."
  )
  config.finetune.then_resize = 256  # pixels to which VIP resizes the crop again; 0: no resizing
  # True as in VIP. False freezes the running statistics: rank correlation .880 instead of .956 on
  # the demo's videos (docs/results/mini.md).
  config.finetune.train_batch_norm = True
  reasons["finetune.train_batch_norm"] = (
    "VIP updates BatchNorm's statistics while it trains; frozen ones keep those of pretraining."
  )
  config.finetune.background_clips = 0  # further clips per batch from random-motion videos
  reasons["finetune.background_clips"] = (
    "Unlabelled videos of random motion teach the embedding what lies off the expert's path."
  )
  # Films made of the task's videos and their robot-free twins, the arm of one moment over the
  # object of another (vipjax/videos/composite.py). The VIP loss learns from them as from the task's
  # videos; TCC, the reward's goals and policy.online leave them out.
  config.finetune.composites = ConfigDict()
  # Films of each video in which the arm stays in one pose while the object moves; 1: in the last.
  config.finetune.composites.fixed_arms = 0
  reasons["finetune.composites.fixed_arms"] = (
    "In experts' videos arm and object are functions of one another; a fixed arm beside each state "
    "of the object shows that the object counts, too."
  )
  # Films of each video in which the arm first goes into a late pose without the object; 1: the
  # last pose.
  config.finetune.composites.detours = 0
  reasons["finetune.composites.detours"] = (
    "An arm that goes into the goal's pose beside an untouched object and has to come back shows "
    "that this pose is far from the goal in time."
  )
  # Levels of grey that a codec changes: greater differences from the twin are the robot. 0: exact,
  # for frames without loss, as those of launch.record.
  config.finetune.composites.threshold = 12
  config.finetune.sampler = ConfigDict()
  config.finetune.sampler.name = "exponential"  # uniform, exponential, beta, prioritised
  reasons["finetune.sampler.name"] = (
    "The published sampler draws first frames ever likelier towards the end, wherever the hard "
    "part is; prioritised asks the value where it is most wrong, others draw evenly or around a "
    "place."
  )
  config.finetune.sampler.rate = 5.0  # of exponential
  config.finetune.sampler.a = 2.0  # of beta
  config.finetune.sampler.b = 2.0  # of beta
  # Keys of prioritised (arXiv:1511.05952), which starts clips where TD errors are greatest.
  config.finetune.sampler.bins = 16  # parts of each video, with a priority each
  config.finetune.sampler.alpha = 0.6  # exponent of the priorities, the paper's; 0: no priorities
  config.finetune.sampler.beta = 0.4  # the paper's; at 1, weights in the loss fully correct them
  # beta after the last step, reached linearly; equal to beta: constant (the paper: 1).
  config.finetune.sampler.final_beta = 1.0
  config.finetune.sampler.floor = 0.1  # share of uniform draws
  config.finetune.sampler.momentum = 0.9  # of the running mean of a part's errors
  config.finetune.tcc = ConfigDict()
  config.finetune.tcc.weight = 1.0  # of TCC beside VIP (ours); 0: no TCC
  config.finetune.tcc.num_cycles = 20  # K; 0: all ordered pairs of videos
  reasons["finetune.tcc.num_cycles"] = (
    "0 takes all ordered pairs of videos from every frame; another number, more or fewer cycles."
  )
  config.finetune.tcc.videos_per_cycle = 4  # T
  config.finetune.tcc.frames = 16  # drawn of each video (ours)
  config.finetune.tcc.loss = "regression_mse"
  config.finetune.tcc.similarity = "l2"
  config.finetune.tcc.temperature = 0.1
  # "absolute"; or, with l2, "mean_squared_distance": of the frames that a step compares.
  config.finetune.tcc.temperature_unit = "absolute"
  reasons["finetune.tcc.temperature_unit"] = (
    "At the published temperature the softmax is almost uniform for one encoder and a single frame "
    "for another, by how far apart their embeddings lie; in units of that distance it is the same."
  )
  # A head on two embeddings that tells how far one frame is ahead of another (TimeRewarder,
  # arXiv:2509.26627), for reward.form = "progress".
  config.finetune.progress = ConfigDict()
  config.finetune.progress.weight = 0.0  # of its loss beside the others; 0: no head
  reasons["finetune.progress.weight"] = (
    "The reward can then pay each step for its own progress, seen in the two frames around it, "
    "which is bounded and nothing for standing still."
  )
  config.finetune.progress.pairs = 32  # of frames in a step, each in both orders
  config.finetune.checkpoint_every = 1000  # steps
  # Checkpoint that becomes `encoder/`: "last", or "best", the one with the least mean loss since
  # the checkpoint before it (its distances need not be the best).
  config.finetune.artefact = "last"
  config.finetune.max_skipped = 10  # most updates in a row that are not finite before the run stops
  # True: before each checkpoint the run checks that all devices hold the same numbers, else ends.
  config.finetune.check_replicas = True

  # Encoders that embed frames with the robot as the fine-tuned one embeds those without it, for
  # reward.robot_free = "predicted". They learn from the videos with and without the robot, on one
  # device. Where they disagree, the reward believes the one that sees least done.
  config.robot_free = ConfigDict()
  config.robot_free.members = 2  # encoders
  config.robot_free.steps = 800  # updates of each
  config.robot_free.batch_size = 64
  config.robot_free.learning_rate = 1e-3  # of Adam; it falls to 0 along a cosine
  # Films of random motion, with and without the robot, whose robots are laid over the task's scenes
  # beside those of the task's own films.
  config.robot_free.random_episodes = 16

  config.evaluate = ConfigDict()
  config.evaluate.unseen_episodes = 8  # expert episodes with placements that were not recorded
  # Degrees of the cameras' turn for films of unseen episodes from unseen viewpoints; 0: no films.
  config.evaluate.view_shift = 0.0
  config.evaluate.robots = ()  # other arms, such as panda, that repeat the unseen episodes
  # Episodes of experts that change to random motion early and fail.
  config.evaluate.failed_episodes = 0
  config.evaluate.attention_episodes = 0  # expert episodes for Grad-CAM; 0: none
  # Rollouts of each kind off the expert's path; 0: none. Above 0 the pipeline evaluates after the
  # policy stage, because the policy's rollouts are one kind.
  config.evaluate.off_path_episodes = 0

  config.policy = ConfigDict()
  # Actions of all environments together. This, discount and eval_every fit the task: see for_task.
  config.policy.steps = config_dict.placeholder(int)
  # Agents that learn at once on one reward, of the seeds seed, seed + 1, ...: each with the steps,
  # environments and replay of one alone, and with its numbers. Not with policy.online.
  config.policy.seeds = 1
  config.policy.num_envs = 9
  # Who draws their pictures: "workers", each its own environments'; "one_process" those of all;
  # "auto": the latter on a GPU (vipjax/envs/vector.py says why).
  config.policy.drawing = "auto"
  # "mujoco": environments in processes, drawn by OpenGL; "warp": all of them on one GPU by MuJoCo
  # Warp, from the folder `scene` that launch.export_scene wrote (docs/warp.md).
  config.policy.backend = "mujoco"
  reasons["policy.backend"] = (
    "The same environment by the thousand on one GPU, in single precision and drawn by another "
    "renderer."
  )
  config.policy.scene = ""
  # "frame": the policy sees the embedding of the first view's plain frame, the hand's position and
  # the gripper, in place of the environment's 51 numbers, which tell where the object is.
  config.policy.input = "state"
  reasons["policy.input"] = (
    "No robot is told where the object is: the policy looks itself, by the reward's encoder."
  )
  config.policy.action_repeat = 1  # control steps per action
  reasons["policy.action_repeat"] = (
    "At 80 Hz random torques cancel out; held, they explore. It saves frames, too."
  )
  config.policy.hidden = (256, 256)
  config.policy.batch_size = 256
  config.policy.discount = config_dict.placeholder(float)
  config.policy.learning_rate = 3e-4
  config.policy.target_rate = 0.005
  config.policy.init_temperature = 0.1
  config.policy.min_temperature = 0.0  # 0: as published
  reasons["policy.min_temperature"] = (
    "A temperature that dies early ends exploration before the window was ever moved."
  )
  # Nats; None: minus half the number of actions, -4 of torques, -2 of the end effector (ours).
  config.policy.target_entropy = config_dict.placeholder(float)
  # Rewards summed before the critics' value of what follows.
  config.policy.n_step = 1
  reasons["policy.n_step"] = "Several steps' rewards reach back further at each update."
  # Updates after which the networks start anew, while the replay stays; 0: never.
  config.policy.reset_every = 0
  reasons["policy.reset_every"] = "Networks that were fitted to early data learn late data badly."
  config.policy.normalize_observations = False
  reasons["policy.normalize_observations"] = (
    "An object that moves by centimetres is a small number beside the arm's joint angles."
  )
  config.policy.normalize_rewards = False
  reasons["policy.normalize_rewards"] = "Makes the critics' values alike at all tasks."
  config.policy.critic = ConfigDict()
  config.policy.critic.hidden = ()  # widths of the hidden layers; (): as policy.hidden
  reasons["policy.critic.hidden"] = "A wider critic fits values better; the actor needs no more."
  # Normalization of the hidden layers; "batch" of the inputs, too, and jointly of present and next
  # pairs (CrossQ, arXiv:1902.05605).
  config.policy.critic.norm = "layer"  # or "batch", "none"
  reasons["policy.critic.norm"] = "With batch normalization critics learn from fewer samples."
  config.policy.critic.unit_norm = False  # each hidden unit's incoming weights have norm 1
  reasons["policy.critic.unit_norm"] = "Keeps the learning rate that matters from falling."
  # Bins of a categorical critic, from minus value_range to value_range in units of the reward (of
  # the normalized one, where it is); 0: regression.
  config.policy.critic.bins = 0
  reasons["policy.critic.bins"] = "A cross entropy has gradients of one size, whatever the values."
  config.policy.critic.value_range = 100.0
  reasons["policy.critic.value_range"] = "The bins have to hold the values that occur."
  config.policy.exploration = ConfigDict()
  config.policy.exploration.hold = 1  # actions for which the noise of the policy is held
  reasons["policy.exploration.hold"] = "Torques that change their sign at each action hardly move."
  # The noise is the sum of so many, each held twice as long as the one before; more than 1: pink.
  config.policy.exploration.octaves = 1
  reasons["policy.exploration.octaves"] = (
    "Noise of many time scales reaches further than white noise and still corrects itself."
  )
  # Environments differ: one has one octave, the next two, up to octaves, and so on in turns.
  config.policy.exploration.mixed = False
  reasons["policy.exploration.mixed"] = (
    "What is found by small movements and what by long ones is found in one run."
  )
  config.policy.updates_per_step = 9  # updates per step of all environments
  config.policy.warmup_steps = 5000  # environment steps with random actions at the start
  config.policy.replay_capacity = 1_000_000  # transitions
  config.policy.views = ("front",)  # viewpoints of the reward
  reasons["policy.views"] = (
    "One camera takes an arm across the object's picture for one that touches it; what moves along "
    "its line of sight only a view from another side shows."
  )
  config.policy.eval_every = config_dict.placeholder(int)  # environment steps
  config.policy.eval_episodes = 10  # while learning
  config.policy.final_episodes = 20  # of the final policy
  config.policy.checkpoint_every = 50_000  # environment steps
  config.policy.max_skipped = 1000  # as in finetune
  config.policy.check_replicas = True  # as in finetune
  # The encoder can continue to learn with the policy: from the task's videos and from the policy's
  # own episodes, filmed with and without the robot, with the losses of `finetune`. The replay then
  # gets new rewards (docs/results/online.md).
  config.policy.online = ConfigDict()
  config.policy.online.every = 0  # environment steps between two rounds of learning; 0: none
  reasons["policy.online.every"] = (
    "The encoder goes on learning from the policy's own episodes, which leave the expert's path; "
    "published as a wish."
  )
  config.policy.online.steps = 50  # updates in each round
  config.policy.online.learning_rate = 1e-4  # of all layers, constant
  config.policy.online.clips = 8  # further clips per batch from the policy's latest episodes
  config.policy.online.recent = 9  # number of these episodes
  # Most episodes that join the task's videos: those near the goal with the robot and without it.
  config.policy.online.best = 2
  # Weight of the contrast of goals against own frames that look like them while the object has not
  # moved in the film without the robot (arXiv:2410.19989); 0: none.
  config.policy.online.contrast = 0.0
  # Size in MB of the file with the policy's frames: enough for the demo's 128 pixels, where a step
  # of nine environments takes .9 MB for a view; at 480 pixels it takes 12. The replay holds only
  # transitions whose frames are in the file.
  config.policy.online.frames_mb = 4096

  config.reward = ConfigDict()
  config.reward.form = "difference"  # V' - V; or "discounted", "value", "progress"
  reasons["reward.form"] = (
    "The published reward is the plain change of the distance; this is another function of it."
  )
  config.reward.scale = 1.0
  reasons["reward.scale"] = (
    "The entropy temperature of SAC is in units of the reward; this sets their ratio."
  )
  config.reward.normalize = "none"  # or "first_frame"
  reasons["reward.normalize"] = (
    "Makes the channels weigh alike whatever distances the embedding spans."
  )
  # "goal": minus the distance to the goal; "path": how far along the videos a state is, less its
  # distance from them; "subgoal": the frame without the robot tells what is left of the object's
  # way, that with it what is left of the arm's to where the object next moves on; either is the
  # shortest to any frame of the videos, by distance, and from there on in time.
  config.reward.potential = "goal"
  reasons["reward.potential"] = (
    "The distance to the goal says little off the expert's path; which moment of the videos a "
    "state resembles, and how much, follows the progress there."
  )
  # For "path": weight of the distance, and temperature of the soft nearest neighbour; for
  # "subgoal": how far the object has to move on, how near its last frame it has arrived, and the
  # temperature among the frames without the robot. All in units of the first frame's distance to
  # the goal.
  config.reward.path_distance_weight = 1.5
  config.reward.path_temperature = 0.1
  config.reward.subgoal_move = 0.05
  config.reward.subgoal_rest = 0.01
  config.reward.subgoal_temperature = 0.01
  config.reward.goal_reduction = "mean"  # with several goal frames: distance to "mean" or "nearest"
  reasons["reward.goal_reduction"] = (
    "With several goal frames: the nearest one counts, where goals differ too much for a mean."
  )
  # s > 0: a distance x, in units of the first one with normalize = "first_frame", counts as
  # x (1 + s) / (x + s), which is 1 at 1 and less than 1 + s anywhere; 0: as it is.
  config.reward.saturation = 0.0
  reasons["reward.saturation"] = (
    "Distances are not bounded: a state unlike any video costs many times what the way to the goal "
    "earns, and teaches nothing about it."
  )
  # The goal, instead of the videos' last frames: "frame=N" of each (negative from the end), or
  # image or video files, with commas between them.
  config.reward.goal = ""
  config.reward.plain_weight = 1.0  # of the plain frame
  reasons["reward.plain_weight"] = (
    "How much the frame as it is counts beside the one without the robot."
  )
  config.reward.robot_free_weight = 0.0  # of the same frame drawn without the robot
  reasons["reward.robot_free_weight"] = (
    "The plain distance sees the arm and hardly the window: a policy that rests in the goal's "
    "pose beside a shut window is paid. The same frame drawn without the robot shows the window "
    "alone."
  )
  # "predicted": not drawn, but told by config.robot_free's encoders from the plain frame, as it can
  # be of a robot that nobody draws.
  config.reward.robot_free = "drawn"
  reasons["reward.robot_free"] = (
    "Only a simulator draws frames without the robot; an encoder can learn to look past it."
  )
  return config, reasons


def _view() -> ConfigDict:
  view = ConfigDict()
  view.camera = ""  # a camera of the scene by name; "" for a free camera
  view.lookat = config_dict.placeholder(tuple)  # the point in the picture's middle, metres
  view.azimuth = config_dict.placeholder(float)  # degrees around the vertical axis
  view.elevation = config_dict.placeholder(float)  # degrees, negative looks down
  view.distance = config_dict.placeholder(float)  # metres from lookat
  return view


def additions(config: ConfigDict) -> list[dict[str, Any]]:
  """Returns a config's additions as {"name", "value", "reason"}; [] for the published config."""
  (published, reasons), found = _declared(), []
  for name, reason in reasons.items():
    value, default = (_value(each, name) for each in (config, published))
    if value != default:
      found.append({"name": name, "value": value, "reason": reason})
  return found


def _value(config: ConfigDict, name: str) -> Any:
  for key in name.split("."):
    config = config[key]
  return tuple(config) if isinstance(config, list) else config
