"""Finds out why Kafka cannot be reached. The client reports only that it failed, so each step of a connection is tried alone."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, NamedTuple

from ninezero.streams.kafka import sync
from ninezero.streams.settings import Settings

SOCKET_SECONDS = 5.0
"""Time to wait for a TCP or TLS connection."""

LOGIN_SECONDS = (1.5, 3.0, 6.0, 12.0)
"""Time to wait in each attempt to log in. A broker often closes the connection before the client has read the reason."""

X509_EXPIRED, X509_OTHER_NAMES = 10, (62, 64)
"""OpenSSL's verification errors: the certificate has expired; it is for another host name or IP address."""


class Fault(NamedTuple):
    """Why Kafka cannot be reached. Neither text quotes a secret."""

    found: str
    """The problem."""
    todo: str
    """The remedy."""


_LOGIN_FAULTS = {
    "SaslAuthenticationFailedError": Fault(
        "the broker rejects the user or the password",
        "correct NINEZERO_KAFKA_SASL_USER and _PASSWORD, or add the user on the broker (deploy/kafka)",
    ),
    "UnsupportedSaslMechanismError": Fault(
        "the broker does not offer this SASL mechanism",
        "set NINEZERO_KAFKA_SASL_MECHANISM to a mechanism that the listener offers",
    ),
}
"""Errors that kafka-python logs and does not raise."""

_NO_TLS = Fault(
    "TLS: the port does not use it, or requires a client certificate",
    "give the port of the TLS listener in NINEZERO_KAFKA; set NINEZERO_KAFKA_TLS_CERT and _KEY if it requires them",
)


def kafka_fault(settings: Settings) -> Fault | None:
    """Returns why this machine cannot reach Kafka, or None if it can. Takes at most half a minute."""
    faults = [_connection_fault(settings, server) for server in settings.kafka.split(",")]
    if all(faults):  # a client needs only one server that answers: it learns the others from it
        return faults[0]
    return _login_fault(settings)


def _connection_fault(settings: Settings, server: str) -> Fault | None:
    """Returns why no TCP or TLS connection to a server (host:port) can be made."""
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    given = settings.kafka_security
    try:
        with socket.create_connection((host, int(port)), SOCKET_SECONDS) as connection:
            if "ca" not in given:
                return _unexpected_tls(connection, host)
            context = ssl.create_default_context(cafile=given["ca"])
            if "cert" in given:
                context.load_cert_chain(given["cert"], given.get("key"))
            with context.wrap_socket(connection, server_hostname=host):
                return None
    except ssl.SSLCertVerificationError as error:
        return _certificate_fault(error)
    except ssl.SSLError as error:
        damaged = error.reason in ("NO_START_LINE", "KEY_VALUES_MISMATCH", "NO_CERTIFICATE_OR_CRL_FOUND")
        if damaged or "PEM" in str(error):
            return Fault(
                "the CA, certificate or key file is damaged, or they do not belong together",
                "set NINEZERO_KAFKA_TLS_CA, _CERT and _KEY to PEM files that match",
            )
        return _NO_TLS
    except socket.gaierror:
        return Fault(f"the host name in {server} cannot be resolved", "correct NINEZERO_KAFKA, or the name service")
    except TimeoutError:
        return Fault(f"{server} does not answer", "check the network and its firewalls")
    except ConnectionRefusedError:
        return Fault(f"nothing listens at {server}", "start Kafka (ninezero kafka start), or correct NINEZERO_KAFKA")
    except OSError:
        return _NO_TLS if "ca" in given else Fault(f"{server} cannot be reached", "check the network")


def _certificate_fault(error: ssl.SSLCertVerificationError) -> Fault:
    if error.verify_code == X509_EXPIRED:
        return Fault("TLS: the broker's certificate has expired", "renew it on the broker; do not turn TLS off")
    if error.verify_code in X509_OTHER_NAMES:
        return Fault(
            "TLS: the broker's certificate is for another name",
            "use a name of the certificate in NINEZERO_KAFKA, or issue one with this name as subjectAltName",
        )
    return Fault(
        "TLS: the broker's certificate is not signed by NINEZERO_KAFKA_TLS_CA",
        "set it to the CA that signed the certificate; if it is that CA, another server may be intercepting the connection",
    )


def _unexpected_tls(connection: socket.socket, host: str) -> Fault | None:
    """Returns a fault if a port uses TLS although no CA is set. No data is sent, so the certificate is not verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection.settimeout(SOCKET_SECONDS)
    with suppress(OSError), closing(context.wrap_socket(connection, server_hostname=host)):
        return Fault(
            "TLS: the port uses it, and no CA is set", "set NINEZERO_KAFKA_TLS_CA to the CA of the broker's certificate"
        )
    return None


def _login_fault(settings: Settings) -> Fault | None:
    """Returns why a client cannot log in, from what it logs; None if it can."""
    with _captured_log() as logged:
        for seconds in LOGIN_SECONDS:
            with suppress(sync.KafkaProblem):
                sync.admin(settings, bootstrap_timeout_ms=int(seconds * 1000), reconnect_backoff_max_ms=200).close()
                return None
            for name, fault in _LOGIN_FAULTS.items():
                if any(name in line for line in logged):
                    return fault
    return _unexplained_fault(settings)


def _unexplained_fault(settings: Settings) -> Fault:
    """Returns the fault of a port that accepts connections and gives no reason why a client cannot use it."""
    if "mechanism" not in settings.kafka_security:
        return Fault(
            "the port is open, but no Kafka answers: the broker hangs, requires a password or a client certificate, or it is"
            " another program",
            "check the broker (its log, its disk); set NINEZERO_KAFKA_SASL_* or NINEZERO_KAFKA_TLS_CERT and _KEY if it"
            " requires them, or correct the port in NINEZERO_KAFKA",
        )
    return Fault(
        "the broker closes the connection without a reason: it rejects the user, the password, the mechanism or the client"
        " certificate, or it hangs",
        "compare NINEZERO_KAFKA_SASL_* and NINEZERO_KAFKA_TLS_* with the listener; check the broker (its log, its disk)",
    )


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Collects what kafka-python logs, and keeps it off the terminal."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: Any) -> None:
            lines.append(record.getMessage())

    logger, collector = logging.getLogger("kafka"), Collector()
    before = logger.propagate, logger.level
    logger.addHandler(collector)
    logger.propagate, logger.level = False, logging.ERROR
    try:
        yield lines
    finally:
        logger.removeHandler(collector)
        logger.propagate, logger.level = before
