//! Which archive to use, and opening it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use mongodb::options::{ConnectionString, HostInfo};
use serde::Deserialize;

use crate::measured::Measured;
use crate::{Archive, ArchiveError, MongoArchive, SqliteArchive};

/// Where the archive is.
///
/// - `sqlite:archive.db` or `sqlite://archive.db`: a file, relative to the working directory;
/// - `sqlite:/var/lib/stampede/archive.db` or `sqlite:///var/lib/stampede/archive.db`: a file by its absolute path;
/// - `mongodb://user:password@host:27017/database?options` or `mongodb+srv://…/database`: a MongoDB. The name of the
///   database is required: the driver's default, `test`, is never what an operator wants.
///
/// It may hold a password, so neither `Debug` nor `Display` shows more than hosts and database.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ArchiveUrl(Target);

/// What an address stands for.
#[derive(Clone, PartialEq, Eq)]
enum Target {
    Sqlite(PathBuf),
    Mongo { uri: String, database: String, hosts: String },
}

/// The text is not the address of an archive; the message says what to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArchiveUrl {
    /// It begins with no known scheme.
    #[error("an archive is sqlite:<path> or mongodb://<host>/<database>")]
    UnknownScheme,
    /// SQLite without a file.
    #[error("write the file after sqlite:, such as sqlite:archive.db or sqlite:///var/lib/stampede/archive.db")]
    NoPath,
    /// SQLite in memory, or with options.
    #[error("sqlite: takes the path of a file, without options; an archive in memory would not be durable")]
    NotAFile,
    /// MongoDB without a database.
    #[error("write the database after the host, such as mongodb://localhost:27017/stampede")]
    NoDatabase,
    /// The MongoDB driver does not understand it. Its own words are left out, since they may quote a password.
    #[error(
        "not a MongoDB connection string: write mongodb://user:password@host:27017/database, with @ : / and % in the \
         password percent-encoded"
    )]
    NotMongo,
}

/// Opens the archive at `url`. SQLite's file and its folder are created if they are missing; MongoDB is not contacted
/// before it is first asked for something, so that a process can start while it is away. What is asked of it is counted.
///
/// # Errors
/// [`ArchiveError::Unavailable`] if the file cannot be opened, or the hosts behind `mongodb+srv` cannot be looked up.
pub async fn connect(url: &ArchiveUrl) -> Result<Arc<dyn Archive>, ArchiveError> {
    match &url.0 {
        Target::Sqlite(path) => Ok(Arc::new(Measured(SqliteArchive::open(path).await?))),
        Target::Mongo { uri, database, .. } => Ok(Arc::new(Measured(MongoArchive::connect(uri, database).await?))),
    }
}

impl FromStr for ArchiveUrl {
    type Err = InvalidArchiveUrl;

    fn from_str(text: &str) -> Result<Self, InvalidArchiveUrl> {
        let target = match text.split_once(':') {
            Some(("sqlite", rest)) => sqlite(rest)?,
            Some(("mongodb" | "mongodb+srv", _)) => mongo(text)?,
            _ => return Err(InvalidArchiveUrl::UnknownScheme),
        };
        Ok(Self(target))
    }
}

fn sqlite(rest: &str) -> Result<Target, InvalidArchiveUrl> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.ends_with('/') {
        return Err(InvalidArchiveUrl::NoPath);
    }
    // SQLite gives names that begin with a colon and parameters after a question mark a meaning of its own.
    if path.starts_with(':') || path.contains('?') {
        return Err(InvalidArchiveUrl::NotAFile);
    }
    Ok(Target::Sqlite(PathBuf::from(path)))
}

fn mongo(text: &str) -> Result<Target, InvalidArchiveUrl> {
    let parsed = ConnectionString::parse(text).map_err(|_| InvalidArchiveUrl::NotMongo)?;
    let database = parsed.default_database.filter(|name| !name.is_empty()).ok_or(InvalidArchiveUrl::NoDatabase)?;
    let hosts = match parsed.host_info {
        HostInfo::HostIdentifiers(hosts) => hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        HostInfo::DnsRecord(name) => name,
        _ => String::new(),
    };
    Ok(Target::Mongo { uri: text.to_owned(), database, hosts })
}

impl TryFrom<String> for ArchiveUrl {
    type Error = InvalidArchiveUrl;

    fn try_from(text: String) -> Result<Self, InvalidArchiveUrl> {
        text.parse()
    }
}

impl fmt::Display for ArchiveUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Target::Mongo { database, hosts, .. } => write!(f, "mongodb://{hosts}/{database}"),
        }
    }
}

impl fmt::Debug for ArchiveUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, InvalidArchiveUrl> {
        text.parse::<ArchiveUrl>().map(|url| url.to_string())
    }

    #[test]
    fn a_sqlite_address_is_a_path() {
        assert_eq!(shown("sqlite:archive.db"), Ok("sqlite:archive.db".to_owned()));
        assert_eq!(shown("sqlite://data/archive.db"), Ok("sqlite:data/archive.db".to_owned()));
        assert_eq!(shown("sqlite:///var/archive.db"), Ok("sqlite:/var/archive.db".to_owned()));
        assert_eq!(shown("sqlite:/var/archive.db"), Ok("sqlite:/var/archive.db".to_owned()));
        assert_eq!(shown("sqlite:"), Err(InvalidArchiveUrl::NoPath));
        assert_eq!(shown("sqlite://data/"), Err(InvalidArchiveUrl::NoPath));
        assert_eq!(shown("sqlite::memory:"), Err(InvalidArchiveUrl::NotAFile));
        assert_eq!(shown("sqlite:a.db?mode=ro"), Err(InvalidArchiveUrl::NotAFile));
        assert_eq!(shown("postgres://localhost/x"), Err(InvalidArchiveUrl::UnknownScheme));
    }

    #[test]
    fn a_mongodb_address_names_its_database_and_never_shows_its_password() {
        let url: ArchiveUrl = "mongodb://me:s3cret@db1:27017,db2/shop?replicaSet=rs".parse().expect("valid");
        assert_eq!(format!("{url} {url:?}"), "mongodb://db1:27017,db2:27017/shop mongodb://db1:27017,db2:27017/shop");
        assert_eq!(
            shown("mongodb+srv://me:s3cret@cluster.example.com/shop"),
            Ok("mongodb://cluster.example.com/shop".to_owned())
        );
        assert_eq!(shown("mongodb://localhost"), Err(InvalidArchiveUrl::NoDatabase));
        assert_eq!(shown("mongodb://localhost/"), Err(InvalidArchiveUrl::NoDatabase));
        assert_eq!(shown("mongodb://me:s3c/ret@localhost/x"), Err(InvalidArchiveUrl::NotMongo));
    }
}
