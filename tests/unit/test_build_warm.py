"""After `warm`, nothing that a mesh is translated to needs a message class for the first time."""

import subprocess
import sys

GOLDEN = """
from tests.golden.case import Case, names
from xds.build.warm import warm
from xds.wire import encode

warm()
known = set(encode._ENCODERS)
for name in names():
    Case(name).files()
late = sorted(each.__name__ for each in encode._ENCODERS.keys() - known)
print("late:", *late)
"""


def test_no_message_class_is_new_to_a_translated_mesh() -> None:
    command = [sys.executable, "-c", GOLDEN]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stdout.split() == ["late:"], found.stdout + found.stderr
