"""Threads of the native engine: exceptions, forks, and who may use an engine when."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.engine.instances import Situation, random_instances
from tests.engine.runs import neutral
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine import Engine, make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import RequestTable

ROOT = Path(__file__).parents[2]
IN_A_CHILD = """
import os, zlib
from tests.engine.test_workers import batch
fleets, controls = batch(threads=2)
fleets.step(controls)  # the threads are there
child = os.fork()
fleets.step(controls)
digest = zlib.crc32(fleets.outcome.rows.tobytes()) % 97
if child == 0:
    os._exit(digest)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == digest)
"""


def batch(threads: int) -> tuple[Engine, Controls]:
    """Four fleets at the start of their episodes, and controls for them."""
    instances = random_instances(0, 4, Situation(load=4.0))
    fleets = make_engine("native", instances[0].arrays, len(instances), threads)
    for index, instance in enumerate(instances):
        fleets.reset(index, instance.episode)
    return fleets, Controls.stack([instance.controls[0] for instance in instances])


def test_the_workers_keep_their_promises(tmp_path: Path):
    program = tmp_path / "workers_test"
    source, headers = ROOT / "tests/engine/cpp/workers_test.cpp", ROOT / "envs/engine/cpp"
    command = [os.environ.get("CXX", "c++"), "-std=c++20", "-O1", "-pthread", f"-I{headers}", str(source)]
    subprocess.run([*command, "-o", str(program)], check=True, timeout=120)
    result = subprocess.run([str(program)], capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.returncode) == ("", 0)


def test_an_engine_with_threads_steps_in_a_forked_process_as_in_its_parent():
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_A_CHILD], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert result.stdout == "True\n", result.stderr


def test_an_engine_serves_one_caller_at_a_time():
    """A tick of a million requests runs without the GIL; whoever comes meanwhile is sent away, and harms nothing."""
    count = 1_000_000
    arrays = one_pool(tick_s=1e6, horizon_ticks=2)
    ones = np.ones(count, np.int32)
    episode = plain_episode(arrays, RequestTable.of(np.arange(count) * 0.5, ones, ones))
    assert any(_is_sent_away(arrays, episode) for _ in range(20)), "nobody came while a tick ran"


def _is_sent_away(arrays: FleetArrays, episode: Episode) -> bool:
    """Whether a look at the log meets a tick under way; on a busy machine the tick may be over too soon."""
    fleet = make_engine("native", arrays, 1)
    fleet.reset(0, episode)
    stepping = threading.Thread(target=fleet.step, args=(neutral(arrays),))
    stepping.start()
    refused = False
    while stepping.is_alive():
        try:
            fleet.request_log(0)
        except RuntimeError as error:
            refused = "in use by another thread" in str(error)
    stepping.join()
    assert fleet.outcome["arrived"].tolist() == [[len(episode.requests)]]
    return refused


@pytest.mark.parametrize("threads", [0, -1])
def test_an_engine_needs_a_thread(threads):
    with pytest.raises(SpecError, match="threads: must be at least 1"):
        make_engine("native", one_pool(), 1, threads)
