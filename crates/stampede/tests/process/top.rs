//! `stampede top`: on a terminal of its own while a sale runs, and on paper.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use pty_process::blocking::{Command as PtyCommand, Pty, open};
use reqwest::StatusCode;
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::{Value, json};

use super::support::{Dev, LIMIT, run, signal, stampede};

/// A `stampede top` on a terminal that nobody else has.
struct Screen {
    pty: Arc<Pty>,
    child: Child,
    bytes: Receiver<Vec<u8>>,
    parser: vt100::Parser,
}

impl Screen {
    fn start(dir: &Path, rows: u16, columns: u16, variables: &[(&str, &str)]) -> Self {
        let (pty, pts) = open().expect("a terminal");
        pty.resize(pty_process::Size::new(rows, columns)).expect("resized");
        let mut command = PtyCommand::new(env!("CARGO_BIN_EXE_stampede"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TERM", "xterm-256color")
            .args(["top", "--dir"])
            .arg(dir);
        for (name, value) in variables {
            command = command.env(name, value);
        }
        let child = command.spawn(pts).expect("it starts");
        let pty = Arc::new(pty);
        let (send, bytes) = channel();
        let reading = Arc::clone(&pty);
        // It ends with the last process that has the other side open.
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(read @ 1..) = (&*reading).read(&mut buffer) {
                if send.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let size = |cells| NonZeroU16::new(cells).expect("not empty");
        Self { pty, child, bytes, parser: vt100::Parser::new(size(rows), size(columns), 0) }
    }

    fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("pressed");
    }

    /// What stands on it, once that is as it is wanted.
    fn wait_for(&mut self, what: &str, is: impl Fn(&vt100::Screen) -> bool) -> String {
        let deadline = Instant::now() + LIMIT;
        while !is(self.parser.screen()) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.parser.process(&bytes),
                Err(_) => panic!("{what} was not shown:\n{}", self.parser.screen().contents()),
            }
        }
        self.parser.screen().contents()
    }

    fn wait_for_text(&mut self, text: &str) -> String {
        self.wait_for(text, |screen| screen.contents().contains(text))
    }

    /// Waits for its end, and for the last of what it wrote: its exit code. The terminal is as it was before.
    fn end(mut self) -> Option<i32> {
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        while let Ok(bytes) = self.bytes.recv_timeout(LIMIT) {
            self.parser.process(&bytes);
        }
        assert_restored(&self.pty, &self.parser);
        status.code()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the row of a drop says under a title. Figures end where their titles end.
fn cell(screen: &vt100::Screen, id: &str, title: &str) -> Option<String> {
    let page = screen.contents();
    let header = page.lines().find(|line| line.starts_with("DROP"))?;
    let row = page.lines().find(|line| line.split_whitespace().next() == Some(id))?;
    let end = header.find(title)? + title.len();
    let left: String = row.chars().take(end).collect();
    left.split_whitespace().last().map(str::to_owned)
}

/// The units that the demo has sold.
fn sold(screen: &vt100::Screen) -> Option<u64> {
    cell(screen, "demo", "SOLD")?.parse().ok()
}

async fn buy(dev: &Dev, from: u32, to: u32) {
    for n in from..to {
        let api = dev.api().sign_in(&format!("shopper_{n}")).await;
        let (status, _, order) = api.order("demo", "one").await;
        assert_eq!(status, StatusCode::CREATED, "{order}");
    }
}

/// The terminal is as programs expect it: echoing, line by line, on its first screen, with a cursor.
fn assert_restored(pty: &Pty, parser: &vt100::Parser) {
    let modes = tcgetattr(pty).expect("a terminal").local_modes;
    assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON), "{modes:?}");
    assert!(!parser.screen().alternate_screen() && !parser.screen().hide_cursor());
}

