"""Certificates for processes that speak TLS to each other on loopback."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

    Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

LOOPBACK = ipaddress.ip_address("127.0.0.1")
VALID = timedelta(days=1)


class Authority:
    """Signs certificates for servers and clients.

    Attributes:
        certificate: the file that those who trust it are given.
    """

    certificate: Path

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = folder / f"{name}.crt"
        signed = self._signed(name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.certificate.write_bytes(self._pem(signed))

    def issue(self, folder: Path, name: str, *hosts: str, common_name: str = "") -> tuple[Path, Path]:
        """Writes `<name>.crt` and `<name>.key`, good for a server on loopback and for a client.

        Args:
            folder: where to.
            name: of the files.
            hosts: what a server is called, besides 127.0.0.1 and localhost.
            common_name: the user that a client is; the files' name unless given.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(host) for host in ("localhost", *hosts)]
        signed = (
            self._signed(common_name or name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([*names, x509.IPAddress(LOOPBACK)]),
                critical=False,
            )
        )
        certificate, private = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self._pem(signed))
        write_key(private, key)
        return certificate, private

    def _signed(self, subject: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(self._name))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            # Clocks of one machine agree; an hour covers what is set back.
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )

    def _pem(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def service_account_key(folder: Path) -> Path:
    """Writes `service-accounts.key`, with which the tokens of service accounts are signed and checked."""
    path = folder / "service-accounts.key"
    write_key(path, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    return path


def write_key(path: Path, key: Key) -> None:
    """Writes a private key as PEM, unencrypted."""
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
