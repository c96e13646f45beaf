//! The processes behind a sale: persister, recovery, timekeeper.