#[tokio::test]
async fn figures_change_while_a_sale_runs_and_q_gives_the_terminal_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    let mut screen = Screen::start(dir.path(), 24, 80, &[]);
    let page = screen.wait_for("the demo", |screen| sold(screen) == Some(0));
    assert!(page.contains("8 of 8 shards trusted") && page.contains("dead letters 0"), "{page}");
    let modes = tcgetattr(&*screen.pty).expect("a terminal").local_modes;
    assert!(screen.parser.screen().alternate_screen() && !modes.contains(LocalModes::ECHO), "{modes:?}");

    buy(&dev, 0, 7).await;
    screen.wait_for("seven units", |screen| sold(screen) == Some(7));
    // Seven units within a few seconds are a rate, and that is one for the whole deployment too.
    screen.wait_for("a rate", |screen| {
        cell(screen, "demo", "UNITS/S").is_some_and(|rate| rate.parse::<f64>().is_ok_and(|rate| rate > 0.0))
    });

    screen.press("p");
    screen.wait_for_text("PAUSED");
    buy(&dev, 7, 9).await;
    screen.press("s");
    let page = screen.wait_for_text("s sort: sold");
    assert_eq!(sold(screen.parser.screen()), Some(7), "it stands still: {page}");
    screen.press("p");
    screen.wait_for("nine units", |screen| sold(screen) == Some(9));

    // A new drop is found.
    let token = std::fs::read_to_string(dir.path().join("operator.token")).expect("a token");
    let operator = dev.api().with_token(&token);
    let product = json!({"sku": "CAP", "name": "Cap", "price": {"amount_minor": 900, "currency": "EUR"}});
    let body = json!({"id": "caps", "mode": "instant", "stock_units": 5, "starts_at": "2099-01-01T00:00:00Z", "product": product});
    assert_eq!(operator.post("/drops", &body).await.0, StatusCode::CREATED);
    screen.wait_for("the new drop", |screen| {
        screen.contents().lines().any(|line| line.starts_with("caps ") && line.contains(" scheduled "))
    });

    screen.press("?");
    screen.wait_for_text("the lag");
    screen.press("?");
    screen.wait_for("the drops", |screen| sold(screen) == Some(9));
    screen.press("q");
    assert_eq!(screen.end(), Some(0));
}

#[tokio::test]
async fn a_redis_that_is_away_is_said_so_and_waited_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    let mut screen = Screen::start(dir.path(), 24, 100, &[("NO_COLOR", "1")]);
    screen.wait_for("the demo", |screen| sold(screen).is_some());
    let (rows, columns) = screen.parser.screen().size();
    let cells = (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
    for (row, column) in cells {
        let colour = screen.parser.screen().cell(row, column).map(vt100::Cell::fgcolor);
        assert_eq!(colour, Some(vt100::Color::Default), "no colour at {row}, {column}");
    }
    let redis = dev.redis_pid();
    signal(&redis, "STOP");
    let page = screen.wait_for_text("Redis AWAY");
    assert!(page.contains("demo"), "what was known stays: {page}");
    signal(&redis, "CONT");
    screen.wait_for_text("Redis up");
    signal(&screen.child.id().to_string(), "TERM");
    assert_eq!(screen.end(), Some(0), "told to stop, it stops");
}

#[tokio::test]
async fn a_redis_that_was_never_there_is_waited_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    signal(&dev.redis_pid(), "STOP");
    let mut screen = Screen::start(dir.path(), 24, 100, &[]);
    screen.wait_for_text("cannot be reached");
    signal(&dev.redis_pid(), "CONT");
    screen.wait_for("the demo", |screen| sold(screen).is_some());
    screen.press("\u{3}");
    assert_eq!(screen.end(), Some(0), "Ctrl-C");
}

