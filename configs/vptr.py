"""V-PTR (arXiv:2309.13041), a baseline with robot data, and rewards of videos beside it.

    python -m launch.vptr --config=configs/vptr.py --workdir=runs/vptr

V-PTR has three phases: ICVF on the corpus's videos; conservative Q-learning (CQL) on robot data of
25 tasks; the same with the target's data mixed in. Beside it and its ablations stand rows that
learn a reward of the target's films, without actions, and act on it: configs/demo.py with changes.
All are given 1, 5 and 20 episodes of three tasks that are held out of phases 1 and 2. Each row and
seed is a run folder, runs/vptr/<task>_<episodes>/<row>/seed<n>; runs/vptr/vptr.html and table.md
compare all that are there and say what each was given. Finished runs are not repeated, and each
part can be had alone:

    --config.vptr.stages="('video',)" --config.vptr.only="('full','best_route')"
    --config.vptr.tasks="('window-open',)" --config.vptr.target_episodes="(20,)"

Only the one-hot vector of the tasks ties phase 2 to config.vptr.tasks: choose these before it. What
the rows are and what has been measured: docs/results/vptr.md.

V-PTR's encoder is frozen unless it is asked to learn with actor and critics, as in the publication,
whose frozen rows fail (VIP's frozen encoder: 0 of 48 trials): a frozen row that fails here says
little about V-PTR. An update with learning encoders embeds a batch's frames six times and goes back
through two of these, which is for a GPU (docs/results/vptr.md):

    --config.vptr.encoder_learns

Hardware: CPU, all cores, or a GPU.
"""

from ml_collections import ConfigDict

from configs import robot_data


