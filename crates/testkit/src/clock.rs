//! Servers whose clock is wrong.

use std::path::PathBuf;
use std::process::Command;

/// Whether a server's clock can be set back here: that needs libfaketime (the package `faketime`).
pub fn can_set_clock_back() -> bool {
    library().is_some()
}

/// Lets the program of a command believe that it is `back_s` seconds earlier.
///
/// # Panics
/// Where that cannot be done.
pub(crate) fn set_back(command: &mut Command, back_s: u32) {
    if back_s == 0 {
        return;
    }
    let library = library().expect("libfaketime, to set a server's clock back: install the package faketime");
    // With the C library's allocator: jemalloc asks for the time before the other is ready to say it.
    command.env("LD_PRELOAD", format!("{}:libc.so.6", library.display()));
    command.env("FAKETIME", format!("-{back_s}s")).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/lib64"].into_iter().flat_map(|root| {
        let below = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        below.chain([PathBuf::from(root)])
    });
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.is_file())
}
