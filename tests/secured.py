"""A broker that is configured by deploy/kafka/secured.properties, with its certificates and SCRAM users."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ninezero.streams.kafka.sync import admin
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import load
from tests.support import free_port

ROOT = Path(__file__).resolve().parents[1]
ADMIN, BROKER = "for-the-admin", "for-the-broker"


def certificates(folder: Path, names: str = "IP:127.0.0.1") -> Path:
    """Creates a CA, and a key and certificate for `names` in one PEM file. Returns the path of the CA certificate.

    They have the extensions without which Python 3.13 does not verify them.
    """

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def key(name: str) -> None:
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", f"{name}.key")

    folder.mkdir(parents=True, exist_ok=True)
    key("ca")
    openssl("req", "-x509", "-new", "-key", "ca.key", "-days", "2", "-subj", "/CN=ca", "-out", "ca.pem",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    key("broker")
    openssl("req", "-new", "-key", "broker.key", "-subj", "/CN=127.0.0.1", "-out", "broker.csr")
    (folder / "names").write_text(f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\n")
    openssl("x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "broker.crt")  # fmt: skip
    (folder / "broker.pem").write_text((folder / "broker.key").read_text() + (folder / "broker.crt").read_text())
    return folder / "ca.pem"


class SecuredBroker(Broker):
    """A broker with TLS, SASL and an authorizer.

    `Broker` checks its health on a plain listener, on which no user has any permission.
    """

    def __init__(self, folder: Path) -> None:
        self.ca = certificates(folder / "certificates")
        plain, tls, controller = free_port(), free_port(), free_port()
        self.address = f"127.0.0.1:{tls}"
        text = (ROOT / "deploy" / "kafka" / "secured.properties").read_text()
        for shipped, ours in (
            ("/etc/kafka", str(folder / "certificates")), ("0.0.0.0:9093", self.address), ("kafka.example:9093", self.address),
            ("127.0.0.1:9094", f"127.0.0.1:{controller}"), ("CHANGE-1", BROKER), ("CHANGE-2", ADMIN),
        ):  # fmt: skip
            assert shipped in text
            text = text.replace(shipped, ours)
        given = dict(line.split("=", 1) for line in text.splitlines() if line and line[0] != "#")
        for name in ("listeners", "advertised.listeners"):
            given[name] = f"PLAINTEXT://127.0.0.1:{plain},{given[name]}"
        given["listener.security.protocol.map"] += ",PLAINTEXT:PLAINTEXT"
        given["controller.quorum.voters"] = f"1@127.0.0.1:{controller}"
        super().__init__(folder / "kafka", plain, more=given)

    def login(self, user: str, password: str, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
        """Returns the settings of a client."""
        return {
            "NINEZERO_KAFKA": self.address, "NINEZERO_KAFKA_TLS_CA": str(self.ca), "NINEZERO_KAFKA_SASL_MECHANISM": mechanism,
            "NINEZERO_KAFKA_SASL_USER": user, "NINEZERO_KAFKA_SASL_PASSWORD": password,
        }  # fmt: skip

    def add_users(self, passwords: dict[str, str]) -> None:
        """Adds SCRAM users, as `kafka-configs.sh --alter --add-config 'SCRAM-SHA-512=[password=…]'` does."""
        from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

        settings = load(
            {"NINEZERO_ORDER": "T", "NINEZERO_SUNSET": "2100-01-01T00:00:00Z", **self.login("admin", ADMIN, "PLAIN")},
            edge=True,
        )
        client = admin(settings)
        errors = client.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, word) for user, word in passwords.items()]
        )
        client.close()
        assert not any(errors.values()), errors
