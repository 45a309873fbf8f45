"""Release N+1 of the upgrade test can be made from this checkout. A change whose text is gone fails and names the file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.upgrade.next_release import ChangeFailed, change, make_next_release
from tests.upgrade.release import copy_of_checkout, install

FACTS = """
from ninezero.agents.logic.policy.rules import RULES
from ninezero.schemas import formats
from ninezero.schemas.events import Person
from ninezero.schemas.rows import DeadLetterRow
from ninezero.streams.clickhouse.migrations import migrations
print(formats.DECISIONS.readable, formats.DECISIONS.written, "fever_in_lane" in RULES, "lane" in Person.__struct_fields__,
      "size" in DeadLetterRow._fields, migrations("Asia/Shanghai")[-1].name)
"""


def test_the_next_release_has_a_new_format_a_field_a_rule_and_a_column(tmp_path: Path) -> None:
    made = copy_of_checkout(tmp_path / "made")
    make_next_release(made)
    release = install("9.0.0", made)
    done = subprocess.run([release.python, "-c", FACTS], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "[1, 2] 1 True True True 002_dead_letter_size\n", done.stderr


@pytest.mark.parametrize("content", ["", "old old"])
def test_a_change_whose_text_is_not_there_once_names_the_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(content)
    with pytest.raises(ChangeFailed, match=r"rules\.py"):
        change(tmp_path, "rules.py", ("old", "new"))
