"""Episodes by hand: the embedding with the robot is its hand, without it the window."""

import numpy as np
import pytest

from vipjax.sac.own_episodes import Expert, in_order, judge

# The hand goes to the handle, at 4, while the window is shut, and opens it on the way to 10.
HAND = np.array([0.0, 2, 4, 6, 8, 10])[:, None]
WINDOW = np.array([0.0, 0, 0, 3, 7, 10])[:, None]
EXPERTS = [Expert(True, [HAND]), Expert(False, [WINDOW])]


def episode(hand, window):
  return [np.array(each, float)[:, None] for each in (hand, window)]


def test_one_that_opens_the_window_on_the_way_reached_the_goal():
  verdict = judge(episode([0, 1, 3, 5, 8, 9, 5], [0, 0, 0, 2, 6, 8, 8]), EXPERTS)
  assert verdict.reached == pytest.approx(0.8) and verdict.peak == 5
  np.testing.assert_allclose(verdict.plain, [0, 0.1, 0.3, 0.5, 0.8, 0.9, 0.5])
  assert len(verdict.failures) == 0


def test_one_that_mimes_it_is_a_failure_where_its_value_is_high():
  verdict = judge(episode([0, 4, 10, 5, 6, 9, 9], [0, 0, 0, 0, 0, 2, 2]), EXPERTS)
  assert verdict.reached == 0
  # The expert's own gain with the window shut, or nearly, is up to .53.
  assert list(verdict.failures) == [2, 5, 6, 4]


def test_one_on_the_way_or_half_done_is_neither():
  # At the handle, as the expert with the window shut; then with the window a third open.
  for hand, window in (([0, 2, 4, 4], [0, 0, 0, 0]), ([0, 4, 8, 9], [0, 0, 3, 3])):
    verdict = judge(episode(hand, window), EXPERTS)
    assert verdict.reached == 0 and len(verdict.failures) == 0


def test_what_the_expert_shows_before_contact_is_no_failure():
  near = [Expert(True, [np.array([0.0, 4, 7, 8, 9, 10])[:, None]]), EXPERTS[1]]
  # At .7 the expert's window is shut as well, at .8 it is open by .3.
  verdict = judge(episode([0, 7, 8], [0, 0, 0]), near)
  assert list(verdict.failures) == [2]


def test_one_that_ends_right_by_another_order_is_neither():
  # From the expert's start it jumps to the end, goes all the way back, and jumps to the goal.
  ring = np.exp(2j * np.pi * np.linspace(0, 0.5, 16))
  film = np.stack([ring.real, ring.imag], axis=-1)
  experts = [Expert(True, [film]), Expert(False, [film])]
  assert judge([film, film], experts).reached == pytest.approx(1.0)
  other = judge([np.concatenate([film[:1], film[-2:0:-1], film[-1:]])] * 2, experts)
  assert other.reached == 0 and len(other.failures) == 0


def test_order_by_hand():
  film = np.arange(3.0)[:, None]
  assert in_order(film, np.array([[0.0], [1.0], [2.0]])) == 1.0
  assert in_order(film, np.array([[2.0], [1.0], [0.0]])) == -1.0
  assert in_order(film, np.array([[5.0], [9.0]])) == 0.0  # one state is the nearest to all
  assert in_order(film, np.array([[0.0], [2.0], [1.0]])) == pytest.approx(1 / 3)


def test_where_the_expert_gains_nothing_without_the_robot_nobody_is_judged():
  blind = [EXPERTS[0], Expert(False, [np.zeros((6, 1))])]
  for hand in ([0, 4, 10], [0, 6, 10]):
    verdict = judge(episode(hand, [0, 0, 0]), blind)
    assert verdict.reached == 0 and len(verdict.failures) == 0


def test_several_films_and_views_count_as_their_mean():
  # The second film's goal is at 8: the goal is 9, and the experts gain 8.5 in the mean.
  experts = [
    Expert(True, [HAND, 0.8 * HAND]), Expert(True, [HAND]),
    Expert(False, [WINDOW]), Expert(False, [WINDOW]),
  ]  # fmt: skip
  hand, window = episode([0, 5, 9], [0, 4, 8])
  verdict = judge([hand, hand, window, window / 2], experts)
  # Distances to 9 are 9, 4, 0; the experts' 9 - 1 and 9 - 1: gains of 5 / 8 and 9 / 8.
  np.testing.assert_allclose(verdict.plain, [0, (5 / 8 + 0.5) / 2, (9 / 8 + 0.9) / 2])
  assert verdict.reached == pytest.approx((0.8 + 0.4) / 2)
