//! What an answer over HTTP says.

use serde_json::Value;
use stampede_domain::{DropState, OrderStatus};

use super::{Answer, Ask};

impl Answer {
    /// Reads a response to `ask`; `None` if the contract does not allow it.
    pub fn of_response(ask: &Ask, status: u16, replayed: bool, body: &Value) -> Option<Self> {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let order_status = || serde_json::from_value::<OrderStatus>(body["status"].clone()).ok();
        Some(match (ask, status, text("code")) {
            (Ask::Order { .. }, 201, _) => {
                Self::Confirmed { order: text("id").parse().ok()?, replayed, status: order_status()? }
            }
            (Ask::Cancel { .. } | Ask::Read { .. }, 200, _) => Self::Stands { status: order_status()? },
            (Ask::Restock { .. } | Ask::Pause | Ask::Resume | Ask::Close, 200, _) => Self::Done,
            (Ask::Cancel { .. } | Ask::Read { .. }, 404, "not-found") => Self::NotFound,
            (Ask::Cancel { .. }, 409, "cancellation-closed") => Self::CancellationClosed,
            (Ask::Order { .. } | Ask::Restock { .. }, 422, "idempotency-key-reused") => Self::KeyReused,
            (Ask::Order { .. }, 400, "sale-not-active") => Self::NotActive { state: state(text("phase"))? },
            (Ask::Order { .. }, 403, "limit-reached") => Self::LimitReached { owned: body["owned"].as_u64()? },
            (Ask::Order { .. }, 409, "sold-out") => Self::SoldOut,
            (Ask::Order { .. }, 409, "insufficient-stock") => {
                Self::Insufficient { available: body["available"].as_u64()? }
            }
            (_, 409, "invalid-transition") => Self::InvalidTransition,
            (_, 429, "rate-limited") | (_, 503, "shard-recovering" | "archive-behind" | "unavailable") => {
                Self::NoEffect
            }
            (_, 500.., _) => Self::Unknown,
            _ => return None,
        })
    }
}

/// The state that a phase shows.
fn state(phase: &str) -> Option<DropState> {
    match phase {
        "live" | "sold_out" => Some(DropState::Open),
        "paused" => Some(DropState::Paused),
        "ended" => Some(DropState::Ended),
        "cancelled" => Some(DropState::Cancelled),
        _ => None,
    }
}
