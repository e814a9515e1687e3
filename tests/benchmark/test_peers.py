"""Peers: found, started, timed, skipped with the reason."""

import os
import signal
import sys

import pytest

from vipjax.benchmark import peers
from vipjax.benchmark.bench import Bench

SETTINGS = {"num_envs": 1, "steps": 1, "size": 0}
METAWORLD = peers.PeerSpec("Meta-World", "metaworld_vector.metaworld", ("metaworld",), SETTINGS)
DYING = peers.PeerSpec("dying", "os._exit", ("os",), {"status": 3})


def test_a_python_is_chosen_by_what_it_has():
  assert peers.find_python(("json", "jax"), ["/no/such/python"]) == sys.executable
  assert peers.find_python(("json", "no_such_package"), []) is None


def test_what_cannot_run_is_skipped_with_the_reason():
  wrong = peers.PeerSpec("wrong", "metaworld_vector.metaworld", ("metaworld",), {"colour": 1})
  absent = peers.PeerSpec("absent", "x.y", ("no_such_package",), {})
  with peers.start([wrong, absent, DYING], []) as (running, skipped):
    assert running == {}
  assert "unexpected keyword argument 'colour'" in skipped["wrong"]
  assert "no Python has no_such_package" in skipped["absent"]
  assert skipped["dying"] == "its process ended with code 3"


def test_metaworld_is_stepped_beside_us():
  bench = Bench(repeats=2, peak_size=64)
  case = bench.compare("steps", "steps", 1, lambda: 1.0, [METAWORLD, DYING])
  assert list(case.seconds) == ["vipjax", "Meta-World"]
  assert len(case.seconds["Meta-World"]) == 2 and min(case.seconds["Meta-World"]) > 0
  assert case.memory_mb["Meta-World"] > 50  # its own process, which has loaded MuJoCo
  assert case.facts["peers"]["Meta-World"]["metaworld"]
  assert set(bench.skipped) == {"dying"}


def test_a_peer_that_dies_on_the_way_is_left_out(monkeypatch):
  bench = Bench(repeats=2, peak_size=64)
  calls = []

  def run_until_dead(peer):
    calls.append(peer)
    if len(calls) == 2:
      peer.close()
      raise peers.PeerFailed("Meta-World", "it died")
    return 1.0

  monkeypatch.setattr(peers.Peer, "__call__", run_until_dead)
  case = bench.compare("steps", "steps", 1, lambda: 1.0, [METAWORLD])
  assert list(case.seconds) == ["vipjax"] and len(case.seconds["vipjax"]) == 2
  assert bench.skipped == {"Meta-World": "it died"}


def test_a_dead_process_is_told_in_one_sentence():
  peer = peers.Peer(METAWORLD, sys.executable)
  try:
    os.kill(peer.process_id, signal.SIGKILL)
    with pytest.raises(peers.PeerFailed, match="ended with code -9"):
      peer()
  finally:
    peer.close()
