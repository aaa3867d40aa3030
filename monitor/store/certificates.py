"""What drills found, newest first. Rows are only ever added."""

import msgspec
from sqlalchemy import Connection, insert, select

from monitor import documents
from monitor.certificate import FORMAT, Certificate, Depth, Stamp
from monitor.store.schema import certificates

MOST_STAMPS = 50
"""Certificates of a model that are looked at: older ones cannot be the newest of anything."""


class Certificates:
    """The alarm certificates of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def add(self, certificate: Certificate) -> None:
        """Add what a drill found."""
        self._conn.execute(
            insert(certificates).values(
                id=certificate.id,
                model=certificate.model,
                bundle_sha=certificate.bundle_sha,
                configuration=certificate.configuration,
                settings=msgspec.json.encode(certificate.settings).decode(),
                depth=certificate.depth.value,
                created_at=certificate.created_at,
                created_by=certificate.by,
                refused=certificate.refused,
                resolve_after=certificate.resolve_after,
                weak_spots=msgspec.json.encode(certificate.weak_spots).decode(),
                document=msgspec.json.encode(certificate).decode(),
            )
        )

    def stamps(self, model: str) -> list[Stamp]:
        """Read what is needed to judge a model's certificates, newest first."""
        columns = [column for column in certificates.c if column.name != "document"]
        rows = self._conn.execute(
            select(*columns)
            .where(certificates.c.model == model)
            .order_by(certificates.c.created_at.desc(), certificates.c.id.desc())
            .limit(MOST_STAMPS)
        )
        return [
            Stamp(
                id=row.id,
                bundle_sha=row.bundle_sha,
                configuration=row.configuration,
                settings=msgspec.json.decode(row.settings, type=dict[str, str]),
                depth=Depth(row.depth),
                created_at=row.created_at,
                refused=row.refused,
                resolve_after=row.resolve_after,
                weak_spots=msgspec.json.decode(row.weak_spots, type=tuple[str, ...]),
            )
            for row in rows
        ]

    def get(self, certificate_id: str) -> Certificate | None:
        """Read one certificate in full.

        Raises
        ------
        DocumentTooNew
            A newer Fieldwatch wrote it.
        DocumentUnreadable
            It is no certificate.
        """
        document = self._conn.execute(
            select(certificates.c.document).where(certificates.c.id == certificate_id)
        ).scalar_one_or_none()
        if document is None:
            return None
        what = f"the certificate {certificate_id}"
        return documents.read(document, Certificate, what, supported=FORMAT)
