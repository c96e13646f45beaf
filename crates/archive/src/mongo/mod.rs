//! stub
use crate::{ArchiveError, SqliteArchive};
/// stub
pub struct MongoArchive;
impl MongoArchive {
    /// stub
    pub async fn connect(_: &str, _: &str) -> Result<SqliteArchive, ArchiveError> {
        Err(ArchiveError::Unavailable("not written yet".to_owned()))
    }
}
