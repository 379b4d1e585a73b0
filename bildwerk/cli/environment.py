"""The settings that the environment makes, for a person to mend where they are wrong."""

from bildwerk.domain.errors import SetupError
from bildwerk.settings import Settings, from_environment


def environment_settings() -> Settings:
    """Raises `SetupError` that names the variable whose value is not legal."""
    try:
        return from_environment()
    except ValueError as error:
        raise SetupError(str(error)) from error
