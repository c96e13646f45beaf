//! Child processes that do not outlive the test process, however that one ends.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A command for `program` that the kernel kills when the test process dies.
///
/// Where `setpriv` cannot do that (macOS, a small userland), the program runs plainly, and only `Drop` ends it.
pub(crate) fn bound_command(program: &str) -> Command {
    if !setpriv_works() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// Starts `command` from a thread that lives as long as the process does.
///
/// The kernel sends the death signal when the *thread* that started the child ends, and a server may be shared by
/// tests that each have a thread of their own.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Request = (Command, Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();

    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = channel::<Request>();
        thread::Builder::new()
            .name("testkit-spawner".into())
            .spawn(move || {
                for (mut command, answer) in inbox {
                    // The asker waits for this answer, so it is there to receive it.
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread that starts the servers of tests");
        requests
    });
    let (answer, started) = channel();
    spawner.send((command, answer)).expect("the spawner lives as long as the process");
    started.recv().expect("the spawner answers every request")
}

/// Whether `program` is an executable file of the search path.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Waits until `child` has ended; `None` when it still runs after `limit`.
pub(crate) async fn wait_for_exit(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Sends a signal by its name (`STOP`, `CONT`, `TERM`).
pub(crate) fn signal(child: &Child, name: &str) {
    // A shell has `kill` built in; a small system may not have it as a program.
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {}", child.id())])
        .stdin(Stdio::null())
        .status()
        .expect("a shell, to send a signal with");
    assert!(status.success(), "SIG{name} could not be sent to process {}", child.id());
}

/// Waits until a process that was sent `STOP` has stopped: the signal is only under way when `kill` returns.
pub(crate) fn wait_until_stopped(child: &Child) {
    let stat = format!("/proc/{}/stat", child.id());
    let deadline = Instant::now() + Duration::from_secs(5);
    while Path::new(&stat).exists() {
        let text = std::fs::read_to_string(&stat).unwrap_or_default();
        // The state follows the program's name, which is in brackets and may hold spaces.
        let state = text.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        if state == Some('T') {
            return;
        }
        assert!(Instant::now() < deadline, "process {} did not stop", child.id());
        thread::sleep(Duration::from_millis(1));
    }
}

fn setpriv_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        cfg!(target_os = "linux")
            && Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "true"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
    })
}
