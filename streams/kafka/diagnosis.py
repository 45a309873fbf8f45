"""Why Kafka cannot be reached: the client says only that it could not, so each step is tried by itself."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, NamedTuple

from ninezero.streams.kafka import sync
from ninezero.streams.settings import Settings

SECONDS = 5.0
TRIES = (1.5, 3.0, 6.0, 12.0)
"""Seconds that a login is waited for."""

# What kafka-python only logs, and what it means.
_LOGGED = {
    "SaslAuthenticationFailedError": (
        "the broker refuses user or password",
        "correct NINEZERO_KAFKA_SASL_USER and _PASSWORD, or add the user on the broker (deploy/kafka)",
    ),
    "UnsupportedSaslMechanismError": (
        "the broker does not offer this SASL mechanism",
        "set NINEZERO_KAFKA_SASL_MECHANISM to what the listener offers",
    ),
}


class Fault(NamedTuple):
    """What is wrong, and what to do; neither quotes a secret."""

    found: str
    todo: str


def kafka_fault(settings: Settings) -> Fault | None:
    """What keeps this machine from talking to Kafka, or None. Takes at most half a minute."""
    faults = [_socket_fault(settings, server) for server in settings.kafka.split(",")]
    if all(faults):  # one server that answers is enough to find the others
        return faults[0]
    fault = _login_fault(settings)
    if fault is not None:
        return fault if fault.found else _no_answer(settings)
    return None


def _login_fault(settings: Settings) -> Fault | None:
    """What the client logs while it tries; an empty fault if it says nothing.

    Often the broker closes the connection before its reason is read: so several tries, each longer than the one before.
    """
    with _listening() as logged:
        for seconds in TRIES:
            with suppress(sync.KafkaUnreachable):
                sync.admin(settings, bootstrap_timeout_ms=int(seconds * 1000), reconnect_backoff_max_ms=200).close()
                return None
            for name, (found, todo) in _LOGGED.items():
                if any(name in line for line in logged):
                    return Fault(found, todo)
    return Fault("", "")


def _no_answer(settings: Settings) -> Fault:
    if "mechanism" not in settings.kafka_security:
        return Fault(
            "the port is open, but no Kafka answers: it hangs, asks for a password or a client's certificate, or is something else",
            "look whether the broker works (its log, its disk); set NINEZERO_KAFKA_SASL_* or NINEZERO_KAFKA_TLS_CERT and _KEY if it"
            " asks for them, or mend the port in NINEZERO_KAFKA",
        )
    return Fault(
        "the broker ends the connection or says nothing: of its user, password or mechanism, of a client's certificate, or it hangs",
        "compare NINEZERO_KAFKA_SASL_* and NINEZERO_KAFKA_TLS_* with the listener; look whether the broker works (its log, its disk)",
    )


def _socket_fault(settings: Settings, server: str) -> Fault | None:
    host, _, port = server.rpartition(":")
    given = settings.kafka_security
    try:
        with socket.create_connection((host.strip("[]"), int(port)), SECONDS) as connection:
            if "ca" not in given:
                return _speaks_tls(connection, host)
            context = ssl.create_default_context(cafile=given["ca"])
            if "cert" in given:
                context.load_cert_chain(given["cert"], given.get("key"))
            with context.wrap_socket(connection, server_hostname=host.strip("[]")):
                return None
    except ssl.SSLCertVerificationError as error:
        return _distrusted(error)
    except ssl.SSLError as error:
        if error.reason in ("NO_START_LINE", "KEY_VALUES_MISMATCH", "NO_CERTIFICATE_OR_CRL_FOUND") or "PEM" in str(
            error
        ):
            return Fault(
                "the CA, certificate or key file is damaged, or they do not belong together",
                "name PEM files that match in NINEZERO_KAFKA_TLS_CA, _CERT and _KEY",
            )
        return _no_tls()
    except socket.gaierror:
        return Fault(f"the name of {server} is not known here", "mend NINEZERO_KAFKA, or the name service")
    except TimeoutError:
        return Fault(f"{server} says nothing", "look at the network between, and at its firewalls")
    except ConnectionRefusedError:
        return Fault(f"nobody listens at {server}", "start Kafka (ninezero kafka start), or mend NINEZERO_KAFKA")
    except (ConnectionError, OSError):
        return _no_tls() if "ca" in given else Fault(f"{server} cannot be reached", "look at the network between")


def _distrusted(error: ssl.SSLCertVerificationError) -> Fault:
    """X509_V_ERR_*: 10 expired, 62 and 64 not this name or address."""
    if error.verify_code == 10:
        return Fault("TLS: the broker's certificate has expired", "renew it on the broker; do not switch the check off")
    if error.verify_code in (62, 64):
        return Fault(
            "TLS: the broker's certificate is of another name",
            "use the name in the certificate in NINEZERO_KAFKA, or issue one with this name as subjectAltName",
        )
    return Fault(
        "TLS: the broker's certificate is not signed by NINEZERO_KAFKA_TLS_CA",
        "name the CA that signed it; if it should be this one, somebody may stand in between",
    )


def _no_tls() -> Fault:
    return Fault(
        "TLS: the port does not speak it, or wants a client's certificate",
        "name the TLS listener's port in NINEZERO_KAFKA; set NINEZERO_KAFKA_TLS_CERT and _KEY if it asks for them",
    )


def _speaks_tls(connection: socket.socket, host: str) -> Fault | None:
    """Without a CA in the settings the port must be plain. Only looked at, nothing is sent over it: so no check."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection.settimeout(SECONDS)
    with suppress(OSError), closing(context.wrap_socket(connection, server_hostname=host.strip("[]"))):
        return Fault("TLS: the port speaks it, and no CA is set", "set NINEZERO_KAFKA_TLS_CA to the CA that signed it")
    return None


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What kafka-python logs meanwhile, and none of it on the screen."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: Any) -> None:
            lines.append(record.getMessage())

    logger, keep = logging.getLogger("kafka"), Keep()
    before = logger.propagate, logger.level
    logger.addHandler(keep)
    logger.propagate, logger.level = False, logging.ERROR
    try:
        yield lines
    finally:
        logger.removeHandler(keep)
        logger.propagate, logger.level = before
