"""Soft actor-critic in pure JAX on the embedding reward."""

from vipjax.sac.actor_file import load_actor
from vipjax.sac.agent import SacSettings, SacState, init_agent, make_policy, make_update
from vipjax.sac.evaluation import evaluate, evaluate_policies
from vipjax.sac.rollout import LoopSettings, LoopState, init_loop, train_loop

__all__ = [
  "LoopSettings",
  "LoopState",
  "SacSettings",
  "SacState",
  "evaluate",
  "evaluate_policies",
  "init_agent",
  "init_loop",
  "load_actor",
  "make_policy",
  "make_update",
  "train_loop",
]
