//! The terminal: what it shows, and what its keys do.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use ratatui::DefaultTerminal;
use stampede_archive::ArchiveError;
use stampede_domain::{DropId, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::Options;
use super::finder::{Finder, Found};
use super::keys::{Wish, wish};
use super::picture::{Picture, Sort};
use super::reader::Reader;
use super::view;
use crate::config::Loaded;
use crate::roles::{self, Stores, Unreachable};
use crate::shutdown;

/// The pause before the stores are looked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the clock on the screen goes on.
const TICK: Duration = Duration::from_secs(1);

/// What the screen knows.
pub struct Screen {
    /// The last picture; none before the first.
    pub picture: Option<Arc<Picture>>,
    /// Why there is none yet.
    pub trouble: Option<String>,
    /// Whether the picture stands still.
    pub is_paused: bool,
    /// Whether the explanation is shown.
    pub help: bool,
    /// What comes first.
    pub sort: Sort,
    /// Drops that are scrolled past.
    pub offset: usize,
    /// Drops that the screen had room for.
    pub page_rows: usize,
    /// Whether it may use colours.
    pub colours: bool,
}

/// What is found out while the screen is shown.
#[derive(Clone)]
enum News {
    /// The stores cannot be reached, or not yet.
    Connecting(Option<String>),
    Picture(Arc<Picture>),
}

/// Puts the terminal back as it was, whatever happens.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        // Where even that fails, there is no terminal left to tell it to.
        let _ = ratatui::try_restore();
    }
}

/// Shows what there is until it is told to stop.
///
/// # Errors
/// If the terminal cannot be used, or the stores will never be.
pub async fn run(options: &Options, loaded: Loaded) -> anyhow::Result<()> {
    let stop = shutdown::on_signals()?;
    let (send, mut news) = watch::channel(News::Connecting(None));
    let mut gathering = tokio::spawn(gather(options.drop.clone(), options.interval, loaded, send));
    let restored = Restored;
    let mut terminal = ratatui::try_init().context("this terminal cannot be used; --once prints a table")?;
    let mut screen = Screen::new(options.sort, colours());
    let shown = tokio::select! {
        shown = screen.show(&mut terminal, &mut news) => shown,
        ended = &mut gathering => ended.context("reading the stores failed")?,
        () = stop.cancelled() => Ok(()),
    };
    drop(terminal);
    drop(restored);
    gathering.abort();
    shown
}

/// Whether colours are wanted: <https://no-color.org>.
fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Screen {
    /// A screen that shows nothing yet.
    pub const fn new(sort: Sort, colours: bool) -> Self {
        Self { picture: None, trouble: None, is_paused: false, help: false, sort, offset: 0, page_rows: 0, colours }
    }

    async fn show(&mut self, terminal: &mut DefaultTerminal, news: &mut watch::Receiver<News>) -> anyhow::Result<()> {
        let mut events = EventStream::new();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            terminal.draw(|frame| view::draw(frame, self, Timestamp::now()))?;
            tokio::select! {
                event = events.next() => if !self.take_event(event)? { return Ok(()) },
                // When nobody gathers any more, whoever waits for it says why.
                Ok(()) = news.changed() => self.take_news(news.borrow_and_update().clone()),
                _ = tick.tick() => {}
            }
        }
    }

    /// What a key does; whether to go on.
    fn take_event(&mut self, event: Option<io::Result<Event>>) -> anyhow::Result<bool> {
        match event {
            Some(event) => Ok(wish(&event?).is_none_or(|wish| self.fulfil(wish))),
            None => bail!("the terminal is gone"),
        }
    }

    /// Does what is wished; whether to go on.
    pub fn fulfil(&mut self, wish: Wish) -> bool {
        let page = i32::try_from(self.page_rows).unwrap_or(i32::MAX).max(1);
        match wish {
            Wish::Quit => return false,
            Wish::Pause => self.is_paused = !self.is_paused,
            Wish::Help => self.help = !self.help,
            Wish::Sort => {
                let all = Sort::value_variants();
                let next = all.iter().position(|sort| *sort == self.sort).map_or(0, |at| (at + 1) % all.len());
                self.sort = all[next];
                self.arrange();
            }
            Wish::Scroll(rows) => self.scroll(rows),
            Wish::Page(pages) => self.scroll(pages.saturating_mul(page)),
            Wish::First => self.offset = 0,
            // Drawing knows where the last page begins.
            Wish::Last => self.offset = usize::MAX,
        }
        true
    }

    fn scroll(&mut self, rows: i32) {
        self.offset = self.offset.saturating_add_signed(rows as isize);
    }

    fn take_news(&mut self, news: News) {
        match news {
            News::Connecting(why) => self.trouble = why,
            News::Picture(_) if self.is_paused => {}
            News::Picture(picture) => {
                self.picture = Some(picture);
                self.arrange();
            }
        }
    }

    fn arrange(&mut self) {
        if let Some(picture) = &mut self.picture {
            Arc::make_mut(picture).sort(self.sort);
        }
    }
}

/// Reaches the stores, however long that takes, and reads them again and again. Ends only with an error that will not pass.
async fn gather(
    only: Option<DropId>,
    pause: Duration,
    loaded: Loaded,
    send: watch::Sender<News>,
) -> anyhow::Result<()> {
    let stores = loop {
        match roles::connect(&loaded, Duration::ZERO).await {
            Ok(stores) => break stores,
            Err(error) if is_passing(&error) => send.send_replace(News::Connecting(Some(format!("{error:#}")))),
            Err(error) => return Err(error),
        };
        tokio::time::sleep(PAUSE).await;
    };
    let mut finder = Finder::new(Arc::clone(&stores.archive), only);
    finder.look().await;
    if let Some(id) = finder.missing() {
        bail!("there is no drop {id}");
    }
    let (found_send, found) = watch::channel(finder.found().clone());
    // Apart from the readings: an archive that answers late must not hold up Redis's figures.
    let _finding = Aborted(tokio::spawn(find(finder, pause, found_send)));
    read(&stores, pause, found, send).await;
    Ok(())
}

async fn find(mut finder: Finder, pause: Duration, send: watch::Sender<Found>) {
    loop {
        tokio::time::sleep(pause).await;
        finder.look().await;
        send.send_replace(finder.found().clone());
    }
}

async fn read(stores: &Stores, pause: Duration, found: watch::Receiver<Found>, send: watch::Sender<News>) {
    let mut reader = Reader::new(stores);
    let mut every = interval(pause);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !send.is_closed() {
        every.tick().await;
        let now_found = found.borrow().clone();
        send.send_replace(News::Picture(Arc::new(reader.read(&now_found).await)));
    }
}

/// Whether a store may be there the next time.
fn is_passing(error: &anyhow::Error) -> bool {
    error.is::<Unreachable>() || matches!(error.downcast_ref(), Some(ArchiveError::Unavailable(_)))
}

/// A task that ends with whoever holds this.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}
