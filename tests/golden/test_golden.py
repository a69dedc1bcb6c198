"""Manifests in, IR, resources and problems out, compared with the files beside them.

``UPDATE_GOLDEN=1`` or ``make golden`` rewrites them. What nothing produces must not exist.
"""

import os

import pytest

from tests.golden.case import CASES, INPUT, Case, names, write


@pytest.mark.parametrize("name", names())
def test_case(name: str) -> None:
    folder = CASES / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        write(name)
    expected = {path.name: path.read_text() for path in folder.iterdir() if path.name != INPUT}
    produced = Case(name).files()
    assert sorted(produced) == sorted(expected), f"orphan or missing files in {folder}"
    for file, text in produced.items():
        assert text == expected[file], f"{name}/{file} differs; see `make golden`"


def test_every_folder_is_a_case_that_says_what_it_shows() -> None:
    for name in names():
        path = CASES / name / INPUT
        assert path.exists(), f"{name} has no {INPUT}"
        assert path.read_text().startswith("# "), f"{path} begins without a comment"
