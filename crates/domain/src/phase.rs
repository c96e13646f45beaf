//! What a drop's state, its window and the clock make of it.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, Window};

/// What has been decided about a drop and stays so until another fact decides otherwise. The clock is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropState {
    /// Its stripes are being opened: it sells nothing until the archive says that all of them are there.
    Opening,
    /// It sells within its window, as long as it has units.
    Open,
    /// An operator has stopped it for a while.
    Paused,
    /// Its window passed or an operator closed it. Sticky: no clock and no operator reopens it.
    Ended,
    /// An operator called it off; its orders are being cancelled.
    Cancelled,
}

impl DropState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Opening, Self::Open, Self::Paused, Self::Ended, Self::Cancelled];

    /// The word that Redis and the log know it by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Ended => "ended",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that a word in Redis means.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What shoppers and operators see of a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has not begun.
    Scheduled,
    /// It sells.
    Live,
    /// It would sell, but no unit is available.
    SoldOut,
    /// It is over.
    Ended,
    /// An operator has stopped it for a while.
    Paused,
    /// An operator called it off.
    Cancelled,
}

impl Phase {
    /// All phases, in the order of a drop's life.
    pub const ALL: [Self; 6] = [Self::Scheduled, Self::Live, Self::SoldOut, Self::Ended, Self::Paused, Self::Cancelled];

    /// The phase of a drop in `state` at `now` (the log's clock). The scripts judge the same, by state, window and stock.
    pub fn of(state: DropState, window: &Window, available_units: u64, now: Timestamp) -> Self {
        match state {
            DropState::Cancelled => Self::Cancelled,
            DropState::Ended => Self::Ended,
            _ if window.is_over(now) => Self::Ended,
            DropState::Paused => Self::Paused,
            DropState::Opening => Self::Scheduled,
            DropState::Open if now < window.starts_at => Self::Scheduled,
            DropState::Open if available_units == 0 => Self::SoldOut,
            DropState::Open => Self::Live,
        }
    }

    /// The phase's word in the API, in metrics and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Live => "live",
            Self::SoldOut => "sold_out",
            Self::Ended => "ended",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing can be sold in this phase or any that may follow.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_follows_from_state_window_stock_and_clock() {
        let window = Window { starts_at: Timestamp::from_ms(10), ends_at: Some(Timestamp::from_ms(20)) };
        let phase = |state, available, now| Phase::of(state, &window, available, Timestamp::from_ms(now));
        assert_eq!(phase(DropState::Opening, 1, 10), Phase::Scheduled);
        assert_eq!(phase(DropState::Open, 1, 9), Phase::Scheduled);
        assert_eq!(phase(DropState::Open, 1, 10), Phase::Live);
        assert_eq!(phase(DropState::Open, 0, 10), Phase::SoldOut);
        assert_eq!(phase(DropState::Open, 1, 20), Phase::Ended);
        assert_eq!(phase(DropState::Paused, 1, 9), Phase::Paused);
        assert_eq!(phase(DropState::Paused, 1, 20), Phase::Ended);
        assert_eq!(phase(DropState::Ended, 1, 10), Phase::Ended);
        assert_eq!(phase(DropState::Cancelled, 1, 99), Phase::Cancelled);
    }
}
