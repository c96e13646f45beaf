//! One call for every script that writes, from a stage on which each of them changes something.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use stampede_domain::{
    CancelledBy, ClosedBy, DeadLetter, DropDefinition, Epoch, Fact, FactBody, Fingerprint, Grant, KeyDigest, LogId,
    Order, Position, Shard, Stripes, Timestamp, UserDigest, Version,
};
use stampede_engine::{
    DropChange, DropTerms, EngineError, EntryReceipt, HistoryChunk, Keys, LetterChange, LetterNote, OrderRef,
    PurgeTerms, RecoveryGuard, TimerKind, Transfer,
};

use crate::support::{Harness, definition, request, user};

/// A shard with a drop on sale, a paused one, one that is over, one that was called off, one that holds units and one stripe
/// that is to be activated, a dead letter, an order, pending
/// entries, a consumer that is done, and due timers.
pub struct Stage {
    pub h: Harness,
    pub live: Arc<DropTerms>,
    pub paused: Arc<DropTerms>,
    pub over: Arc<DropTerms>,
    pub called_off: Arc<DropTerms>,
    pub striped: DropDefinition,
    pub held: Arc<DropTerms>,
    pub dead: Fact,
    pub order: Order,
    pub receipts: Vec<EntryReceipt>,
    pub guard: RecoveryGuard,
    pub last: (u64, LogId),
}

/// A key of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Meta,
    Log,
    Unsettled,
    Timers,
    Drops,
    Dead,
    Live,
    LiveUsers,
    Paused,
    /// Of a drop that is over and wholly archived.
    Over,
    OverUsers,
    /// Of a drop that was called off and has no order.
    CalledOff,
    /// Of a stripe that is not activated.
    Striped,
    /// Of a sold-out drop of which units are held, long enough.
    Held,
    /// Of a drop that is not open yet.
    New,
    NewUsers,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), EngineError>> + Send + 'a>>;

/// A typed call.
pub struct Case {
    pub script: &'static str,
    /// The keys that it names and reads or writes, in their order.
    pub keys: &'static [Key],
    pub run: for<'a> fn(&'a Stage) -> Running<'a>,
}

impl Case {
    /// Whether it is a step of a recovery that has begun.
    pub fn recovers(&self) -> bool {
        self.script.starts_with("recovery/") && self.script != "recovery/begin"
    }
}

impl Stage {
    pub async fn set(h: Harness) -> Self {
        let over = h.open("over", 10, 10).await;
        h.engine.change_drop(&over.id, &DropChange::Close(ClosedBy::Operator)).await.expect("closed");
        let called_off = h.open("called-off", 10, 10).await;
        h.engine.change_drop(&called_off.id, &DropChange::CallOff).await.expect("called off");
        let striped = striped(&h);
        // Its home is this shard; the other one was never set up.
        assert_eq!(h.engine.open_drop(&striped).await, Err(EngineError::ShardRecovering));
        let live = h.open("live", 10, 10).await;
        let paused = h.open("paused", 10, 10).await;
        let refused = h.buy(&live, "refused", "k", 1).await;
        let order = h.buy(&live, "a", "k", 2).await;
        h.engine.change_drop(&paused.id, &DropChange::Pause).await.expect("paused");
        let done = h.engine.read_new(h.shard, "done", 8).await.expect("readable").entries;
        let dead = h.engine.logged_order(refused.id).await.expect("readable").expect("in the log");
        let receipts = |entries: &[stampede_engine::LogEntry]| -> Vec<EntryReceipt> {
            entries.iter().map(|entry| entry.receipt(&entry.facts().expect("decodable"))).collect()
        };
        let letters = [letter_change(dead.clone())];
        let acknowledged = h.engine.acknowledge_with_letters(h.shard, Epoch(1), &receipts(&done), &letters).await;
        acknowledged.expect("acknowledged");
        let pending = h.engine.read_new(h.shard, "busy", 2).await.expect("readable").entries;
        let held = h.open_with("held", |drop| (drop.stock_units, drop.hold_ms) = (1, 1)).await;
        h.buy(&held, "a", "k", 1).await;
        let more = DropChange::Restock { key: KeyDigest([9; 8]), units: 1 };
        h.engine.change_drop(&held.id, &more).await.expect("restocked");
        h.buy(&live, "later", "k", 1).await;
        let newest = h.log().await.pop().expect("an entry");
        let token = h.engine.inspect_shard(h.shard).await.expect("readable").token;
        Self {
            live,
            paused,
            over,
            called_off,
            striped,
            held,
            dead,
            order,
            receipts: receipts(&pending),
            guard: RecoveryGuard { shard: h.shard, epoch: Epoch(2), token },
            last: (newest.number, newest.id),
            h,
        }
    }

