"""Whose code an exception came out of."""

import pytest

from trainers.plugins.faults import place_in_plugin


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
