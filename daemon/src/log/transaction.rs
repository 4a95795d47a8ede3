//! A transaction whose BEGIN and COMMIT are prepared once. Preparing them every time took a tenth of the time for a
//! pack with one message.

use std::ops::Deref;

use rusqlite::Connection;

/// A transaction for writing. It is rolled back if it is dropped before its commit.
pub(super) struct Transaction<'c>(&'c Connection);

impl<'c> Transaction<'c> {
    /// Starts a transaction with the database locked for writing.
    pub(super) fn begin(database: &'c Connection) -> rusqlite::Result<Transaction<'c>> {
        if !database.is_autocommit() {
            // The rollback of the transaction before has failed.
            database.execute_batch("ROLLBACK")?;
        }
        database.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Transaction(database))
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // After a successful commit, and after some errors, no transaction is left to roll back.
        if !self.0.is_autocommit() {
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_committed_is_taken_back() {
        let database = Connection::open_in_memory().expect("a database");
        database.execute_batch("CREATE TABLE a (x)").expect("a table");
        let rows = || database.query_row("SELECT count(*) FROM a", [], |row| row.get::<_, i64>(0));
        for (is_committed, expected) in [(false, 0), (true, 1), (false, 1)] {
            let transaction = Transaction::begin(&database).expect("a transaction");
            transaction.execute("INSERT INTO a VALUES (1)", []).expect("a row");
            match is_committed {
                true => transaction.commit().expect("committed"),
                false => drop(transaction),
            }
            assert_eq!(rows(), Ok(expected));
        }
    }
}
