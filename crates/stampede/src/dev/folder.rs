//! The folder in which a dev keeps everything.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, anyhow, bail};

use super::SETTINGS_FILE;

/// Says that a dev made the folder, so that `--fresh` may delete in it.
const MARKER: &str = ".stampede-dev";
const MARKER_TEXT: &str = "This folder was made by `stampede dev`, which may delete what is in it.\n";
/// Keeps the folder, with its secrets, out of version control.
const IGNORE: &str = ".gitignore";
/// The owner may use the folder, nobody else.
const OWNER_ONLY: u32 = 0o700;
const LOCK: &str = "lock";

/// What a dev keeps, and `--fresh` deletes.
const KEPT: [&str; 6] = ["redis", "archive.db", "archive.db-wal", "archive.db-shm", "operator.token", SETTINGS_FILE];

/// The folder of this dev; no other dev can use it until this is dropped, or the process is gone.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder, and makes it if there is none.
    ///
    /// # Errors
    /// If another dev uses it, if it is not a dev's, or if it cannot be written; in words that say what to do.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let shown = dir.display();
        let unusable = || format!("the folder {shown} cannot be used; choose another with --dir");
        // It holds secrets, and what shoppers did.
        DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(dir).with_context(unusable)?;
        let path = dir.canonicalize().with_context(unusable)?;
        if path.to_str().is_none_or(|path| path.contains(['?', '\n'])) {
            bail!("{shown}: the path must be UTF-8, without question marks; choose another with --dir");
        }
        if !path.join(MARKER).exists() {
            let is_empty = path.read_dir().with_context(unusable)?.next().is_none();
            if !is_empty {
                bail!("{shown} is not empty, and was not made by `stampede dev`: choose another folder with --dir");
            }
            std::fs::write(path.join(MARKER), MARKER_TEXT).with_context(unusable)?;
            std::fs::write(path.join(IGNORE), "*\n").with_context(unusable)?;
        }
        let lock = lock(&path.join(LOCK), dir)?;
        Ok(Self { path, _lock: lock })
    }

    /// Deletes what earlier runs kept. Their Redis must have stopped.
    ///
    /// # Errors
    /// If something cannot be deleted.
    pub fn clear(&self) -> anyhow::Result<()> {
        for name in KEPT {
            let path = self.path.join(name);
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(anyhow!(error).context(format!("{} cannot be deleted", path.display())));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The folder itself, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where Redis keeps its files.
    pub fn redis(&self) -> PathBuf {
        self.path.join("redis")
    }

    /// The archive.
    pub fn archive(&self) -> PathBuf {
        self.path.join("archive.db")
    }

    /// The operator's token.
    pub fn operator_token(&self) -> PathBuf {
        self.path.join("operator.token")
    }

    /// The settings for other commands.
    pub fn settings(&self) -> PathBuf {
        self.path.join(SETTINGS_FILE)
    }
}

fn lock(path: &Path, dir: &Path) -> anyhow::Result<File> {
    let shown = dir.display();
    let unusable = || format!("the folder {shown} cannot be written; choose another with --dir");
    let opened = File::options().create(true).read(true).write(true).truncate(false).open(path);
    let mut file = opened.with_context(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            bail!(
                "{shown} is in use by another `stampede dev`, process {holder}. Stop that one (kill {holder}), or choose \
                 another folder with --dir"
            );
        }
        Err(TryLockError::Error(error)) => return Err(anyhow!(error).context(unusable())),
    }
    file.set_len(0).and_then(|()| write!(file, "{}", process::id())).with_context(unusable)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_dev() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("empty");
        let message = Folder::open(dir.path()).expect_err("in use").to_string();
        assert!(message.contains(&format!("process {}", process::id())), "{message}");
        drop(folder);
        Folder::open(dir.path()).expect("free again");
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("archive.db"), "precious").expect("written");
        let message = Folder::open(dir.path()).expect_err("not ours").to_string();
        assert!(message.contains("not made by `stampede dev`"), "{message}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1, "nothing was put into it");
    }

    #[test]
    fn clearing_deletes_what_a_dev_keeps_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("empty");
        std::fs::create_dir(folder.redis()).expect("made");
        for file in [folder.archive(), folder.settings(), folder.redis().join("x"), folder.path().join("notes")] {
            std::fs::write(file, "x").expect("written");
        }
        folder.clear().expect("cleared");
        assert!(!folder.archive().exists() && !folder.settings().exists() && !folder.redis().exists());
        assert!(folder.path().join("notes").exists() && folder.path().join(MARKER).exists());
        folder.clear().expect("nothing is left to clear");
    }
}
