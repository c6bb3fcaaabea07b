"""What can go wrong, by who can mend it.

Each message is two sentences: what happened, with the value found and the value wanted; what to do.
"""


class ZooError(Exception):
    """Base of every error that the zoo raises on purpose."""


class InputError(ZooError, ValueError):
    """What the caller passed cannot be used: a wrong type, shape, file or option."""


class UnknownModelError(ZooError, LookupError):
    """The name is in no registry that was read."""


class PluginError(ZooError):
    """A plugin broke its contract with the zoo, or is missing."""


class WeightsError(ZooError):
    """A model's files are absent, damaged, or do not fit the model."""


class DataError(ZooError):
    """A data set, feature store or run on disk is incomplete, damaged or inconsistent."""


class RegistryError(ZooError):
    """A registry file breaks its schema."""


class ZooDeprecationWarning(DeprecationWarning):
    """A plugin uses what goes with the next version of the API; says what to write instead."""
