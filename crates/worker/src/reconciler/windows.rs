//! The window that the archive keeps for a drop, against the one by which Redis sells.
//!
//! A change of a window goes to the archive first, which knows the other drops of the sku, and then to Redis. While it is
//! under way the two differ, and after a process died in the middle they would for good.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use stampede_archive::{DropRecord, WindowChange};
use stampede_domain::{DropId, Window};
use stampede_engine::LiveDrop;

use super::sources::{ReconcileError, Sources};

/// Windows that were seen to differ, and since when.
#[derive(Default)]
pub(super) struct Windows(HashMap<DropId, Doubt>);

/// A difference that may be a change under way.
struct Doubt {
    kept: Window,
    live: Window,
    since: Instant,
}

/// What became of a window that differed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It does not differ, or nobody can tell yet.
    Fine,
    /// It was put right.
    Repaired,
    /// It differs, and another drop of the sku has the time: that is for an operator.
    Wrong,
}

impl Windows {
    /// Looks at a drop's window; one that has differed for `after` is put right by what Redis says.
    pub(super) async fn check(
        &mut self,
        sources: &Sources,
        record: &DropRecord,
        live: &LiveDrop,
        after: Duration,
    ) -> Result<Kept, ReconcileError> {
        let id = &record.definition.id;
        if record.window == live.window || live.phase().is_over() {
            self.0.remove(id);
            return Ok(Kept::Fine);
        }
        let (kept, live) = (record.window, live.window);
        let doubt = self.0.get(id).filter(|doubt| doubt.kept == kept && doubt.live == live);
        let Some(doubt) = doubt else {
            self.0.insert(id.clone(), Doubt { kept, live, since: Instant::now() });
            return Ok(Kept::Fine);
        };
        if doubt.since.elapsed() < after {
            return Ok(Kept::Fine);
        }
        match sources.archive.change_window(&record.definition.sku, id, &live).await? {
            WindowChange::Changed(_) => {
                tracing::warn!(drop = %id, ?kept, ?live, "the archive kept a window that the drop never got; it was put right");
                self.0.remove(id);
                Ok(Kept::Repaired)
            }
            WindowChange::Overlaps(drops) => {
                tracing::error!(drop = %id, ?kept, ?live, ?drops, "the archive keeps a window that the drop never got, and others have its time");
                Ok(Kept::Wrong)
            }
            // The time was given up, so nobody goes by it.
            WindowChange::NotKept => Ok(Kept::Fine),
        }
    }

    /// Whether a difference waits to be put right or to go away by itself.
    pub(super) fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }
}
