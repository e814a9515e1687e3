"""Temporal distance by expectile regression, on the same clips as VIP's and on any videos."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vipjax.losses import checks
from vipjax.losses.icvf import icvf_loss
from vipjax.losses.vip import Distance, l2_distance


def expectile_loss(
  embeddings: jax.Array,
  targets: jax.Array,
  videos: jax.Array,
  indices: jax.Array,
  permutations: jax.Array,
  discount: float = 0.98,
  expectile: float = 0.9,
  distance: Distance = l2_distance,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Asks distances to goals to be the discounted numbers of steps that the best videos take.

  With V(s, g) = -||phi(s) - phi(g)||, or minus another distance, it is `icvf_loss` with the goal as
  outcome and intent, the form of HILP (arXiv:2402.15567). A distance d stands for
  log(1 - (1 - discount) d) / log(discount) steps and stays below 1 / (1 - discount), which is a
  goal that is never reached.
  VIP's dual has to believe that a video goes to its goal; here a step that leads away weighs less,
  so that failures and random motion may teach, too. It has two terms, each a mean:

  - own: each clip's goal. Its steps are the one from o_t to o_t+1, and those from o_0 to o_t+1 as
    one, whose return reaches farther back than the target would in a short run;
  - others, when M > 0: the same steps of a permuted clip for the goal of a row, M B pairs. Only the
    target tells how far the goals of other videos are.

  Args:
    embeddings: floats [B, 4, D], of the frames o_0, g, o_t, o_t+1 of each clip.
    targets: floats [B, 4, D], of the same frames by the target; no gradient.
    videos: integers [B], the video of each clip; clips may share one.
    indices: integers [B, 4], where the frames lie in it.
    permutations: integers [M, B] in [0, B), the shuffles that make pairs with other goals; M may be
      0.
    discount: gamma, in [0, 1].
    expectile: between 0 and 1, see `icvf_loss`.
    distance: of embeddings to goals.

  Returns:
    The loss, a float scalar, and scalars by name: `expectile_loss`, `expectile_own`,
    `expectile_others` (0 when M = 0), `expectile_accepted` (share of own steps that get nearer, by
    the target), `expectile_distance` (mean distance of o_0 to g) and `expectile_distance_others`
    (of o_0 to the goals of others; 0 when M = 0).

  Raises:
    UserError: a wrong rank, shape or dtype, or a permutation indexes past the batch.
  """
  embeddings = checks.float_array("embeddings", embeddings, "[B, 4, D]", (None, 4, None))
  targets = checks.float_array("targets", targets, "[B, 4, D]", (len(embeddings), 4, None))
  batch = len(embeddings)
  indices = checks.number_array("indices", indices, "[B, 4]", (batch, 4))
  videos = checks.number_array("videos", videos, "[B]", (batch,))

  def pairs(shuffles):
    """What `icvf_loss` takes of the steps of shuffled clips for the goals of their rows."""

    def distances(frames, place):
      return distance(frames[shuffles, place], frames[None, :, 1])

    def both(of_current, of_first):
      return jnp.stack([of_current, of_first]).reshape(1, -1)

    following = -distances(targets, 3)
    following = both(following, following)
    is_goal = both(*(
      (videos[shuffles] == videos[None]) & (indices[shuffles, place] == indices[None, :, 1])
      for place in (2, 0)
    ))[0]  # fmt: skip
    first = distances(embeddings, 0)
    steps = both(*(indices[shuffles, 3] - indices[shuffles, place] for place in (2, 0)))[0]
    loss, metrics = icvf_loss(
      both(-distances(embeddings, 2), -first),
      following,
      following,
      both(*(-distances(targets, place) for place in (2, 0))),
      is_goal,
      is_goal,
      discount,
      expectile,
      steps,
    )
    return loss, metrics["icvf_accepted"], jnp.mean(first)

  own, accepted, away = pairs(jnp.arange(batch)[None])
  others = distance_others = jnp.zeros_like(own)
  if jnp.shape(permutations) != (0, batch):
    shuffles = checks.index_array("permutations", permutations, "[M, B]", (None, batch), batch)
    others, _, distance_others = pairs(shuffles)
  loss = own + others
  return loss, {
    "expectile_loss": loss,
    "expectile_own": own,
    "expectile_others": others,
    "expectile_accepted": accepted,
    "expectile_distance": away,
    "expectile_distance_others": distance_others,
  }
