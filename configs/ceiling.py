"""How far a perfect reward brings SAC at ten tasks: the ceiling of every reward from pictures.

    python -m launch.ceiling --config=configs/ceiling.py --workdir=runs/ceiling

Every run is a run folder, runs/ceiling/<reward>/<control>/<task>/seed<n>; ceiling.html and table.md
tell of all that are there. Finished runs are not repeated, so that a folder can get more of them:
--config.ceiling.tasks="('door-open',)" --config.ceiling.controls="('torque',)"
--config.ceiling.seeds="(3,)". With --config.policy.seeds=3 a run trains three, from its seed on, in
one process: --config.ceiling.seeds="(0,)".

Hardware: CPU, all cores, a run on each; nothing is drawn. Run time and results:
docs/results/ceiling.md.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
  config = demo.get_config()
  config.expect = ConfigDict()
  config.env.horizon = 200  # of every task alike
  config.policy.steps = 100_000
  config.policy.eval_every = 5000
  config.policy.checkpoint_every = 25_000

  config.ceiling = ConfigDict()
  # "ideal": -(hand_weight x hand to object + object_weight x object to target) per metre, in the
  # embedding reward's place. "dense": Meta-World's shaped reward times dense_scale.
  config.ceiling.rewards = ("ideal", "dense")
  config.ceiling.controls = ("torque", "end_effector")  # torque: where the scripted expert can
  config.ceiling.tasks = (
    "window-open", "window-close", "door-open", "door-close", "drawer-open", "drawer-close",
    "faucet-close", "button-press-wall", "plate-slide-back", "handle-pull-side",
  )  # fmt: skip
  config.ceiling.seeds = (0, 1, 2)
  config.ceiling.hand_weight = 2.0
  config.ceiling.object_weight = 10.0
  config.ceiling.dense_scale = 1.0
  return config