#[tokio::test]
async fn on_paper_the_figures_are_those_of_the_api() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    buy(&dev, 0, 3).await;
    let top = |args: &[&str]| {
        let mut command = stampede(&[&["top", "--dir", dir.path().to_str().expect("UTF-8")], args].concat());
        run(&mut command)
    };
    let (code, out, stderr) = top(&["--once", "--format", "json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let picture: Value = serde_json::from_str(&out).expect("JSON");
    let token = std::fs::read_to_string(dir.path().join("operator.token")).expect("a token");
    let (_, _, stock) = dev.api().with_token(&token).get("/drops/demo/stock").await;
    let (_, _, drop) = dev.api().get("/drops/demo").await;
    let shown = &picture["drops"][0];
    for figure in ["total", "available", "held", "sold"] {
        assert_eq!(shown[figure], stock[figure], "{figure}: {picture}");
    }
    assert_eq!(shown["sold"], 3);
    for field in ["sku", "phase", "starts_at", "ends_at"] {
        assert_eq!(shown[field], drop[field], "{field}: {picture}");
    }
    assert_eq!((&picture["redis"]["up"], &picture["archive"]["reach"]["up"]), (&json!(true), &json!(true)));
    assert_eq!(picture["shards"].as_array().map(Vec::len), Some(8));

    // Without a terminal it is a page, and one drop may be asked for.
    let (code, page, stderr) = top(&["--drop", "demo"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(page.contains("8 of 8 shards trusted") && page.contains("demo-sneaker"), "{page}");
    let (code, _, stderr) = top(&["--drop", "none"]);
    assert_eq!((code, stderr.as_str()), (Some(1), "error: there is no drop none\n"));
    let (code, _, stderr) = top(&["--interval", "0s"]);
    assert!(code == Some(2) && stderr.contains("from 1s to 1h"), "{stderr}");
}

#[tokio::test]
async fn of_many_drops_that_are_over_only_the_last_ones_are_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    let token = std::fs::read_to_string(dir.path().join("operator.token")).expect("a token");
    let operator = dev.api().with_token(&token);
    let product = json!({"sku": "CAP", "name": "Cap", "price": {"amount_minor": 900, "currency": "EUR"}});
    for n in 0..25 {
        let body = json!({"id": format!("cap-{n}"), "mode": "instant", "stock_units": 5, "product": product});
        assert_eq!(operator.post("/drops", &body).await.0, StatusCode::CREATED);
        assert_eq!(operator.post(&format!("/drops/cap-{n}/close"), &json!({})).await.0, StatusCode::OK);
    }
    let args = ["top", "--once", "--format", "json", "--dir", dir.path().to_str().expect("UTF-8")];
    let (code, out, stderr) = run(&mut stampede(&args));
    assert_eq!(code, Some(0), "{stderr}");
    let picture: Value = serde_json::from_str(&out).expect("JSON");
    let drops = picture["drops"].as_array().expect("drops");
    assert_eq!((drops.len(), &drops[0]["drop_id"], &drops[0]["phase"]), (21, &json!("demo"), &json!("live")));
    assert_eq!(picture["not_shown"], json!({"over": 5, "current": 0, "older_exist": false}));
    // Those that started last are those that ended last, as far as anybody knows.
    assert!(
        drops.iter().all(|drop| drop["drop_id"] != "cap-0") && drops.iter().any(|drop| drop["drop_id"] == "cap-24")
    );
}

#[test]
fn a_terminal_is_given_back_when_the_stores_are_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = format!("sqlite:{}", dir.path().join("archive.db").display());
    let (pty, pts) = open().expect("a terminal");
    let mut child = PtyCommand::new(env!("CARGO_BIN_EXE_stampede"))
        .env_clear()
        .env("STAMPEDE_ARCHIVE_URL", archive)
        .arg("top")
        .spawn(pts)
        .expect("it starts");
    let mut written = Vec::new();
    // Reading ends with an error once the other side is closed.
    let _ = (&pty).read_to_end(&mut written);
    assert_eq!(child.wait().expect("waited for").code(), Some(1));
    let mut parser = vt100::Parser::default();
    parser.process(&written);
    assert_restored(&pty, &parser);
    let page = parser.screen().contents();
    assert!(page.contains("stampede migrate"), "{page}");
}
