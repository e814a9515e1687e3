"""Soft actor-critic in pure JAX on the embedding reward."""

from vipjax.sac.actor_file import load_actor
from vipjax.sac.agent import SacSettings, SacState, init_agent, make_policy, make_update
from vipjax.sac.goals import make_reward, policy_views
from vipjax.sac.rollout import LoopSettings, LoopState, evaluate_policy, init_loop, learn
from vipjax.sac.train import agent_options, train_policy

__all__ = [
  "LoopSettings",
  "LoopState",
  "SacSettings",
  "SacState",
  "agent_options",
  "evaluate_policy",
  "init_agent",
  "init_loop",
  "learn",
  "load_actor",
  "make_policy",
  "make_reward",
  "make_update",
  "policy_views",
  "train_policy",
]
