//! A picture on a screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};
use stampede_domain::{Phase, Shard, Timestamp};

use super::columns;
use super::format;
use super::picture::{DropPicture, NotShown, Picture, Reach, ShardState};
use super::screen::Screen;

/// Shards that a line names.
const NAMED: usize = 4;
/// Rows that a low screen keeps for the drops, their titles and the keys.
const KEPT_ROWS: u16 = 6;
/// A lag from which on it is shown as a warning, and as an alarm, in ms.
const LAG_MS: [u64; 2] = [5_000, 30_000];
/// The same of how full the fullest log is.
const FULL: [f64; 2] = [0.5, 0.8];

const HELP: &str = "\
SOLD %   sold and held units of all
UNITS/S  units sold each second over the last five seconds; below 0 while orders are cancelled
OUT IN   when the last unit goes at this rate
WINDOW   when a drop starts (in), how long it still sells (left), when it ended (ago)
backlog  orders that are decided and not yet in the archive, of the bound at which new ones are refused
oldest   for how long the oldest of them has waited: the lag
fenced   a shard decides nothing until a worker has recovered it
Figures in grey could not be read just now: they are the last that were.

q or Ctrl-C quits   p stops the picture and lets it go on   s takes the next order   ? goes back
arrows, PgUp, PgDn, Home and End scroll";

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mood {
    Quiet,
    Plain,
    Warning,
    Alarm,
}

/// A piece of a line.
type Piece = (String, Mood);

/// Draws the screen as it is at `now`.
pub fn draw(frame: &mut Frame<'_>, screen: &mut Screen, now: Timestamp) {
    let area = frame.area();
    let head = header(screen, now);
    let head_rows = (head.len() as u16).min(area.height.saturating_sub(KEPT_ROWS));
    let rows = [Constraint::Length(head_rows), Constraint::Min(0), Constraint::Length(1)];
    let [top, middle, bottom] = Layout::vertical(rows).areas(area);
    frame.render_widget(Paragraph::new(head), top);
    match (&screen.picture, screen.help) {
        (_, true) => frame.render_widget(Paragraph::new(HELP).wrap(Wrap { trim: false }), middle),
        (Some(picture), false) => {
            let picture = picture.clone();
            draw_drops(frame, middle, screen, &picture, now);
        }
        (None, false) => {}
    }
    let keys = format!("q quit  p pause  s sort: {}  ↑↓ scroll  ? help", sort_name(screen));
    frame.render_widget(Line::styled(keys, screen.style(Mood::Quiet)), bottom);
}

fn sort_name(screen: &Screen) -> String {
    let value = clap::ValueEnum::to_possible_value(&screen.sort);
    value.map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn header<'a>(screen: &Screen, now: Timestamp) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let mut title = vec![("stampede top".to_owned(), Mood::Plain)];
    if screen.is_paused {
        title.push(("PAUSED: p goes on".to_owned(), Mood::Warning));
    }
    match &screen.picture {
        Some(picture) => {
            // The clock goes on though the picture may not.
            title.insert(1, (format!("deployment {}", short(&picture.deployment)), Mood::Plain));
            title.insert(2, (clock(if screen.is_paused { picture.as_of } else { now }), Mood::Plain));
            lines.push(title);
            lines.extend(pieces(picture, now));
        }
        None => {
            title.push((clock(now), Mood::Plain));
            lines.push(title);
            lines.push(vec![("connecting to Redis and the archive".to_owned(), Mood::Plain)]);
            lines.extend(screen.trouble.clone().map(|why| vec![(why, Mood::Warning)]));
        }
    }
    let mut lines: Vec<Line<'a>> = lines.into_iter().map(|pieces| line(screen, pieces)).collect();
    lines.push(Line::default());
    lines
}

fn line<'a>(screen: &Screen, pieces: Vec<Piece>) -> Line<'a> {
    let mut spans = Vec::new();
    for (text, mood) in pieces {
        if !spans.is_empty() {
            spans.push(Span::styled(" · ", screen.style(Mood::Quiet)));
        }
        spans.push(Span::styled(text, screen.style(mood)));
    }
    Line::from(spans)
}

/// What is above the drops, in words.
pub fn summary(picture: &Picture, now: Timestamp) -> Vec<String> {
    let title = format!("deployment {} · {}", short(&picture.deployment), clock(now));
    let lines = pieces(picture, now).into_iter();
    let lines = lines.map(|pieces| pieces.into_iter().map(|(text, _)| text).collect::<Vec<_>>().join(" · "));
    std::iter::once(title).chain(lines).collect()
}

/// What is said of the drops that are not shown.
pub fn rest(not_shown: NotShown) -> Option<String> {
    let NotShown { over, current, older } = not_shown;
    let mut parts = Vec::new();
    if over > 0 {
        parts.push(format!("{} more that are over", format::count(over as u64)));
    }
    if current > 0 {
        parts.push(format!("{} more that are not over", format::count(current as u64)));
    }
    if older {
        parts.push("older ones (--drop ID shows one)".to_owned());
    }
    (!parts.is_empty()).then(|| format!("… and {}", parts.join(", ")))
}

