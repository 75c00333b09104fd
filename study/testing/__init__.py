"""What every command and every search space promises, as pytest classes to inherit; see `trainers.testing`."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.commands", f"{__name__}.spaces")

from study.testing.commands import CommandContract  # noqa: E402  # after pytest knows whose asserts it explains
from study.testing.spaces import SpaceContract  # noqa: E402

__all__ = ["CommandContract", "SpaceContract"]