    pub fn name(&self, key: Key) -> String {
        let (keys, shard) = (&self.h.keys, self.h.shard);
        match key {
            Key::Meta => keys.meta.clone(),
            Key::Log => keys.log.clone(),
            Key::Unsettled => keys.unsettled.clone(),
            Key::Timers => keys.timers.clone(),
            Key::Drops => keys.drops.clone(),
            Key::Dead => keys.dead.clone(),
            Key::Live => Keys::drop(shard, &self.live.id),
            Key::LiveUsers => Keys::users(shard, &self.live.id),
            Key::Paused => Keys::drop(shard, &self.paused.id),
            Key::Over => Keys::drop(shard, &self.over.id),
            Key::OverUsers => Keys::users(shard, &self.over.id),
            Key::Held => Keys::drop(shard, &self.held.id),
            Key::CalledOff => Keys::drop(shard, &self.called_off.id),
            Key::Striped => Keys::drop(shard, &self.striped.id),
            Key::New => Keys::drop(shard, &self.h.id("new")),
            Key::NewUsers => Keys::users(shard, &self.h.id("new")),
        }
    }

    fn change<'a>(&'a self, drop: &'a DropTerms, change: DropChange) -> Running<'a> {
        Box::pin(async move { self.h.engine.change_drop(&drop.id, &change).await.map(|_| ()) })
    }

    /// What an archive may hold beyond the stage: an order, a restock, and a drop that was opened.
    async fn apply(&self) -> Result<(), EngineError> {
        let (number, id) = self.last;
        let new = definition(self.h.id("new"));
        let bodies = [
            (self.live.id.clone(), self.late_grant()),
            (self.live.id.clone(), FactBody::Restocked { key: KeyDigest([1; 8]), units: 3 }),
            (new.id.clone(), FactBody::Opened { drop: Box::new(new) }),
        ];
        let facts: Vec<Fact> = (number + 1..)
            .zip(bodies)
            .map(|(number, (drop_id, body))| {
                let log_id = LogId { ms: id.ms + number, sequence: 0 };
                let position = Position { log_id, index: 0 };
                Fact { shard: self.h.shard, epoch: Epoch(1), number, position, entry_facts: 1, drop_id, body }
            })
            .collect();
        let chunk = HistoryChunk { facts: &facts, ..HistoryChunk::default() };
        self.h.engine.recovery_apply(&self.guard, number, id, &chunk).await.map(|_| ())
    }

    /// Acknowledges what is pending, of which the archive refuses the order.
    async fn acknowledge(&self) -> Result<(), EngineError> {
        let refused = self.h.engine.logged_order(self.order.id).await?.map(letter_change);
        let letters = Vec::from_iter(refused);
        self.h.engine.acknowledge_with_letters(self.h.shard, Epoch(1), &self.receipts, &letters).await.map(|_| ())
    }

    /// What an archive may have noted of an order whose entry Redis does not have.
    async fn restore_letters(&self) -> Result<(), EngineError> {
        let position = Position { log_id: LogId { ms: 1, sequence: 1 }, index: 0 };
        let (shard, drop_id) = (self.h.shard, self.live.id.clone());
        let body = self.late_grant();
        let fact = Fact { shard, epoch: Epoch(1), number: 1, position, entry_facts: 1, drop_id, body };
        let note = LetterNote { letter: DeadLetter::new(fact, "refused"), settled: false };
        self.h.engine.recovery_restore_letters(&self.guard, &[note]).await.map(|_| ())
    }

