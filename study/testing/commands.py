"""What every command promises."""

import argparse
import inspect
from types import ModuleType
from typing import ClassVar

import pytest


class CommandContract:
    """A module with `add_options` and `execute`."""

    command: ClassVar[ModuleType]

    @pytest.fixture
    def module(self) -> ModuleType:
        """The command under test."""
        return self.command

    @pytest.fixture
    def parser(self, module: ModuleType) -> argparse.ArgumentParser:
        """A parser with its options."""
        parser = argparse.ArgumentParser()
        module.add_options(parser)
        return parser

    def test_its_docstring_says_what_it_does(self, module: ModuleType) -> None:
        assert (module.__doc__ or "").strip()

    def test_help_is_given(self, parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="0"):
            parser.parse_args(["--help"])
        assert "usage:" in capsys.readouterr().out

    def test_an_unknown_option_is_wrong_input(
        self, parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(["--no-such-option"])
        assert "usage:" in capsys.readouterr().err

    def test_it_takes_parsed_options_and_no_other_argument(self, module: ModuleType) -> None:
        assert [*inspect.signature(module.execute).parameters] == ["options"]
