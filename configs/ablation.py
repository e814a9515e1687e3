"""Which parts of the method matter: variants x seeds, at the demo's scale, in one page.

    python -m launch.pipeline --config=configs/ablation.py --workdir=runs/ablation

Every variant and seed is a run folder, runs/ablation/<variant>/seed<n>, with its own report. What
is finished is never done again, so seeds or variants may be added to a finished ablation:
--config.ablation.only="('all','triplet')" --config.ablation.seeds="(3,4)". Videos are recorded once
for each seed. The comparison is runs/ablation/ablation.html, over all runs in the folder.

Hardware: as configs/demo.py. Run time and results: docs/results/ablation.md.
"""

from ml_collections import ConfigDict

from configs import demo

# What every variant of the publication's shares: no robot-free videos, VIP's own uniform sampling,
# no TCC, and the published reward, which sees the frame as it is.
_PLAIN = (
  "record.robot_free=false",
  'finetune.sampler.name="uniform"',
  "finetune.tcc.weight=0",
  "reward.robot_free_weight=0",
)
_EXP = ('finetune.sampler.name="exponential"', "finetune.sampler.rate=5")
_BETA = ('finetune.sampler.name="beta"', "finetune.sampler.a=2")
_ALL = ("reward.robot_free_weight=0", *_EXP)


def get_config() -> ConfigDict:
  config = demo.get_config()
  # Most variants are meant to fall short.
  config.expect = ConfigDict()
  config.evaluate.attention_episodes = 2
  config.evaluate.off_path_episodes = 8
  config.evaluate.view_shift = 15.0

  config.ablation = ConfigDict()
  config.ablation.seeds = (0, 1, 2)
  config.ablation.only = ()  # the variants to run; none named: all but those of `asked_for`
  # Run only if named: from_vip is too slow without a GPU, the others are docs/results/online.md's.
  config.ablation.asked_for = ("from_vip", "demo_online", "all_online")
  # Variants that are trained to a policy, shown first; the others end with their evaluation.
  config.ablation.policies = (
    "plain", "augmentation_exp", "tcc_exp", "all", "demo", "from_scratch", "sampler_uniform",
    "all_robot_free_reward", "demo_online", "all_online",
  )  # fmt: skip
  # What each changes of this config, as key=JSON; a later one wins.
  variants = config.ablation.variants = ConfigDict()

  # The publication's four.
  variants.plain = _PLAIN
  variants.augmentation_exp = ("finetune.tcc.weight=0", *_ALL)
  variants.tcc_exp = ("record.robot_free=false", *_ALL)
  variants.all = _ALL

  # Ours: what this package's demo does, which also rewards the robot-free rendering.
  variants.demo = ()
  # Between the two: the published encoder with our reward, and (below) ours with the published.
  variants.all_robot_free_reward = _EXP
  variants.sampler_uniform = (*_ALL, 'finetune.sampler.name="uniform"')
  variants.sampler_beta_2_2 = (*_ALL, *_BETA, "finetune.sampler.b=2")
  variants.sampler_beta_2_5 = (*_ALL, *_BETA, "finetune.sampler.b=5")
  variants.sampler_prioritised = (*_ALL, 'finetune.sampler.name="prioritised"')
  variants.triplet = (*_PLAIN, 'finetune.loss="triplet"')
  variants.triplet_all = (*_ALL, 'finetune.loss="triplet"')
  variants.cycles_20_of_4 = (
    *_ALL, "finetune.tcc.num_cycles=20", "finetune.tcc.videos_per_cycle=4",
  )  # fmt: skip
  variants.cycles_20_of_2 = (
    *_ALL, "finetune.tcc.num_cycles=20", "finetune.tcc.videos_per_cycle=2",
  )  # fmt: skip
  variants.cycles_80_of_3 = (
    *_ALL, "finetune.tcc.num_cycles=80", "finetune.tcc.videos_per_cycle=3",
  )  # fmt: skip
  # At equal steps, so that it says what `mini` is worth.
  variants.from_scratch = (
    'encoder.init="scratch"', "encoder.init_scale=10", "finetune.head_learning_rate=5e-3",
  )  # fmt: skip
  # The encoder learns on beside the policy.
  variants.demo_online = ("policy.online.every=3000",)
  variants.all_online = (*_ALL, "policy.online.every=3000")
  variants.from_vip = (*_ALL, 'encoder.init="vip-resnet50"', "finetune.learning_rate=1e-4")
  return config
