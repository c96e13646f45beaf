//! The `stampede` binary: one program for every role of the engine, and for looking after it.

mod admin;
mod cli;
mod commands;
mod config;
mod dev;
mod open_files;
mod private_file;
mod roles;
mod shutdown;
mod telemetry;

use std::process::ExitCode;

/// Sales come in bursts of small allocations on all threads, which this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Of the cryptography that is compiled in, all clients use this. Nobody chose before, so that it cannot fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::run()
}
