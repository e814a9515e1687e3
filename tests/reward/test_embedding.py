"""The reward: potentials of channels, their scale, and what difference it makes of them."""

import copy

import jax
import numpy as np
import pytest

from vipjax.encoder import Head
from vipjax.reward import EmbeddingReward, RewardSettings
from vipjax.reward.films import Subgoals, along_path, before_moving_on, by_subgoals, subgoals
from vipjax.runtime.errors import UserError


@pytest.fixture(scope="module")
def frames():
  return np.random.default_rng(0).integers(0, 256, (5, 2, 16, 16, 3), np.uint8)


def test_potential_is_minus_the_weighted_distance(value, frames):
  goals, firsts = [frames[0, 0], frames[1, 1]], [frames[2, 0], frames[2, 1]]
  reward = EmbeddingReward(value, goals, firsts, [1.0, 2.0])
  potential, distances = reward.potential(frames)
  for channel in range(2):
    expected = value.distance(frames[:, channel], goals[channel])
    np.testing.assert_allclose(distances[:, channel], expected, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(potential, -(distances[:, 0] + 2 * distances[:, 1]), rtol=1e-5)
  assert distances[0, 0] < 1e-4 and distances[1, 1] < 1e-4


@pytest.mark.parametrize("head", [Head("mrn"), Head("icvf", 0.9, (8,))], ids=lambda head: head.name)
def test_the_goal_is_as_far_as_the_head_says_and_the_path_as_the_embeddings(value, frames, head):
  made = value.with_head(head, jax.random.key(3))
  reward = EmbeddingReward(made, [frames[0, 0], frames[:2, 1]], None, [1.0, 2.0])
  potential, distances = reward.potential(frames)
  for channel, goal in enumerate((frames[0, 0], frames[:2, 1])):
    expected = made.distance(frames[:, channel], goal)
    np.testing.assert_allclose(distances[:, channel], expected, rtol=1e-3, atol=1e-4)
    assert np.abs(expected - value.distance(frames[:, channel], goal)).max() > 0.01
  np.testing.assert_allclose(potential, -(distances[:, 0] + 2 * distances[:, 1]), rtol=1e-5)
  # Units and distances along films.
  along = path_reward(made, frames)
  assert along.common[3].tolist() == path_reward(value, frames).common[3].tolist()
  first = along.potential(frames[:1])[1][0, 0]
  assert first == pytest.approx(value.distance(frames[:1, 0], frames[-1, 0])[0], rel=1e-4)


def test_normalized_by_the_first_frame_starts_at_minus_the_weights(value, frames):
  settings = RewardSettings(normalize="first_frame")
  goals, firsts = [frames[0, 0], frames[0, 1]], [frames[2, 0], frames[2, 1]]
  reward = EmbeddingReward(value, goals, firsts, [1.0, 2.0], settings)
  potential, _ = reward.potential(frames[[2, 0]])
  np.testing.assert_allclose(potential, [-3.0, 0.0], atol=1e-3)


@pytest.mark.parametrize(
  ("form", "expected"),
  [("difference", [2.0, -4.0]), ("discounted", [2.2, -3.0]), ("value", [-2.0, -10.0])],
)
def test_forms(value, frames, form, expected):
  settings = RewardSettings(form=form, discount=0.9, scale=2.0)
  reward = EmbeddingReward(value, [frames[0, 0]], [frames[1, 0]], [1.0], settings)
  before, after = np.array([-2.0, -3.0]), np.array([-1.0, -5.0])
  np.testing.assert_allclose(reward.reward(before, after), expected, rtol=1e-6)


def test_progress_is_paid_for_what_the_two_frames_show(value, frames):
  rng = np.random.default_rng(2)
  kernel = rng.normal(size=(8, 20))  # of the embeddings' difference
  head = {"kernel": 10 * np.concatenate([kernel, -kernel]), "bias": rng.normal(size=20)}
  head = {name: leaf.astype(np.float32) for name, leaf in head.items()}
  value = value.replace(variables={**value.variables, "progress": head})
  settings = RewardSettings(form="progress", scale=3.0)
  reward = EmbeddingReward(value, [frames[0, 0], frames[0, 1]], None, [1.0, 2.0], settings)
  assert (reward.state_shape, reward.telescopes) == ((2, 8), False)
  states, distances = reward.state(frames)
  assert states.shape == (5, 2, 8)
  plain = EmbeddingReward(value, [frames[0, 0], frames[0, 1]], None, [1.0, 2.0])
  np.testing.assert_allclose(distances, plain.potential(frames)[1], rtol=1e-4, atol=1e-4)
  paid = reward.reward(states[:-1], states[1:])
  parts = [value.progress(frames[:-1, channel], frames[1:, channel]) for channel in range(2)]
  np.testing.assert_allclose(paid, 3 * (parts[0] + 2 * parts[1]), rtol=1e-3, atol=1e-5)
  assert paid.dtype == np.float32 and np.abs(paid).max() > 0.1
  np.testing.assert_array_equal(reward.reward(states, states), 0.0)
  np.testing.assert_allclose(reward.reward(states[1:], states[:-1]), -paid, rtol=1e-5)
  # Another head pays otherwise.
  changed = {**head, "kernel": 2 * head["kernel"]}
  other = reward.with_value(value.replace(variables={**value.variables, "progress": changed}))
  assert np.abs(other.reward(states[:-1], states[1:]) - paid).max() > 0.01


def test_progress_needs_a_head(value, frames):
  with pytest.raises(UserError, match="expected an encoder with a progress head"):
    EmbeddingReward(value, [frames[0, 0]], None, [1.0], RewardSettings(form="progress"))


def test_differences_telescope(value, frames):
  reward = EmbeddingReward(value, [frames[0, 0]], [frames[1, 0]], [1.0])
  potential, _ = reward.potential(frames[:, :1])
  steps = reward.reward(potential[:-1], potential[1:])
  np.testing.assert_allclose(steps.sum(), potential[-1] - potential[0], rtol=1e-4)


def test_saturation_by_hand(value, frames):
  settings = RewardSettings(normalize="first_frame", saturation=0.5)
  goals, firsts = [frames[0, 0], frames[0, 1]], [frames[2, 0], frames[2, 1]]
  reward = EmbeddingReward(value, goals, firsts, [1.0, 2.0], settings)
  potential, distances = reward.potential(frames[[2, 0, 1]])
  # The first frame costs the weights and the goal nothing, as without saturation.
  np.testing.assert_allclose(potential[:2], [-3.0, 0.0], atol=1e-3)
  x = distances[2] / distances[0]
  expected = -(1.5 * x[0] / (x[0] + 0.5) + 2 * 1.5 * x[1] / (x[1] + 0.5))
  np.testing.assert_allclose(potential[2], expected, rtol=1e-5)


@pytest.mark.parametrize("normalize", ["none", "first_frame"])
def test_a_saturated_potential_is_bounded_and_telescopes(value, frames, normalize):
  settings = RewardSettings(normalize=normalize, saturation=1e-3)
  reward = EmbeddingReward(value, [frames[0, 0]], [frames[1, 0]], [2.0], settings)
  potential, _ = reward.potential(frames[:, :1])
  # Far beyond s any distance costs nearly the same: weight (1 + s).
  assert (potential > -2.002).all() and (potential[1:] < -1.9).all()
  steps = reward.reward(potential[:-1], potential[1:])
  np.testing.assert_allclose(steps.sum(), potential[-1] - potential[0], rtol=1e-4)
  with pytest.raises(UserError, match=r"config\.reward\.saturation of at least 0"):
    RewardSettings(saturation=-1.0)


@pytest.mark.parametrize("reduction", ["mean", "nearest"])
def test_several_goals(value, frames, reduction):
  stack = frames[:3, 0]
  reward = EmbeddingReward(
    value, [stack], [frames[4, 0]], [1.0], RewardSettings(goal_reduction=reduction)
  )
  potential, _ = reward.potential(frames[:, :1])
  expected = value.distance(frames[:, 0], stack, reduction)
  np.testing.assert_allclose(-potential, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ("settings", "sentence"),
  [
    ({"form": "delta"}, "form among difference, discounted, value, progress, got 'delta'"),
    ({"goal_reduction": "best"}, "goal_reduction among mean, nearest, got 'best'"),
    ({"normalize": "max"}, "normalize among none, first_frame, got 'max'"),
    ({"scale": 0.0}, "scale above 0, got 0.0"),
  ],
)
def test_bad_settings_are_one_sentence(settings, sentence):
  with pytest.raises(UserError, match=sentence):
    RewardSettings(**settings)


def test_bad_channels_are_one_sentence(value, frames):
  with pytest.raises(UserError, match="at least one channel, got 0, 0 and 0"):
    EmbeddingReward(value, [], [], [])
  with pytest.raises(UserError, match="weights >= 0"):
    EmbeddingReward(value, [frames[0, 0]], [frames[1, 0]], [-1.0])
  same = RewardSettings(normalize="first_frame")
  with pytest.raises(UserError, match="at a distance from their goal"):
    EmbeddingReward(value, [frames[0, 0]], [frames[0, 0]], [1.0], same)
  reward = EmbeddingReward(value, [frames[0, 0]], [frames[1, 0]], [1.0])
  with pytest.raises(UserError, match=r"frames \[N, 1, H, W, 3\]"):
    reward.potential(frames)


def test_the_place_along_a_path_by_hand():
  distances = np.array([[0.0, 2.0, 4.0], [1.0, 1.0, 9.0]], np.float32)
  places = np.array([0.0, 0.5, 1.0], np.float32)
  found = along_path(distances, places, 3.0, 2.0)
  weights = np.exp([0.0, -1.0, -2.0]) / np.exp([0.0, -1.0, -2.0]).sum()
  # The second state is as far from two frames, and almost infinitely far from the third.
  second = np.exp([-0.5, -0.5, -4.5]) / np.exp([-0.5, -0.5, -4.5]).sum()
  expected = [weights @ places - 0.0, second @ places - 3.0]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def path_reward(value, frames, weights=(1.0, 2.0), **settings):
  """Along the frames as one film of two channels."""
  settings = RewardSettings(normalize="first_frame", potential="path", **settings)
  films = [[frames[:, 0]], [frames[:, 1]]]
  return EmbeddingReward(
    value, list(frames[-1]), list(frames[0]), list(weights), settings, films=films
  )


def test_the_path_rises_by_the_weights_along_its_films(value, frames):
  reward = path_reward(value, frames, path_temperature=0.01)
  potential, distances = reward.potential(frames)
  np.testing.assert_allclose(potential, 3 * np.linspace(0, 1, 5), atol=0.02)
  expected = value.distance(frames[:, 1], frames[-1, 1])
  np.testing.assert_allclose(distances[:, 1], expected, rtol=1e-4, atol=1e-4)
  assert reward.telescopes and reward.state_shape == ()


def test_the_arm_of_one_moment_beside_the_object_of_another_is_far_from_the_path(value, frames):
  # The last picture of the arm, the first of the object: each alone lies on the path.
  hacked = np.stack([frames[-1, 0], frames[0, 1]])[None]
  reward = path_reward(value, frames, path_distance_weight=3.0)
  away = [
    np.stack([value.distance(hacked[:, c], frame[c]) for frame in frames], axis=1)[0]
    / value.distance(frames[:1, c], frames[-1, c])
    for c in range(2)
  ]
  joint = (away[0] + 2 * away[1]) / 3
  place = np.exp(-joint / 0.1) / np.exp(-joint / 0.1).sum() @ np.linspace(0, 1, 5)
  expected = 3 * (place - 3 * joint.min())
  np.testing.assert_allclose(reward.potential(hacked)[0], [expected], rtol=1e-3)
  assert joint.min() > 0.1 and expected < 0


def test_the_path_of_another_value_and_of_a_copy(value, frames):
  reward = path_reward(value, frames, saturation=0.5)
  potential = reward.potential(frames)[0]
  np.testing.assert_array_equal(copy.deepcopy(reward).potential(frames)[0], potential)

  # Another network: one that is only scaled has the same path, in units of its own.
  def bent(leaf):
    return leaf + 0.3 * np.sin(np.arange(leaf.size, dtype=np.float32)).reshape(leaf.shape)

  other = value.replace(variables=jax.tree.map(bent, value.variables))
  again = path_reward(other, frames, saturation=0.5).potential(frames[::-1])[0]
  found = reward.with_value(other).potential(frames[::-1])[0]
  np.testing.assert_allclose(found, again, rtol=1e-5, atol=1e-6)
  states = np.random.default_rng(3).integers(0, 256, (4, 2, 16, 16, 3), np.uint8)
  moved = reward.with_value(other).potential(states)[0] - reward.potential(states)[0]
  assert np.abs(moved).max() > 0.01


@pytest.mark.parametrize("films", [None, [[1]], [[1], []], [[1], [2]]])
def test_films_of_other_episodes_are_refused(value, frames, films):
  settings = RewardSettings(normalize="first_frame", potential="path")
  made = films and [[frames[: 2 + n, 0] for n in each] for each in films]
  with pytest.raises(UserError, match="expected for the reward's potential 'path' films"):
    EmbeddingReward(value, list(frames[-1]), list(frames[0]), [1.0, 2.0], settings, films=made)


def test_the_path_needs_the_unit_of_the_first_frame():
  with pytest.raises(UserError, match="expected reward normalize 'first_frame'"):
    RewardSettings(potential="path")


def test_the_last_frame_before_the_object_moves_on_by_hand():
  film = np.array([[0.0], [0.0], [0.02], [0.2], [0.22], [1.0]])
  assert before_moving_on(film, 0.05).tolist() == [2, 2, 2, 4, 4, 5]
  assert before_moving_on(film, 2.0).tolist() == [5] * 6


@pytest.fixture(scope="module")
def grasped(frames):
  """A film [7, 2, 16, 16, 3]: an arm that moves on, beside an object at rest in frames 0-2, 4-5."""
  arm = np.random.default_rng(4).integers(0, 256, (7, 16, 16, 3), np.uint8)
  scene = frames[[0, 0, 0, 1, 2, 2, 3], 1]
  return np.stack([arm, scene], axis=1)


def subgoal_reward(value, film, **settings):
  settings = {"subgoal_temperature": 1e-3, **settings}
  settings = RewardSettings(normalize="first_frame", potential="subgoal", **settings)
  return EmbeddingReward(
    value, list(film[-1]), list(film[0]), [1.0, 2.0], settings,
    films=[[film[:, 0]], [film[:, 1]]], robot_visible=[True, False],
  )  # fmt: skip


def test_subgoals_by_hand(value, grasped):
  arm, scene = value.embed(grasped[:, 0]), value.embed(grasped[:, 1])

  def away(one, other):
    return np.linalg.norm(one - other, axis=-1)

  # The object's states end at frames 2, 3, 5 and 6, and four frames' time is left from its first
  # move on; within a state the frames without the robot are the same, and so is what is left after
  # its last one.
  subgoals, left = [2, 2, 2, 3, 5, 5, 6], np.array([4, 4, 4, 3, 1, 1, 0]) / 4
  # Arms in units of the longest way to a subgoal, from where it begins; that takes two frames. A
  # film's own arm is never farther from a subgoal than the time it takes to get there.
  unit = max(away(arm[0], arm[2]), away(arm[4], arm[5]))
  arms = np.minimum(away(arm, arm[subgoals]) / unit, np.array([2, 1, 0, 0, 1, 0, 0]) / 2)
  assert (away(arm[1], arm[2]) / unit > 0.6) and arms[1] == 0.5
  # Where the goal, or a later frame, is nearer than the time that is left, that is the way.
  shortcuts = away(scene[:, None], scene[None]) / away(scene[0], scene[-1])
  ways = np.min(shortcuts + left, axis=1)
  assert (ways < left - 0.1).any() and (ways[:3] > 0.8).all()
  found = subgoal_reward(value, grasped).potential(grasped)[0]
  np.testing.assert_allclose(found, -ways * arms - 2 * ways, rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(found[-1], 0, atol=1e-3)


def test_an_object_at_rest_at_the_end_has_arrived(value, grasped):
  """Frames that a film goes on for are no way to go, and where the arm is then costs nothing."""
  held = np.stack([grasped[:3, 0], np.repeat(grasped[-1:, 1], 3, axis=0)], axis=1)
  longer = subgoal_reward(value, np.concatenate([grasped, held]))
  expected = subgoal_reward(value, grasped).potential(grasped)[0]
  np.testing.assert_allclose(longer.potential(grasped)[0], expected, atol=2e-3)
  assert np.abs(longer.potential(held)[0]).max() < 0.01


def ways_to_subgoals(known):
  """The frames on each frame's way to its subgoal, the last ones."""
  return [known.way[known.of_way == way].tolist() for way in known.next_way]


def alone(to_go):
  """Films of which every frame is its own subgoal."""
  every = np.arange(len(to_go), dtype=np.int32)
  return Subgoals((), np.asarray(to_go), every, 0.0 * every, every, every, ())


def test_subgoals_of_a_film_that_goes_on_by_hand():
  """The object moves from frame 1 to 4; the arm's last subgoal is where it arrives."""
  scene, arm = [0, 0, 0.5, 0.97, 1, 1], [0, 1, 2, 3, 4, 9]
  film = np.stack([arm, scene], axis=1).astype(np.float32)[:, :, None]
  free, starts = np.array([False, True]), np.ones(2)
  found = subgoals(film, [6], free, starts, move=0.05, rest=0.01)
  assert ways_to_subgoals(found) == [[0, 1], [0, 1], [2], [3, 4], [3, 4], [5]]
  assert found.wait.tolist() == [1, 0, 0, 1, 0, 0] and found.units.tolist() == [1, 1]
  np.testing.assert_allclose(found.to_go, [1, 1, 2 / 3, 1 / 3, 0, 0], rtol=1e-6)
  both = subgoals(np.concatenate([film, film]), [6, 6], free, starts, move=0.05, rest=0.01)
  assert ways_to_subgoals(both)[6:] == [[6, 7], [6, 7], [8], [9, 10], [9, 10], [11]]
  still = film * [[1.0], [0.005]]
  with pytest.raises(UserError, match="expected films whose object moves"):
    subgoals(np.concatenate([film, still]), [6, 6], free, starts, move=0.05, rest=0.01)


def test_an_object_that_moves_by_itself_at_first_by_hand():
  """A door that falls open a little: the arm's unit is its way to the handle, not its first."""
  scene, arm = [0, 0.1, 0.1, 0.1, 0.6, 1], [0, 0, 1, 3, 4, 5]
  film = np.stack([arm, scene], axis=1).astype(np.float32)[:, :, None]
  free, starts = np.array([False, True]), np.ones(2)
  found = subgoals(film, [6], free, starts, move=0.05, rest=0.01)
  assert ways_to_subgoals(found) == [[0], [1, 2, 3], [1, 2, 3], [1, 2, 3], [4], [5]]
  assert found.wait.tolist() == [0, 1, 0.5, 0, 0, 0] and found.units.tolist() == [3, 1]
  np.testing.assert_allclose(found.to_go, [1, 0.8, 0.6, 0.4, 0.2, 0], rtol=1e-6)
  idle = film * [[0.0], [1.0]]
  with pytest.raises(UserError, match="expected films whose arm moves before the object"):
    subgoals(idle, [6], free, starts, move=0.05, rest=0.01)


def test_an_arm_counts_as_much_as_the_object_has_to_go_by_hand():
  # Two film frames, the first state at the one, the second a way off the other.
  found = by_subgoals(
    np.array([[0, 9.0], [9, 0.5]]), np.array([[2, 7.0], [7, 3]]), alone([1, 0.25]), 2.0, 0.01
  )
  np.testing.assert_allclose(found, [-(2 + 2) * 1, -(2 + 3) * (0.25 + 0.5)], rtol=1e-6)


def test_a_way_that_no_film_shows_is_paid_by_hand():
  """Films go from 0 to 1 by a detour; the nearest frame is the first until the last one is."""
  away = np.array([[0, 0.3, 0.6], [0.5, 0.7, 0.9], [1, 0.7, 0.4]])  # of three states to each frame
  found = by_subgoals(away, np.zeros_like(away), alone([1, 0.5, 0]), 2.0, 0.001)
  np.testing.assert_allclose(found, -2 * np.array([1, 0.7, 0.4]), rtol=1e-6)


def test_an_arm_on_its_way_has_the_time_left_by_hand():
  """Three frames to the first subgoal, of which the second is far from it; one to the second."""
  known = Subgoals(
    frames=(), to_go=np.array([1, 1, 1, 0]), way=np.array([0, 1, 2, 3]),
    wait=np.array([1, 0.5, 0, 0]), of_way=np.array([0, 0, 0, 1]), next_way=np.array([0, 0, 0, 1]),
    units=(),
  )  # fmt: skip
  object_away = np.array([[0, 0], [0, 0], [0, 0], [9, 9]])
  arm_away = np.array([[0.9, 3], [0.1, 3], [1.4, 0.2], [0, 0]])  # the last frame is no way there
  found = by_subgoals(object_away, arm_away, known, 2.0, 0.01)
  np.testing.assert_allclose(found, [-2 - 0.6, -2 - 0.2], rtol=1e-6)


def test_the_pose_of_the_end_beside_an_unmoved_object_is_not_paid(value, grasped):
  hacked = np.stack([grasped[-1, 0], grasped[0, 1]])[None]
  touching = grasped[2:3]
  reward = subgoal_reward(value, grasped)
  assert reward.potential(hacked)[0] < reward.potential(touching)[0] - 0.1
  settings = RewardSettings(normalize="first_frame")
  goal = EmbeddingReward(value, list(grasped[-1]), list(grasped[0]), [1.0, 2.0], settings)
  assert goal.potential(hacked)[0] > goal.potential(touching)[0]
  copied = copy.deepcopy(reward).potential(hacked)[0]
  np.testing.assert_array_equal(copied, reward.potential(hacked)[0])


def test_subgoals_need_both_pictures_and_an_arm_that_moves(value, grasped):
  settings = RewardSettings(normalize="first_frame", potential="subgoal")
  films = [[grasped[:, 0]], [grasped[:, 1]]]
  for visible in (None, [False, False]):
    with pytest.raises(UserError, match="expected channels with the robot and channels without it"):
      EmbeddingReward(
        value, list(grasped[-1]), list(grasped[0]), [1.0, 2.0], settings, films=films,
        robot_visible=visible,
      )  # fmt: skip
  at_once = grasped[[0, 3, 6]]
  with pytest.raises(UserError, match="expected films whose arm moves before the object does"):
    subgoal_reward(value, at_once)


def predicted(value, past, frames, **options):
  """Two views, each with a channel with the robot and one without it."""
  goals = [frames[0, 0], frames[1, 0], frames[0, 1], frames[1, 1]]
  return EmbeddingReward(
    value, goals, goals[::-1], [1.0, 2.0, 3.0, 4.0], robot_visible=[True, False] * 2,
    robot_free=past, pictures=[0, 0, 1, 1], **options,
  )  # fmt: skip


def test_channels_without_the_robot_may_be_seen_in_the_pictures_with_it(value, frames):
  past = value.replace(variables=jax.tree.map(lambda x: 1.5 * x, value.variables))
  reward = predicted(value, [past], frames)
  assert reward.num_channels == 2
  potential, distances = reward.potential(frames)
  assert distances.shape == (5, 4)
  for channel, (sees, view, goal) in enumerate(
    [(value, 0, frames[0, 0]), (past, 0, frames[1, 0]), (value, 1, frames[0, 1]),
     (past, 1, frames[1, 1])]
  ):  # fmt: skip
    expected = np.linalg.norm(sees.embed(frames[:, view]) - value.embed(goal[None]), axis=-1)
    np.testing.assert_allclose(distances[:, channel], expected, rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(potential, -distances @ [1.0, 2.0, 3.0, 4.0], rtol=1e-4)
  np.testing.assert_allclose(copy.deepcopy(reward).potential(frames)[0], potential, rtol=1e-6)
  state, _ = reward.in_program()
  np.testing.assert_allclose(state(reward.common, frames)[0], potential, rtol=1e-4)


def test_of_several_encoders_the_one_counts_by_which_least_is_done(value, frames):
  # Another whose embeddings are the first one's, reflected at their mean.
  params = value.variables["params"]
  middle = value.embed(frames.reshape(-1, 16, 16, 3)).mean(axis=0)
  fc = {"kernel": -params["fc"]["kernel"], "bias": 2 * middle - params["fc"]["bias"]}
  past = [value, value.replace(variables={**value.variables, "params": {**params, "fc": fc}})]
  alone = [predicted(value, [each], frames).potential(frames) for each in past]
  potential, distances = predicted(value, past, frames).potential(frames)
  least = np.argmin([each[0] for each in alone], axis=0)
  assert set(least) == {0, 1}
  for state, member in enumerate(least):
    assert potential[state] == pytest.approx(alone[member][0][state], rel=1e-5)
    np.testing.assert_allclose(distances[state], alone[member][1][state], rtol=1e-4, atol=1e-4)


def test_without_a_channel_that_shows_the_robot_only_the_other_encoder_looks(value, frames):
  past = value.replace(variables=jax.tree.map(lambda x: 1.5 * x, value.variables))
  reward = EmbeddingReward(
    value, [frames[0, 0]], None, [1.0], robot_visible=[False], robot_free=[past], pictures=[0]
  )
  expected = np.linalg.norm(past.embed(frames[:, 0]) - value.embed(frames[:1, 0]), axis=-1)
  np.testing.assert_allclose(reward.potential(frames[:, :1])[1][:, 0], expected, rtol=1e-3)
