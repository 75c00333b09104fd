"""Settings that may be written in several ways, each refused in one line that says which these are."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError, WrapValidator
from pydantic_core import PydanticCustomError


def spelled(law: str) -> WrapValidator:
    """A field's annotation: what does not fit is refused with a law, where a union's parts would each say theirs."""

    def read(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("spelling", "{law}", {"law": law}) from None

    return WrapValidator(read)
