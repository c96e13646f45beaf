//! The columns of the table, on a screen and on paper.

use stampede_domain::{Phase, Timestamp};

use super::format;
use super::picture::DropPicture;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The drop's id.
    Drop,
    /// What it sells.
    Sku,
    /// Its phase.
    Phase,
    /// All units.
    Total,
    /// Sold units.
    Sold,
    /// Held units.
    Held,
    /// Units that are left.
    Available,
    /// How much is sold or held.
    Percent,
    /// The same as a bar.
    Bar,
    /// How fast it sells.
    Rate,
    /// When the last unit goes at this rate.
    SellsOut,
    /// When it starts, ends, or ended.
    Turn,
}

/// All columns, as they stand from left to right.
pub const ALL: [Column; 12] = [
    Column::Drop,
    Column::Sku,
    Column::Phase,
    Column::Total,
    Column::Sold,
    Column::Held,
    Column::Available,
    Column::Percent,
    Column::Bar,
    Column::Rate,
    Column::SellsOut,
    Column::Turn,
];

/// The columns of which a narrow screen drops the last ones first.
const BY_NEED: [Column; 12] = [
    Column::Drop,
    Column::Phase,
    Column::Sold,
    Column::Available,
    Column::Percent,
    Column::Rate,
    Column::Turn,
    Column::SellsOut,
    Column::Total,
    Column::Bar,
    Column::Held,
    Column::Sku,
];

/// The width of the bar.
const BAR: usize = 12;
/// What the id of a drop gets at least, as long as there are other columns.
const DROP_MIN: usize = 12;

impl Column {
    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Drop => "DROP",
            Self::Sku => "SKU",
            Self::Phase => "PHASE",
            Self::Total => "TOTAL",
            Self::Sold => "SOLD",
            Self::Held => "HELD",
            Self::Available => "LEFT",
            Self::Percent => "SOLD %",
            Self::Bar => "",
            Self::Rate => "UNITS/S",
            Self::SellsOut => "OUT IN",
            Self::Turn => "WINDOW",
        }
    }

    /// Whether its cells end at the same place.
    pub const fn is_figure(self) -> bool {
        !matches!(self, Self::Drop | Self::Sku | Self::Phase | Self::Bar | Self::Turn)
    }

    /// What it says of a drop at `now`.
    pub fn cell(self, drop: &DropPicture, now: Timestamp) -> String {
        let none = || "-".to_owned();
        match self {
            Self::Drop => drop.id.to_string(),
            Self::Sku => drop.sku.to_string(),
            Self::Phase => drop.phase.as_str().to_owned(),
            Self::Total => format::count(drop.total_units),
            Self::Sold => format::count(drop.sold_units),
            Self::Held => format::count(drop.held_units),
            Self::Available => format::count(drop.available_units),
            Self::Percent => format::percent(drop.part_sold()),
            Self::Bar => bar(drop.part_sold()),
            Self::Rate => drop.units_per_s.map_or_else(none, format::rate),
            Self::SellsOut => drop.sells_out_in_s().map_or_else(none, |s| format::time((s * 1_000.0) as u64)),
            Self::Turn => turn(drop, now),
        }
    }

    /// The width that it needs for these drops.
    fn width(self, drops: &[DropPicture], now: Timestamp) -> usize {
        let widest = drops.iter().map(|drop| self.cell(drop, now).chars().count()).max();
        let least = if self.is_figure() { 7 } else { 4 };
        widest.unwrap_or_default().max(self.title().chars().count()).max(least)
    }
}

/// The columns that fit into `width`, from left to right, each with its own; one cell is between two of them.
pub fn that_fit(width: usize, drops: &[DropPicture], now: Timestamp) -> Vec<(Column, usize)> {
    let of = |column: Column| (column, column.width(drops, now));
    let wanted = of(Column::Drop).1;
    let mut taken = vec![(Column::Drop, wanted.min(DROP_MIN).min(width))];
    let mut used = taken[0].1;
    for column in BY_NEED.into_iter().skip(1).map(of) {
        if used + 1 + column.1 > width {
            break;
        }
        used += 1 + column.1;
        taken.push(column);
    }
    taken[0].1 = wanted.min(taken[0].1 + width - used);
    taken.sort_by_key(|(column, _)| ALL.iter().position(|of| of == column));
    taken
}

fn bar(part: f64) -> String {
    let full = ((part * BAR as f64).round() as usize).min(BAR);
    // A first unit and a last one are seen.
    let full = if part > 0.0 { full.max(1) } else { full };
    let full = if part < 1.0 { full.min(BAR - 1) } else { full };
    "█".repeat(full) + &"░".repeat(BAR - full)
}

fn turn(drop: &DropPicture, now: Timestamp) -> String {
    let until = |then: Timestamp| format::time(u64::try_from(then.as_ms() - now.as_ms()).unwrap_or_default());
    let since = |then: Timestamp| format::time(u64::try_from(now.as_ms() - then.as_ms()).unwrap_or_default());
    match (drop.phase, drop.window.ends_at) {
        (Phase::Scheduled, _) => format!("in {}", until(drop.window.starts_at)),
        (Phase::Ended | Phase::Cancelled, Some(end)) if end <= now => format!("{} ago", since(end)),
        (Phase::Ended | Phase::Cancelled, _) => "-".to_owned(),
        (_, Some(end)) => format!("{} left", until(end)),
        (_, None) => "no end".to_owned(),
    }
}