fn pieces(picture: &Picture, now: Timestamp) -> Vec<Vec<Piece>> {
    let redis = reach("Redis", &picture.redis, now);
    let archive = reach(&format!("archive ({})", picture.archive_kind), &picture.archive, now);
    // A reason needs a line of its own.
    let stores =
        if picture.trouble().is_some() { vec![vec![redis], vec![archive]] } else { vec![vec![redis, archive]] };
    let totals = picture.totals();
    let mood = |is: [bool; 2]| {
        if is[1] {
            Mood::Alarm
        } else if is[0] {
            Mood::Warning
        } else {
            Mood::Plain
        }
    };
    let (orders, bytes) = (format::count(totals.backlog_orders), format::bytes(totals.backlog_bytes));
    let log = vec![
        (
            format!("backlog {orders} orders, {bytes} ({} of the bound)", format::percent(totals.fullest_log)),
            mood(FULL.map(|full| totals.fullest_log >= full)),
        ),
        (format!("oldest {}", format::time(totals.oldest_ms)), mood(LAG_MS.map(|lag| totals.oldest_ms >= lag))),
        (
            format!("dead letters {}", format::count(totals.dead_letters)),
            if totals.dead_letters > 0 { Mood::Alarm } else { Mood::Plain },
        ),
    ];
    stores.into_iter().chain([shards(picture), log, phases(picture)]).collect()
}

fn reach(what: &str, reach: &Reach, now: Timestamp) -> Piece {
    match reach {
        Reach::Up => (format!("{what} up"), Mood::Plain),
        Reach::Away { since, why } => {
            let for_ms = u64::try_from(now.as_ms() - since.as_ms()).unwrap_or_default();
            (format!("{what} AWAY for {}: {why}", format::time(for_ms)), Mood::Alarm)
        }
    }
}

fn shards(picture: &Picture) -> Vec<Piece> {
    let trusted = picture.shards_that(|state| matches!(state, ShardState::Trusted { .. }));
    let mut pieces = vec![(format!("{} of {} shards trusted", trusted.len(), picture.shards.len()), Mood::Plain)];
    for (word, mood) in [("fenced", Mood::Alarm), ("moving", Mood::Warning), ("away", Mood::Alarm)] {
        let of = picture.shards_that(|state| state.as_str() == word);
        if !of.is_empty() {
            pieces.push((format!("{} {word}: {}", of.len(), names(&of)), mood));
        }
    }
    pieces
}

fn names(shards: &[Shard]) -> String {
    let named: Vec<String> = shards.iter().take(NAMED).map(ToString::to_string).collect();
    named.join(" ") + if shards.len() > NAMED { " …" } else { "" }
}

fn phases(picture: &Picture) -> Vec<Piece> {
    let count = |phase| picture.drops.iter().filter(|drop| drop.phase == phase).count();
    let shown = [Phase::Live, Phase::Paused, Phase::SoldOut, Phase::Scheduled];
    let mut pieces: Vec<Piece> = shown
        .into_iter()
        .map(|phase| (phase, count(phase)))
        .filter(|(phase, count)| *count > 0 || *phase == Phase::Live)
        .map(|(phase, count)| (format!("{count} {}", phase.as_str().replace('_', " ")), Mood::Plain))
        .collect();
    let rates = picture.drops.iter().filter_map(|drop| drop.units_per_s);
    pieces.push((format!("selling {} units/s", format::rate(rates.sum())), Mood::Plain));
    pieces
}

fn draw_drops(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen, picture: &Picture, now: Timestamp) {
    let rest = rest(picture.not_shown);
    let [table, below] =
        Layout::vertical([Constraint::Min(0), Constraint::Length(u16::from(rest.is_some()))]).areas(area);
    if let Some(rest) = rest {
        frame.render_widget(Line::styled(rest, screen.style(Mood::Quiet)), below);
    }
    if picture.drops.is_empty() {
        frame.render_widget(Line::raw("There is no drop yet. `stampede seed` makes one."), table);
        return;
    }
    let rows = usize::from(table.height.saturating_sub(1));
    screen.page_rows = rows;
    // The last page stays full.
    screen.offset = screen.offset.min(picture.drops.len().saturating_sub(rows));
    let columns = columns::that_fit(usize::from(table.width), &picture.drops, now);
    let titles = columns.iter().map(|(column, width)| aligned(column.title().to_owned(), *width, column.is_figure()));
    let body = picture.drops.iter().skip(screen.offset).take(rows).map(|drop| {
        let cells = columns.iter().map(|(column, width)| aligned(column.cell(drop, now), *width, column.is_figure()));
        Row::new(cells.map(Cell::from)).style(screen.drop_style(drop))
    });
    let widths = columns.iter().map(|(_, width)| Constraint::Length(*width as u16));
    let header = Row::new(titles.map(Cell::from)).style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(body, widths).header(header).column_spacing(1), table);
}

fn aligned(text: String, width: usize, right: bool) -> String {
    if right {
        format!("{text:>width$}")
    } else if text.chars().count() > width {
        // A cut id is seen to be cut.
        text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    } else {
        text
    }
}

impl Screen {
    const fn style(&self, mood: Mood) -> Style {
        let style = Style::new();
        match mood {
            Mood::Plain => style,
            Mood::Quiet if self.colours => style.fg(Color::DarkGray),
            Mood::Quiet => style,
            Mood::Warning if self.colours => style.fg(Color::Yellow),
            Mood::Warning => style.add_modifier(Modifier::BOLD),
            Mood::Alarm if self.colours => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            Mood::Alarm => style.add_modifier(Modifier::BOLD),
        }
    }

    const fn drop_style(&self, drop: &DropPicture) -> Style {
        let style = Style::new();
        if !self.colours {
            return if drop.is_stale { style.add_modifier(Modifier::DIM) } else { style };
        }
        if drop.is_stale {
            return style.fg(Color::DarkGray);
        }
        match drop.phase {
            Phase::Live => style.fg(Color::Green),
            Phase::Paused => style.fg(Color::Yellow),
            Phase::SoldOut => style.fg(Color::Magenta),
            Phase::Scheduled => style.fg(Color::Cyan),
            Phase::Ended | Phase::Cancelled => style.fg(Color::Gray),
        }
    }
}

/// `14:03:05 UTC`.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} UTC", text.get(11..19).unwrap_or_default())
}

/// Enough of an id to tell deployments apart.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
