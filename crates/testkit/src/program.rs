//! A program that tests start, stop, freeze and kill.

use std::io;
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::time::Duration;

use crate::process;

/// A running program. It is killed when it is dropped, and when the test process ends.
#[derive(Debug)]
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts `program`, with what `configure` says of it: arguments, environment, outputs.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(program: &str, configure: impl FnOnce(&mut Command)) -> io::Result<Self> {
        let mut command = process::bound_command(program);
        configure(&mut command);
        Ok(Self { child: process::spawn(command)? })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; none while it runs.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end; none if it still runs after `limit`.
    ///
    /// # Errors
    /// If the system does not say.
    pub async fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        process::wait_for_exit(&mut self.child, limit).await
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        process::signal(&self.child, "TERM");
    }

    /// Freezes it: connections stay, nothing answers.
    pub fn freeze(&self) {
        process::signal(&self.child, "STOP");
        process::wait_until_stopped(&self.child);
    }

    /// Lets it go on after a freeze.
    pub fn thaw(&self) {
        process::signal(&self.child, "CONT");
    }

    /// Its standard input, if that is a pipe; closed when it is dropped.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Kills it as a crash does, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
