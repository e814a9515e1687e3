"""Compares variants of the method over several seeds, at the demo's scale, on one page.

    python -m launch.pipeline --config=configs/ablation.py --workdir=runs/ablation

Every variant and seed is a run folder, runs/ablation/<variant>/seed<n>, with its own report.
Finished runs are not repeated, so that a finished ablation can get more seeds or variants:
--config.ablation.only="('all','triplet')" --config.ablation.seeds="(3,4)". Each seed records its
videos once. runs/ablation/ablation.html compares all runs in the folder.

Hardware: as configs/demo.py. Run time and results: docs/results/ablation.md.
"""

from ml_collections import ConfigDict

from configs import demo

# Common to all variants of the publication: no robot-free videos, VIP's uniform sampling, no TCC,
# and the published reward, which sees the plain frame.
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
  # Most variants are expected to perform worse.
  config.expect = ConfigDict()
  # At any task: composites are a variant of their own, and need the robot-free videos.
  config.finetune.composites.update({"fixed_arms": 0, "detours": 0})
  config.evaluate.attention_episodes = 2
  config.evaluate.off_path_episodes = 8
  config.evaluate.view_shift = 15.0

  config.ablation = ConfigDict()
  config.ablation.seeds = (0, 1, 2)
  config.ablation.only = ()  # the variants to run; (): all except `asked_for`
  # Run only if named: from_vip needs a GPU, the online ones belong to docs/results/online.md,
  # composites is newer than docs/results/ablation.md. The others vary *all* alone.
  config.ablation.asked_for = (
    "from_vip", "demo_online", "all_online", "composites", "all_discount_99", "all_discount_997",
    "all_expectile",
  )  # fmt: skip
  # Variants that train a policy, shown first; the others end with their evaluation.
  config.ablation.policies = (
    "plain", "augmentation_exp", "tcc_exp", "all", "demo", "from_scratch", "sampler_uniform",
    "all_robot_free_reward", "demo_online", "all_online", "all_discount_99", "all_discount_997",
    "all_expectile",
  )  # fmt: skip
  # The changes of each variant to this config, as key=JSON; later ones win.
  variants = config.ablation.variants = ConfigDict()

  # The four variants of the publication.
  variants.plain = _PLAIN
  variants.augmentation_exp = ("finetune.tcc.weight=0", *_ALL)
  variants.tcc_exp = ("record.robot_free=false", *_ALL)
  variants.all = _ALL

  # A difference reward pays 1 - discount of the potential at every step: at the demo's .97 that
  # favours a pose that is reached early.
  variants.all_discount_99 = (*_ALL, "policy.discount=0.99")
  variants.all_discount_997 = (*_ALL, "policy.discount=0.997")
  # Temporal distance in VIP's place; with encoder.init of the same kind (docs/results/mini.md).
  variants.all_expectile = (
    *_ALL, 'finetune.loss="expectile"', "finetune.expectile=0.7", "finetune.target_rate=0.02",
    "policy.discount=0.99",
  )  # fmt: skip

  # This package's demo, which also rewards the robot-free rendering.
  variants.demo = ()
  # The published encoder with our reward; below, our encoder with the published reward.
  variants.all_robot_free_reward = _EXP
  variants.sampler_uniform = (*_ALL, 'finetune.sampler.name="uniform"')
  variants.sampler_beta_2_2 = (*_ALL, *_BETA, "finetune.sampler.b=2")
  variants.sampler_beta_2_5 = (*_ALL, *_BETA, "finetune.sampler.b=5")
  variants.sampler_prioritised = (*_ALL, 'finetune.sampler.name="prioritised"')
  variants.composites = (
    *_ALL, 'finetune.sampler.name="uniform"', "finetune.composites.fixed_arms=2",
    "finetune.composites.detours=1",
  )  # fmt: skip
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
  # With equal steps, to show the effect of `mini`.
  variants.from_scratch = (
    'encoder.init="scratch"', "encoder.init_scale=10", "finetune.head_learning_rate=5e-3",
  )  # fmt: skip
  # The encoder continues to learn with the policy.
  variants.demo_online = ("policy.online.every=3000",)
  variants.all_online = (*_ALL, "policy.online.every=3000")
  variants.from_vip = (*_ALL, 'encoder.init="vip-resnet50"', "finetune.learning_rate=1e-4")
  return config
