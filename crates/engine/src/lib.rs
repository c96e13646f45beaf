//! The hot state of a sale: keys, scripts, group commit, the log.
