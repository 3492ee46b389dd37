"""The reader of callgrind's files and the model of COST.md, on a profile small enough to add up by hand."""

import collections
import pathlib
import sys

import pytest

# Behind the tests' own modules, one of which has the name of one of the benchmark's.
sys.path.append(str(pathlib.Path(__file__).parents[2] / "bench"))

import callgrind  # noqa: E402
import cost_text  # noqa: E402

PROFILE = """\
positions: instr line
events: Ir

ob=(1) /x/ticklane
fl=(1) ???
fn=(1) ticklane::get
0x1000 0 10
+8 * 30
cob=(2) /lib/libc.so.6
cfi=(2) memcpy.c
cfn=(2) memcpy
calls=3 0x50
* * 60
cob=(1)
cfn=(3) rocksdb::Write
calls=1 0x2000
-8 * 140

fn=(3)
0x2000 0 100
cob=(2)
cfn=(2)
calls=1 0x50
+4 0 20
cob=(2)
cfn=(4) malloc
calls=2 0x90
+4 0 20

ob=(2)
fl=(2)
fn=(2)
0x50 7 80

fn=(4) malloc'2
0x90 7 20
totals: 240
"""


@pytest.fixture(name="profile")
def written_profile(tmp_path):
    """The profile above, read."""
    path = tmp_path / "callgrind.out"
    path.write_text(PROFILE)
    return callgrind.Profile(path)


class Sources(callgrind.Sources):
    """Knows without asking."""

    def __init__(self):
        super().__init__("", "/x/ticklane")
        self.known = {0x1000: "resp/request parse", 0x1008: "command/string get"}

    def resolve(self, profile):
        """Nothing to learn."""


def test_costs_count_for_the_place_and_libraries_for_their_callers(profile):
    stages = callgrind.by_stage(profile, Sources())
    # memcpy's 80 are divided 60 to 20, all of malloc's 20 belong to RocksDB.
    assert stages == {"parse": 10, "execute": 30 + 60, "commit": 100 + 20 + 20}
    assert sum(stages.values()) == sum(profile.costs.values()) == 240


def test_allocations_have_the_name_of_who_wanted_them(profile):
    assert callgrind.allocations(profile, Sources()) == {"RocksDB": 2}


def case(total, commands=100):
    """A case of one stage."""
    return cost_text.Case(commands, {"parse": total}, collections.Counter(), {"hops_sent": 0, "commits": 0})


def test_the_model_gives_back_what_it_was_made_from(tmp_path):
    # 300 for each command of another lane and 1,600 for each message.
    results = {("SET", pipeline, False): case(1000) for pipeline in (1, 16, 64)}
    results |= {("SET", pipeline, True): case(1300 + 1600 / pipeline) for pipeline in (1, 16, 64)}
    per_message, per_command = cost_text.hop_model(results, "SET")
    assert (round(per_message), round(per_command)) == (1600, 300)
    # Two lanes at P=16: half of the commands hop, with a message for each eight of them.
    assert cost_text.plain_cost(1000, (1600, 300), 2, 16) == 1000 + (300 + 200) / 2
    text = cost_text.render(results, 0, "a test")
    (tmp_path / "COST.md").write_text(text)
    assert cost_text.expected_share(tmp_path / "COST.md", "SET", 16, 2) == pytest.approx(1 / 1.25, abs=0.01)
    assert cost_text.expected_share(tmp_path / "COST.md", "INCR", 16, 2) is None
