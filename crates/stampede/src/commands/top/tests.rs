//! What the screen shows, by size and by trouble.

use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use stampede_domain::{Epoch, Phase, Shard, Timestamp, Window};
use stampede_engine::{LogBound, LogStatus};

use super::keys::Wish;
use super::picture::{DropPicture, NotShown, Picture, Reach, ShardPicture, ShardState, Sort};
use super::screen::Screen;
use super::{text, view};

/// 2026-11-27T09:10:00Z.
const NOW_MS: i64 = 1_795_770_600_000;

fn at(offset_s: i64) -> Timestamp {
    Timestamp::from_ms(NOW_MS + offset_s * 1_000)
}

fn drop(id: &str, phase: Phase, [total, sold]: [u64; 2], ends_in_s: Option<i64>) -> DropPicture {
    let starts_at = if phase == Phase::Scheduled { at(754) } else { at(-600) };
    DropPicture {
        id: id.parse().expect("valid"),
        sku: "AIR-1".parse().expect("valid"),
        phase,
        window: Window { starts_at, ends_at: ends_in_s.map(at) },
        total_units: total,
        available_units: total - sold,
        held_units: 0,
        sold_units: sold,
        units_per_s: Some(if phase == Phase::Live { 41.4 } else { 0.0 }),
        as_of: at(0),
        is_stale: false,
    }
}

fn shard(number: u16, state: ShardState) -> ShardPicture {
    ShardPicture { shard: Shard::new(number).expect("a shard"), state }
}

fn trusted(backlog_orders: u64, lag_ms: u64, dead_letters: u64) -> ShardState {
    let now_ms = NOW_MS as u64;
    let log = LogStatus {
        epoch: Epoch(2),
        now_ms,
        number: 90,
        entries: 3,
        pending: 1,
        oldest_ms: Some(now_ms - lag_ms),
        backlog_orders,
        backlog_bytes: backlog_orders * 70,
    };
    ShardState::Trusted { log, dead_letters }
}

fn picture() -> Picture {
    Picture {
        as_of: at(0),
        deployment: "3f2a91c0-0000-4000-8000-000000000000".to_owned(),
        redis: Reach::Up,
        archive_kind: "mongodb",
        archive: Reach::Up,
        log_bound: LogBound::default(),
        shards: vec![shard(0, trusted(1_000, 420, 0)), shard(1, trusted(204, 80, 0))],
        drops: vec![
            drop("spring", Phase::Ended, [50, 50], Some(-7_200)),
            drop("friday", Phase::Live, [5_000, 1_234], Some(732)),
            drop("a-drop-with-quite-a-long-name", Phase::SoldOut, [120_000, 120_000], Some(90)),
            drop("next", Phase::Scheduled, [500, 0], None),
            drop("held-up", Phase::Paused, [300, 1], None),
        ],
        not_shown: NotShown { over: 8_412, current: 0, older: false },
    }
}

fn screen(mut picture: Picture) -> Screen {
    picture.sort(Sort::Phase);
    let mut screen = Screen::new(Sort::Phase, true);
    screen.picture = Some(Arc::new(picture));
    screen
}

fn drawn(screen: &mut Screen, width: u16, height: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| view::draw(frame, screen, at(0))).expect("drawn");
    terminal.backend().clone()
}

#[test]
fn a_wide_screen_has_every_column() {
    insta::assert_snapshot!(drawn(&mut screen(picture()), 150, 16));
}

#[test]
fn an_ordinary_screen_has_what_is_needed_most() {
    insta::assert_snapshot!(drawn(&mut screen(picture()), 80, 24));
}

#[test]
fn a_narrow_and_low_screen_still_shows_drops() {
    insta::assert_snapshot!(drawn(&mut screen(picture()), 34, 8));
}

#[test]
fn no_size_is_too_small() {
    for (width, height) in [(1, 1), (2, 3), (12, 2), (200, 1)] {
        drawn(&mut screen(picture()), width, height);
    }
}

#[test]
fn an_empty_deployment_says_so() {
    let empty = Picture { drops: Vec::new(), not_shown: NotShown::default(), ..picture() };
    insta::assert_snapshot!(drawn(&mut screen(empty), 80, 9));
}

