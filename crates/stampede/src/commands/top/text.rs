//! A picture on paper: a table, or JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::columns::{self, Column};
use super::picture::{DropPicture, NotShown, Picture, Reach, ShardPicture, ShardState, oldest_age_ms};
use super::view;

/// Wide enough for every column.
const WIDTH: usize = 400;

/// The picture as a table.
pub fn table(picture: &Picture) -> String {
    let now = picture.as_of;
    let mut page = String::new();
    for line in view::summary(picture, now) {
        let _ = writeln!(page, "{line}");
    }
    page.push('\n');
    let columns = columns::that_fit(WIDTH, &picture.drops, now);
    let columns: Vec<_> = columns.into_iter().filter(|(column, _)| *column != Column::Bar).collect();
    page.push_str(&row(&columns, |column| column.title().to_owned()));
    for drop in &picture.drops {
        page.push_str(&row(&columns, |column| column.cell(drop, now)));
    }
    if let Some(rest) = view::rest(picture.not_shown) {
        let _ = writeln!(page, "{rest}");
    }
    page
}

fn row(columns: &[(Column, usize)], cell: impl Fn(Column) -> String) -> String {
    let cells = columns.iter().map(|(column, width)| {
        let cell = cell(*column);
        if column.is_figure() { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    });
    let line = cells.collect::<Vec<_>>().join("  ");
    format!("{}\n", line.trim_end())
}

/// The picture as one JSON document; the figures of drops have the names of the API.
pub fn json(picture: &Picture) -> Value {
    let totals = picture.totals();
    let NotShown { over, current, older } = picture.not_shown;
    json!({
        "as_of": picture.as_of,
        "deployment": picture.deployment,
        "redis": reach(&picture.redis),
        "archive": { "kind": picture.archive_kind, "reach": reach(&picture.archive) },
        "backlog_orders": totals.backlog_orders,
        "backlog_bytes": totals.backlog_bytes,
        "lag_ms": totals.oldest_ms,
        "dead_letters": totals.dead_letters,
        "shards": picture.shards.iter().map(shard).collect::<Vec<_>>(),
        "drops": picture.drops.iter().map(drop).collect::<Vec<_>>(),
        "not_shown": { "over": over, "current": current, "older_exist": older },
    })
}

fn reach(reach: &Reach) -> Value {
    match reach {
        Reach::Up => json!({ "up": true }),
        Reach::Away { since, why } => json!({ "up": false, "since": since, "why": why }),
    }
}

fn shard(of: &ShardPicture) -> Value {
    let (name, state) = (of.shard.to_string(), of.state.as_str());
    match &of.state {
        ShardState::Trusted { log, dead_letters } => json!({
            "shard": name,
            "state": state,
            "epoch": log.epoch.0,
            "log_entries": log.entries,
            "log_pending_entries": log.pending,
            "backlog_orders": log.backlog_orders,
            "backlog_bytes": log.backlog_bytes,
            "lag_ms": oldest_age_ms(log),
            "dead_letters": dead_letters,
        }),
        _ => json!({ "shard": name, "state": state }),
    }
}

fn drop(of: &DropPicture) -> Value {
    json!({
        "drop_id": of.id,
        "sku": of.sku,
        "phase": of.phase,
        "starts_at": of.window.starts_at,
        "ends_at": of.window.ends_at,
        "total": of.total_units,
        "available": of.available_units,
        "held": of.held_units,
        "sold": of.sold_units,
        "units_per_s": of.units_per_s,
        "sells_out_in_s": of.sells_out_in_s(),
        "as_of": of.as_of,
        "stale": of.is_stale,
    })
}
