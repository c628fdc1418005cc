"""The tables, and what is said where they are not."""

import sqlalchemy as sa

from rsnap_cinder import database

from tests import base


class DatabaseTest(base.TestCase):
    def test_tables_are_made_once(self):
        self.assertTrue(database.sync())
        self.assertFalse(database.sync())
        database.check()

    def test_tables_of_the_version_before_are_brought_up_to_date(self):
        database.sync()
        with database.engine().begin() as connection:
            connection.execute(sa.text("ALTER TABLE rsnap_copies DROP COLUMN chain"))
        database.update(database.SCHEMA, version=1)
        with self.assertRaisesRegex(database.NotReady, "version 1, this program needs 2: run cinder-rsnap-manage sync"):
            database.check()
        self.assertTrue(database.sync())
        database.check()
        self.assertEqual([], database.rows(database.COPIES, database.COPIES.c.chain.isnot(None)))

    def test_without_tables_the_remedy_is_told(self):
        with self.assertRaisesRegex(database.NotReady, "cinder-rsnap-manage sync"):
            database.check()

    def test_tables_of_another_version_are_refused(self):
        database.sync()
        database.update(database.SCHEMA, version=99)
        with self.assertRaisesRegex(database.NotReady, "version 99"):
            database.check()

    def test_without_a_connection_the_option_is_named(self):
        self.set(connection=None)
        with self.assertRaisesRegex(database.NotReady, "connection"):
            database.check()
