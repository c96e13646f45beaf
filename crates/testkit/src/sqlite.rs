//! Faults of an archive in a SQLite file, brought about as another process could.

use std::path::Path;

use rusqlite::Connection;

/// A second connection to the file of an archive.
#[derive(Debug)]
pub struct SqliteFault {
    db: Connection,
}

impl SqliteFault {
    /// Opens the file at `path`, which may be written as `sqlite:` and the path.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let plain = path.to_str().and_then(|text| text.strip_prefix("sqlite:")).map_or(path, Path::new);
        let db = Connection::open(plain).expect("the archive's file opens");
        db.busy_timeout(std::time::Duration::from_secs(20)).expect("a timeout");
        Self { db }
    }

    /// Has the file refuse the orders of users whose ids begin so, for good.
    ///
    /// # Panics
    /// If it cannot be changed.
    pub fn refuse_orders_of(&self, prefix: &str) {
        self.refuse("grants", &format!("NEW.orders LIKE '%,\"{prefix}%'"));
    }

    /// Has the file refuse facts of this kind.
    ///
    /// # Panics
    /// If it cannot be changed.
    pub fn refuse_kind(&self, kind: &str) {
        match kind {
            "granted" => self.refuse("grants", "true"),
            _ => self.refuse("events", &format!("NEW.kind = '{kind}'")),
        }
    }

    /// Has the file refuse even notes.
    ///
    /// # Panics
    /// If it cannot be changed.
    pub fn refuse_notes(&self) {
        self.refuse("dead_letters", "true");
    }

    fn refuse(&self, table: &str, when: &str) {
        let trigger = format!(
            "CREATE TRIGGER refuse_{table} BEFORE INSERT ON {table} WHEN {when}
             BEGIN SELECT RAISE(ABORT, 'refused by a test'); END"
        );
        self.db.execute_batch(&trigger).expect("a trigger");
    }

    /// Has the file take everything again.
    ///
    /// # Panics
    /// If it cannot be changed.
    pub fn accept_all(&self) {
        for table in ["grants", "events", "dead_letters"] {
            self.db.execute_batch(&format!("DROP TRIGGER IF EXISTS refuse_{table}")).expect("no trigger");
        }
    }

    /// Keeps all others from writing.
    ///
    /// # Panics
    /// If another process does.
    pub fn lock(&self) {
        self.db.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    }

    /// Lets others write again.
    ///
    /// # Panics
    /// If it was not locked.
    pub fn unlock(&self) {
        self.db.execute_batch("COMMIT").expect("locked before");
    }
}
