"""A rollout's story through the real processes: a camera breaks, and it rolls back by itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.servers


def test_a_broken_camera_rolls_a_rollout_back_by_itself_and_humans_act(tmp_path: Path) -> None:
    told = tmp_path / "story.json"
    story = ["--story", "corrupted camera", "--quick", "--home", str(tmp_path / "home")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.story_rollout", *story, "--json", str(told)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    document = json.loads(told.read_text())
    happened = [(row["what"], row["who"]) for row in document["timeline"]]
    # One says yes before it leaves shadow, two before it leaves limited; the author is neither.
    assert [who for each, who in happened if each == "approved"] == ["ben", "ben", "cleo"]
    what = [each for each, _ in happened]
    assert what.index("a camera breaks") < what.index("rolled back")
    assert ("rolled back", "fieldwatch") in happened
    assert ("humans act again", "gateway") in happened
    # Seconds and counts depend on the machine; that it happened, and what is in the books, do not.
    soft = ("seconds", "wrong actions")
    firm = [bar for bar in document["bars"] if not any(word in bar["name"] for word in soft)]
    assert [bar["name"] for bar in firm if not bar["holds"]] == []
    assert len(firm) >= 5