    fn late_grant(&self) -> FactBody {
        let user_id = user("late");
        let key = KeyDigest::of(UserDigest::of(&user_id), &"k".parse().expect("a key"));
        let (sku, unit_price) = (self.live.sku.clone(), self.live.unit_price);
        FactBody::Granted(Grant { sku, user_id, units: 1, unit_price, key, fingerprint: Fingerprint::of(1, None) })
    }
}

fn striped(h: &Harness) -> DropDefinition {
    let stripes = Stripes::over(vec![h.shard, another(h)]).expect("distinct");
    DropDefinition { stripes, ..definition(h.id("striped")) }
}

/// A shard that no test has.
fn another(h: &Harness) -> Shard {
    h.engine.shards().last().expect("there are shards")
}

/// The first transfer, from the stage's shard or to it.
fn transfer(h: &Harness, to_it: bool) -> Transfer {
    let (from, to) = if to_it { (another(h), h.shard) } else { (h.shard, another(h)) };
    Transfer { from, to, number: 1, units: 3 }
}

fn letter_change(fact: Fact) -> LetterChange {
    let (entry, id, drop_id) = (fact.position.log_id, fact.id(), fact.drop_id.clone());
    LetterChange { entry, fact: id, drop_id, letter: Some(DeadLetter::new(fact, "refused")) }
}

