"""Whose code an exception came out of."""

import traceback

import pytest

from trainers.plugins.faults import Raised, place_in_plugin, read_traceback


def raised(source: str, filename: str) -> BaseException:
    """What a file of this name raises."""
    with pytest.raises(ZeroDivisionError) as told:
        exec(compile(source, filename, "exec"), {})
    return told.value


@pytest.mark.parametrize(
    ("filename", "place"),
    [
        ("/study/plugins/kdstudy_plugins/my_losses_0123456789ab.py", "my_losses.py, line 2"),
        ("/study/plugins/kdstudy_plugins/my_lab_0123456789ab/soft.py", "my_lab/soft.py, line 2"),
        ("/site-packages/others/soft.py", None),
    ],
)
def test_the_place_is_that_in_the_authors_own_file(filename: str, place: str | None) -> None:
    assert place_in_plugin(raised("\n1 / 0", filename)) == place


OWN, OTHERS = "/study/plugins/kdstudy_plugins/my_losses_0123456789ab.py", "/site-packages/torch/functional.py"


def test_a_traceback_says_what_was_raised_and_where() -> None:
    error = raised("\n1 / 0", OTHERS)
    text = "".join(traceback.format_exception(error))
    assert read_traceback(text) == Raised("ZeroDivisionError", "division by zero", f"{OTHERS}, line 2")


LOADER = f"""ray::run() (pid=3)
  File "/site-packages/torch/loader.py", line 700, in reraise
    raise exception
ValueError: Caught ValueError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "{OWN}", line 7, in read
    check(label)
  File "{OTHERS}", line 30, in check
    raise ValueError(
    ^^^^^^^^^^^^^^^^^
package.ValueError: labels must be below 11,
but got 12
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LOADER, Raised("package.ValueError", "labels must be below 11,", "my_losses.py, line 7")),
        ('File "/a.py", line 3, in f\n    assert x\nAssertionError\n', Raised("AssertionError", "", "/a.py, line 3")),
        ("The actor died unexpectedly before finishing this task.", None),
        ('  File "/a.py", line 3, in f\n    cut', None),
        ("", None),
    ],
)
def test_a_traceback_of_whatever_origin_is_read(text: str, found: Raised | None) -> None:
    assert read_traceback(text) == found
