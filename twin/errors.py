"""The error tree, by what the caller should do.

TwinError
├── EventError    the record is wrong: dead-letter it, never retry
├── StoreError    the world is wrong: retry with an end, then stop the process
├── ConfigError   the user has to change something: the message says what
│   └── AwayError     a server does not answer: start it, or say where it is
└── TwinBug       the twin contradicts itself: stop the process
"""


class TwinError(Exception):
    """Base of all errors this product raises on purpose."""


class EventError(TwinError):
    """The record is wrong: dead-letter it, never retry."""


class StoreError(TwinError):
    """The world is wrong: retry with an end, then stop the process."""


class ConfigError(TwinError):
    """The user has to change something; the message says what."""


class AwayError(ConfigError):
    """A server does not answer: the user has to start it, or to say where it is; it may also just be back soon."""


class TwinBug(TwinError):
    """The twin contradicts itself: stop the process."""