#[test]
fn stores_that_are_away_are_named_and_what_was_known_stays() {
    let mut away = picture();
    away.redis = Reach::Away { since: at(-12), why: "the hot state is unavailable: timed out".to_owned() };
    away.archive = Reach::Away { since: at(-75), why: "no answer within 3 s".to_owned() };
    let states = [ShardState::Away, ShardState::Fenced, ShardState::Moving, trusted(1_700_000, 45_000, 3)];
    away.shards = (0..).zip(states).map(|(number, state)| shard(number, state)).collect();
    away.drops.iter_mut().for_each(|drop| (drop.is_stale, drop.units_per_s) = (true, None));
    let mut screen = screen(away);
    let backend = drawn(&mut screen, 100, 15);
    insta::assert_snapshot!(backend);
    let colour = |x, y| backend.buffer().cell((x, y)).expect("on the screen").fg;
    assert_eq!([colour(0, 1), colour(0, 8)], [Color::Red, Color::DarkGray], "an alarm, and figures of before");
}

#[test]
fn before_the_first_picture_it_says_what_it_waits_for() {
    let mut screen = Screen::new(Sort::Phase, true);
    screen.trouble = Some("Redis at redis://db:6379 cannot be reached".to_owned());
    insta::assert_snapshot!(drawn(&mut screen, 80, 6));
}

#[test]
fn phases_have_colours_unless_nobody_wants_them() {
    let mut screen = screen(picture());
    let colours = |screen: &mut Screen| {
        let backend = drawn(screen, 80, 24);
        (7..11).map(|y| backend.buffer().cell((0, y)).expect("on the screen").fg).collect::<Vec<_>>()
    };
    assert_eq!(colours(&mut screen), [Color::Green, Color::Yellow, Color::Magenta, Color::Cyan]);
    screen.colours = false;
    assert_eq!(colours(&mut screen), [Color::Reset; 4]);
}

#[test]
fn keys_scroll_sort_pause_and_explain() {
    let mut many = picture();
    many.drops = (0..40).map(|n| drop(&format!("drop-{n:02}"), Phase::Live, [100, n], None)).collect();
    let mut screen = screen(many);
    let first = |screen: &mut Screen| drawn(screen, 80, 20).to_string().lines().nth(7).expect("a row").to_owned();
    assert!(first(&mut screen).contains("drop-00"));
    let rows = screen.page_rows;
    for (wish, id) in [
        (Wish::Scroll(1), "drop-01".to_owned()),
        (Wish::Page(1), format!("drop-{:02}", rows + 1)),
        (Wish::Scroll(-1), format!("drop-{rows:02}")),
        (Wish::Last, format!("drop-{:02}", 40 - rows)),
        (Wish::Scroll(1), format!("drop-{:02}", 40 - rows)),
        (Wish::First, "drop-00".to_owned()),
        (Wish::Sort, "drop-39".to_owned()),
    ] {
        assert!(screen.fulfil(wish));
        assert!(first(&mut screen).contains(&id), "{wish:?}: {}", first(&mut screen));
    }
    assert_eq!(screen.sort, Sort::Sold);
    assert!(screen.fulfil(Wish::Pause) && screen.is_paused);
    assert!(drawn(&mut screen, 80, 20).to_string().contains("PAUSED"));
    assert!(screen.fulfil(Wish::Help));
    insta::assert_snapshot!(drawn(&mut screen, 100, 24));
    assert!(!screen.fulfil(Wish::Quit));
}

#[test]
fn every_order_has_its_first() {
    let mut picture = picture();
    let mut first = |sort| {
        picture.sort(sort);
        picture.drops[0].id.to_string()
    };
    assert_eq!([first(Sort::Phase), first(Sort::Rate)], ["friday", "friday"]);
    assert_eq!(first(Sort::Sold), "a-drop-with-quite-a-long-name");
    assert_eq!([first(Sort::Available), first(Sort::Ends)], ["a-drop-with-quite-a-long-name"; 2]);
    assert_eq!(first(Sort::Id), "a-drop-with-quite-a-long-name");
    let last = picture.drops.last().map(|drop| drop.id.to_string());
    assert_eq!(last.as_deref(), Some("spring"));
}

#[test]
fn a_page_has_every_column_but_the_bar_and_json_everything() {
    let mut picture = picture();
    picture.sort(Sort::Phase);
    insta::assert_snapshot!(text::table(&picture));
    insta::assert_json_snapshot!(text::json(&picture));
}

#[test]
fn a_picture_says_what_keeps_it_from_being_whole() {
    assert_eq!(picture().trouble(), None);
    let away = Reach::Away { since: at(0), why: "gone".to_owned() };
    assert_eq!(Picture { redis: away.clone(), ..picture() }.trouble().as_deref(), Some("Redis does not answer: gone"));
    let fenced = Picture { shards: vec![shard(3, ShardState::Fenced)], ..picture() };
    assert_eq!(fenced.shards_that(|state| matches!(state, ShardState::Fenced)), [Shard::new(3).expect("a shard")]);
}
