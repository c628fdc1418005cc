"""The tables of copies and imports, in SQLAlchemy's core, which is the same in both releases.

Why tables of our own: what is called over Cinder's message bus is lost with whoever took it, metadata of volumes and
snapshots can be written by users, and Cinder's table of workers is bound to cinder-volume. A copy is a row that is
there before anything is done, and each change of it is one statement that names what it expects: two workers never both
have it. Times are seconds since the epoch.
"""

import functools
import threading
import time
import uuid

import sqlalchemy as sa

from rsnap_cinder import options

CONF = options.CONF
VERSION = 2

METADATA = sa.MetaData()

SCHEMA = sa.Table("rsnap_schema", METADATA, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))


def _id(name="id", **more):
    return sa.Column(name, sa.String(36), **more)


def _name(name, **more):
    return sa.Column(name, sa.String(255), **more)


def _time(name, **more):
    return sa.Column(name, sa.Float(precision=53), **more)


# At the source: one row for each copy that was asked for.
COPIES = sa.Table(
    "rsnap_copies",
    METADATA,
    _id(primary_key=True),
    _name("project_id", index=True, nullable=False),
    _name("project_name"),
    _name("user_id"),
    _id("snapshot_id", index=True, nullable=False),
    _id("volume_id", nullable=False),
    _name("site", nullable=False),
    sa.Column("status", sa.String(16), index=True, nullable=False),
    sa.Column("progress", sa.Integer, nullable=False, default=0),
    # The snapshot's id as long as the copy is not over: one copy of a snapshot at a time.
    _id("active", unique=True),
    # The snapshot's status in Cinder has been changed by this copy, and must be changed back.
    sa.Column("holds", sa.Boolean, nullable=False, default=False),
    sa.Column("cancelled", sa.Boolean, nullable=False, default=False),
    _id("peer_import_id"),
    _id("peer_volume_id"),
    _id("peer_snapshot_id"),
    _name("server"),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("kind", sa.String(16)),
    sa.Column("reason", sa.Text),
    # What both sites have of the volume, as JSON. Since version 2.
    sa.Column("chain", sa.Text),
    _name("worker"),
    # Raised by each worker that takes the copy: what an earlier one still wants to change is refused.
    sa.Column("generation", sa.Integer, nullable=False, default=0),
    _time("lease", nullable=False, default=0),
    _time("next_try", nullable=False, default=0),
    _time("moved_at", nullable=False, default=0),
    _time("created_at", nullable=False),
    _time("updated_at", nullable=False),
)

# At the peer: one row for each snapshot that came or comes from another site.
IMPORTS = sa.Table(
    "rsnap_imports",
    METADATA,
    _id(primary_key=True),
    # site/snapshot there, as long as the row stands for a record in Cinder.
    sa.Column("current", sa.String(255), unique=True),
    _name("site", nullable=False),
    _name("copy_id", nullable=False),
    _name("source_volume_id", nullable=False),
    _name("source_snapshot_id", nullable=False),
    _name("project_id", nullable=False),
    _id("volume_id"),
    _id("snapshot_id", index=True),
    sa.Column("status", sa.String(16), nullable=False),
    _time("touched_at", nullable=False),
    _time("created_at", nullable=False),
)

# At the peer: which volume takes the snapshots of which volume there.
VOLUMES = sa.Table(
    "rsnap_volumes",
    METADATA,
    _id(primary_key=True),
    # site/volume there/project, as long as the volume takes snapshots.
    sa.Column("current", sa.String(512), unique=True),
    # None while whoever holds the row makes the volume.
    _id("volume_id", index=True),
    # The volume was locked after it had been made: it is no plain new volume any more.
    sa.Column("prepared", sa.Boolean, nullable=False, default=False),
    _time("touched_at", nullable=False),
    _time("created_at", nullable=False),
)


class NotReady(Exception):
    """The database is not there, or not as this version needs it."""


_LOCK = threading.Lock()


@functools.lru_cache(maxsize=4)
def _engine(connection):
    return sa.create_engine(connection, future=True, pool_pre_ping=True)


def engine():
    if not CONF.rsnap.connection:
        raise NotReady("[rsnap] connection is not set: where shall copies be remembered?")
    with _LOCK:
        return _engine(CONF.rsnap.connection)


def sync():
    """Makes the tables, or brings them to this version. Gives whether it had to."""
    METADATA.create_all(engine())
    with engine().begin() as connection:
        found = connection.execute(sa.select(SCHEMA.c.version)).scalar()
        if found is None:
            connection.execute(SCHEMA.insert().values(version=VERSION))
        elif found == 1:
            connection.execute(sa.text("ALTER TABLE rsnap_copies ADD COLUMN chain TEXT"))
            connection.execute(SCHEMA.update().values(version=VERSION))
        return found is None or found == 1


def check():
    """Refuses a database that this version cannot work with."""
    remedy = "run cinder-rsnap-manage sync"
    try:
        with engine().connect() as connection:
            row = connection.execute(sa.select(SCHEMA.c.version)).first()
    except sa.exc.SQLAlchemyError as fault:
        raise NotReady(f"the database of [rsnap] connection cannot be used ({fault.__class__.__name__}): {remedy}")
    if row is None or row.version != VERSION:
        found = "none" if row is None else row.version
        raise NotReady(f"the tables of rsnap have version {found}, this program needs {VERSION}: {remedy}")


def now():
    return time.time()


def new_id():
    return str(uuid.uuid4())


def rows(table, *conditions, order=None):
    """All rows that meet the conditions."""
    query = sa.select(table).where(*conditions)
    if order is not None:
        query = query.order_by(order)
    with engine().connect() as connection:
        return connection.execute(query).all()


def row(table, *conditions):
    """The first row that meets the conditions, or none."""
    with engine().connect() as connection:
        return connection.execute(sa.select(table).where(*conditions)).first()


def insert(table, **values):
    """Whether the row could be added; not when it stands against a unique one."""
    try:
        with engine().begin() as connection:
            connection.execute(table.insert().values(**values))
    except sa.exc.IntegrityError:
        return False
    return True


def update(table, *conditions, **values):
    """How many rows met the conditions and were changed."""
    with engine().begin() as connection:
        return connection.execute(table.update().where(*conditions).values(**values)).rowcount


def delete(table, *conditions):
    with engine().begin() as connection:
        return connection.execute(table.delete().where(*conditions)).rowcount