pub const CASES: &[Case] = {
    use Key::{
        CalledOff, Dead, Drops, Held, Live, LiveUsers, Log, Meta, New, NewUsers, Over, OverUsers, Paused, Striped,
        Timers, Unsettled,
    };
    const CHANGE: &[Key] = &[Meta, Log, Unsettled, Timers, Live];
    &[
        Case {
            script: "sale/grant",
            keys: &[Meta, Log, Unsettled, Live, LiveUsers],
            run: |s| {
                let order = request(&s.live, "b", "k", 1);
                Box::pin(async { s.h.engine.place_order(order, Duration::ZERO).await.map(|_| ()) })
            },
        },
        Case {
            script: "sale/cancel",
            keys: &[Meta, Log, Unsettled, Timers, Live, LiveUsers],
            run: |s| {
                Box::pin(async {
                    let order = OrderRef::from(&s.order);
                    s.h.engine.cancel_order(&order, CancelledBy::Shopper).await.map(|_| ())
                })
            },
        },
        Case {
            script: "sale/open",
            keys: &[Meta, Log, Unsettled, Timers, Drops, New, NewUsers],
            run: |s| Box::pin(async { s.h.engine.open_drop(&definition(s.h.id("new"))).await.map(|_| ()) }),
        },
        Case { script: "sale/start", keys: CHANGE, run: |s| s.change(&s.live, DropChange::Start) },
        Case {
            script: "sale/release",
            keys: &[Meta, Log, Unsettled, Timers, Held],
            run: |s| s.change(&s.held, DropChange::Release),
        },
        Case { script: "sale/pause", keys: CHANGE, run: |s| s.change(&s.live, DropChange::Pause) },
        Case {
            script: "sale/resume",
            keys: &[Meta, Log, Unsettled, Timers, Paused],
            run: |s| s.change(&s.paused, DropChange::Resume),
        },
        Case { script: "sale/close", keys: CHANGE, run: |s| s.change(&s.live, DropChange::Close(ClosedBy::Operator)) },
        Case { script: "sale/call_off", keys: CHANGE, run: |s| s.change(&s.live, DropChange::CallOff) },
        Case {
            script: "sale/restock",
            keys: CHANGE,
            run: |s| s.change(&s.live, DropChange::Restock { key: KeyDigest([7; 8]), units: 1 }),
        },
        Case {
            script: "sale/amend",
            keys: CHANGE,
            run: |s| {
                let ends_at = Some(Some(Timestamp::MAX));
                s.change(&s.live, DropChange::Amend { starts_at: None, ends_at, limit_per_user: None })
            },
        },
        Case {
            script: "sale/purge",
            keys: &[Meta, Log, Unsettled, Timers, Over, OverUsers],
            run: |s| {
                let terms = PurgeTerms { keep_for: Duration::ZERO, look_again: None };
                Box::pin(async move { s.h.engine.purge_drop(&s.over.id, terms).await.map(|_| ()) })
            },
        },
        Case {
            script: "stripes/activate",
            keys: &[Meta, Log, Unsettled, Timers, Striped],
            run: |s| Box::pin(async { s.h.engine.activate_stripe(s.h.shard, &s.striped).await.map(|_| ()) }),
        },
        Case {
            script: "stripes/send",
            keys: CHANGE,
            run: |s| Box::pin(async { s.h.engine.send_units(&s.live.id, transfer(&s.h, false)).await.map(|_| ()) }),
        },
        Case {
            script: "stripes/receive",
            keys: &[Meta, Log, Unsettled, Live],
            run: |s| Box::pin(async { s.h.engine.receive_units(&s.live.id, transfer(&s.h, true)).await.map(|_| ()) }),
        },
        Case {
            script: "timers/clear",
            keys: &[Meta, Timers, Live],
            run: |s| {
                let timer = TimerKind::Start(s.live.id.clone());
                Box::pin(async move { s.h.engine.clear_timer(s.h.shard, &timer, Version(u64::MAX)).await.map(|_| ()) })
            },
        },
        Case { script: "log/acknowledge", keys: &[Meta, Log, Unsettled, Dead], run: |s| Box::pin(s.acknowledge()) },
        Case {
            script: "sale/withdrawn",
            keys: &[Meta, Timers, CalledOff],
            run: |s| Box::pin(async { s.h.engine.finish_withdrawal(s.h.shard, &s.called_off.id).await.map(|_| ()) }),
        },
        Case {
            script: "dead/replay",
            keys: &[Meta, Log, Unsettled, Dead, Live, LiveUsers],
            run: |s| Box::pin(async { s.h.engine.replay_letter(&s.dead).await.map(|_| ()) }),
        },
        Case {
            script: "dead/compensate",
            keys: &[Meta, Log, Unsettled, Dead, Live, LiveUsers, Timers],
            run: |s| Box::pin(async { s.h.engine.compensate_letter(&s.dead).await.map(|_| ()) }),
        },
        Case {
            script: "log/take",
            keys: &[Meta, Log],
            run: |s| Box::pin(async { s.h.engine.read_new(s.h.shard, "new", 1).await.map(|_| ()) }),
        },
        Case {
            script: "log/forget_consumers",
            keys: &[Meta, Log],
            run: |s| Box::pin(async { s.h.engine.forget_consumers(s.h.shard, Duration::ZERO).await.map(|_| ()) }),
        },
        Case {
            script: "log/hand_over",
            keys: &[Meta, Log],
            run: |s| Box::pin(async { s.h.engine.hand_over(s.h.shard, "busy").await.map(|_| ()) }),
        },
        // Beginning asks of the other keys only whether they are there; resetting and wiping take away what is there.
        Case {
            script: "recovery/begin",
            keys: &[Meta],
            run: |s| Box::pin(async { s.h.engine.begin_recovery(&s.guard).await.map(|_| ()) }),
        },
        Case {
            script: "recovery/reset",
            keys: &[Meta],
            run: |s| Box::pin(async { s.h.engine.recovery_reset(&s.guard).await }),
        },
        Case {
            script: "recovery/wipe_drops",
            keys: &[Meta],
            run: |s| Box::pin(async { s.h.engine.recovery_wipe(&s.guard, std::slice::from_ref(&s.live.id)).await }),
        },
        Case {
            script: "recovery/align",
            keys: &[Meta],
            run: |s| Box::pin(async { s.h.engine.recovery_align(&s.guard, s.last.0).await }),
        },
        Case {
            script: "recovery/adopt",
            keys: &[Meta, Log],
            run: |s| Box::pin(async { s.h.engine.recovery_adopt(&s.guard, s.last.0, LogId::default()).await }),
        },
        Case {
            script: "recovery/apply",
            keys: &[Meta, Log, Timers, Drops, Live, LiveUsers, New, NewUsers],
            run: |s| Box::pin(s.apply()),
        },
        Case {
            script: "recovery/restore_letters",
            keys: &[Meta, Log, Unsettled, Dead],
            run: |s| Box::pin(s.restore_letters()),
        },
    ]
};
