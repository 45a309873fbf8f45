"""Errors of the Kafka client, as the threads of a device handle them."""

from ninezero.streams.errors import UserError


def user_error(error: Exception) -> UserError:
    """Describes an error in one line. The message of the Kafka client is not quoted: it may contain a record."""
    name = type(error).__name__
    failed = UserError(f"the Kafka client failed ({name})", chinese=f"Kafka 客户端出错（{name}）")
    return error if isinstance(error, UserError) else failed


def topic_errors() -> tuple[type[Exception], ...]:
    """Returns the errors that Kafka returns because of the topic of a record, while other topics work."""
    from kafka import errors

    return (
        errors.MessageSizeTooLargeError, errors.RecordListTooLargeError, errors.InvalidTopicError,
        errors.TopicAuthorizationFailedError, errors.PolicyViolationError, errors.InvalidRecordError,
    )  # fmt: skip