def get_config() -> ConfigDict:
  config = robot_data.get_config()
  config.expect = ConfigDict()
  # Phase 1 learns from the whole corpus, of both controls; robot data are of config.env.control.
  config.corpus.controls = ("torque", "end_effector")
  config.encoder.name = "icvf"
  config.encoder.norm = "group"  # as V-PTR's, which has a target network
  config.env.horizon = 200

  # The agent: SAC's networks with V-PTR's numbers, but for the discount (.96 there, at 5 Hz).
  config.policy.batch_size = 64
  config.policy.discount = 0.99
  config.policy.learning_rate = 3e-4  # of critics and temperature
  config.policy.init_temperature = 1.0
  config.policy.target_entropy = -8.0  # minus the number of actions
  config.policy.normalize_observations = True  # by mean and deviation of the data, once
  config.policy.checkpoint_every = 10_000  # updates
  config.policy.final_episodes = 20

  vptr = config.vptr = ConfigDict()
  vptr.stages = ("video", "robot", "target", "reward")
  vptr.seeds = (0, 1, 2)
  # The targets, in place of config.env.task; what is chosen must be held out (config.corpus).
  vptr.tasks = ("window-open", "drawer-close", "faucet-close")
  # Of the expert at config.env.placement: with actions and success for V-PTR's rows, films alone
  # for the others.
  vptr.target_episodes = (1, 5, 20)
  # Phase 1's changes to this config.
  vptr.video = (
    'finetune.loss="icvf"', 'encoder.head="icvf"',
    # At the corpus's rates, made for VIP, the head's units die within 30 steps and every frame has
    # the same value. And a value can fall by one step at a turn of the target, 1 / target_rate
    # updates.
    "finetune.learning_rate=3e-4", "finetune.head_learning_rate=0.0", "finetune.target_rate=0.02",
  )  # fmt: skip
  # "": of phase 1; "scratch": fresh weights of config.encoder; or any argument of vipjax.load.
  vptr.encoder = ""
  # Data sets with actions (RLDS, LeRobot) or folders of launch.record; "": recorded in the run's.
  vptr.data = ""
  vptr.target_data = ""
  vptr.view = ""  # the data's camera, where there are several
  # First entries of the recorded state that the agent sees, beside the frame's embedding and the
  # task's one-hot vector: the hand's position and the gripper. With the object's, which follow, it
  # would not need the frame.
  vptr.state_entries = 4
  # A step is paid reward_scale x reward + reward_shift: -1, and +10 in a success's last three
  # steps, which end the episode. One that fails was cut off: the critics' target goes on there.
  vptr.reward_scale = 11.0
  vptr.reward_shift = -1.0
  vptr.encoder_learns = False  # True: actor and critics have an encoder each; see above
  # Frames then shift by so many pixels and change their colours: brightness, contrast, saturation
  # and hue of so many of them.
  vptr.crop_padding = 4
  vptr.colour_jitter = (0.2, 0.1, 0.1, 0.03)
  vptr.colour_share = 0.8
  vptr.action_limit = 0.99  # torques saturate; the log density of +-1 under a tanh is infinite

  vptr.robot_updates = 100_000  # phase 2; 0: phase 3 begins anew, with the target's data alone
  vptr.target_updates = 50_000  # phase 3
  vptr.target_share = 0.1  # of the target's data in the batches of phase 3
  vptr.samples = 4  # K, actions each of the uniform distribution, of the policy, and of the backup
  vptr.conservative_weight = 5.0  # alpha
  vptr.bound = True  # returns bound the Q-values of the policy's samples from below
  vptr.max_backup = True
  vptr.actor_learning_rate = 1e-4
  vptr.clone_updates = 0  # first updates in which the actor clones the data instead

  # The rows to run, (): all but those that run only if named.
  vptr.only = ()
  vptr.asked_for = ("full_online", "full_encoder_learns")
  # Then, for rows that ask for it, own episodes of so many, in rounds, with updates after each:
  # 360 of 200 steps are as many as the rows of rewards have at the window. They join the target's
  # data.
  vptr.online_episodes = 0
  vptr.online_round = 4
  vptr.online_updates = 200
  vptr.online_share = 0.5  # of the target's data and own episodes in these updates' batches

  # Changes of each row to this config, as key=JSON.
  rows = vptr.rows = ConfigDict()
  rows.full = ()
  rows.full_online = ("vptr.online_episodes=360",)
  rows.full_encoder_learns = ("vptr.encoder_learns=true",)
  rows.without_video = ('vptr.encoder="scratch"',)
  rows.without_robot_data = ("vptr.robot_updates=0",)
  rows.behaviour_cloning = ("vptr.clone_updates=1000000000",)
  rows.vip_encoder = ('vptr.encoder="mini"',)

  # Rows of a reward: changes to configs/demo.py, of all of them and of each. The environment is
  # this config's.
  vptr.route = ()
  rewards = vptr.rewards = ConfigDict()
  rewards.best_route = ()
  # As published, at the demo's size: the plain frame's distance to the goal, VIP with TCC, Exp(5).
  rewards.vip_route = (
    "reward.robot_free_weight=0.0", 'reward.potential="goal"', "reward.saturation=0.0",
    'policy.views=["front"]',
    'finetune.sampler.name="exponential"', "finetune.sampler.rate=5.0",
  )  # fmt: skip
  # HILP's form (arXiv:2402.15567): minus the distance of embeddings, by the expectile loss.
  rewards.hilp = ('finetune.loss="expectile"',)
  # ICVF as reward, from phase 1's encoder: what ViVa (arXiv:2503.18210) does. Only the goal's
  # distance is its value; the potential "subgoal" would compare embeddings.
  rewards.icvf = (
    'encoder.init=""', 'encoder.head="icvf"', 'finetune.loss="icvf"', 'reward.potential="goal"',
  )  # fmt: skip
  # The best route with the input of V-PTR's agent, which has to look where the object is.
  rewards.best_route_same_input = (
    'policy.input="frame"', "policy.normalize_observations=true",
  )  # fmt: skip
  # What only a simulator knows, paid as the others are: launch.ceiling's.
  rewards.ideal_potential = ('ceiling.reward="ideal"',)
  return config
