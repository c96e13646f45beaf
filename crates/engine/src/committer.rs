//! Group commit: one script call decides all orders that wait for a shard.
//!
//! While one call is in flight the orders that arrive gather; the next call takes them all, up to a bound. One call in flight
//! per shard was measured best: more make smaller groups. A call costs Redis as much as ten orders or more, so small groups
//! keep a distance: below saturation they would have one or two orders each. An order that comes to a quiet shard goes at
//! once.
//!
//! Answers that wait for durability do not hold up the next group: they are given when their wait is over.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use fred::types::Value;
use futures_util::task::AtomicWaker;
use stampede_domain::{Durability, LogId, Shard};
use tokio::sync::{mpsc, oneshot};

use crate::call::Call;
use crate::engine::{Engine, ShardHandle, Shared};
use crate::metrics::{self, Queued};
use crate::sale::{Decision, DropTerms, GrantCall, GroupCall, OrderRequest, decode_grant_reply, index_of};
use crate::traces::{self, TracedCall, TracedOrder};
use crate::{EngineError, scripts};

pub(crate) static GRANT: Call<()> = Call::settled(&scripts::SALE_GRANT, &[("decided", ())]);

/// How long to wait before a shard is tried again that is fenced, or that another server takes over.
const FENCE_RETRY: Duration = Duration::from_millis(20);

/// So many orders make a group that is worth its call: it keeps no distance.
const WORTHWHILE_ORDERS: usize = 32;

/// An order that waits for its group.
pub(crate) struct Pending {
    call: GrantCall,
    /// What its answer waits for.
    durability: Durability,
    expires: Instant,
    /// Until its group is sent for the first time.
    queued: Option<Queued>,
    traced: Option<TracedOrder>,
    answer: oneshot::Sender<Result<Decision, EngineError>>,
}

impl Engine {
    /// Decides an order, together with all others that wait for its shard. `wait` bounds how long a shard is waited for that
    /// is fenced or moving, a Redis that is away, and an answer that was lost.
    ///
    /// A duplicate that arrives while the first is being decided gets the first one's answer. Where a stripe lacks units,
    /// they are brought there, and the order is decided again.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`], [`EngineError::ShardMoving`] and [`EngineError::Unavailable`]: nothing happened.
    /// [`EngineError::OutcomeUnknown`]: the same request with the same key settles it, and waits again for durability.
    pub async fn place_order(&self, request: OrderRequest, wait: Duration) -> Result<Decision, EngineError> {
        if request.drop.stripes.is_striped() {
            // Boxed, as every order carries room for it and few drops are striped.
            return Box::pin(self.place_in_stripe(request, wait)).await;
        }
        let shard = self.shard_of(&request.drop.id);
        self.ask_shard(shard, request, wait).await
    }

    /// Has a shard decide an order.
    pub(crate) async fn ask_shard(
        &self,
        shard: Shard,
        request: OrderRequest,
        wait: Duration,
    ) -> Result<Decision, EngineError> {
        let queue = self.queue(shard).ok_or_else(|| EngineError::Malformed(format!("no shard {shard}")))?;
        let (answer, decision) = oneshot::channel();
        let durability = self.durability(request.drop.durability);
        let traced = request.trace.map(TracedOrder::new);
        let (call, now) = (GrantCall::new(request), Instant::now());
        let queued = Some(Queued::at(now));
        let pending = Pending { call, durability, expires: now + wait, queued, traced, answer };
        queue.send(pending)?;
        decision.await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }
}

/// Where orders wait for the committer of a shard; cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    orders: mpsc::Sender<Pending>,
    enough: Arc<AtomicWaker>,
}

impl Queue {
    /// A full queue means minutes of work: better to say so at once than to keep the client waiting for nothing.
    fn send(&self, pending: Pending) -> Result<(), EngineError> {
        self.orders.try_send(pending).map_err(|_| EngineError::Unavailable("too many orders wait".to_owned()))?;
        // One is in the committer's hands.
        if 1 + self.orders.max_capacity() - self.orders.capacity() >= WORTHWHILE_ORDERS {
            self.enough.wake();
        }
        Ok(())
    }
}

/// Starts the committer of a shard whose next entry could stand at `next`; it ends when no [`Engine`] is left.
pub(crate) fn spawn(shared: Arc<Shared>, shard: Shard, next: LogId) -> Queue {
    let (sender, orders) = mpsc::channel(shared.settings.queue_max_orders);
    let queue = Queue { orders: sender, enough: Arc::default() };
    let enough = Arc::clone(&queue.enough);
    tokio::spawn(async move {
        let mut committer = Committer { shared, shard, orders, enough, next, called_at: None, waiting: Arc::default() };
        committer.run().await;
    });
    queue
}

struct Committer {
    shared: Arc<Shared>,
    shard: Shard,
    orders: mpsc::Receiver<Pending>,
    /// Woken when enough orders wait in the queue to be worth a call.
    enough: Arc<AtomicWaker>,
    /// Where the shard's next entry could stand after the last answered call: a grant from there on is newer than that.
    next: LogId,
    /// When the last group was called for.
    called_at: Option<Instant>,
    /// Decided orders whose answers wait for durability.
    waiting: Arc<AtomicUsize>,
}

/// What a call decided, one for each order, under which token, and which entry has its grants.
struct Decided {
    token: String,
    entry: Option<LogId>,
    decisions: Vec<Result<Decision, EngineError>>,
}

/// What became of a call.
enum Called {
    Answered,
    /// The shard is fenced, moving, or away; the orders still wait, and are answered so when their time is up.
    Waiting(EngineError),
}

impl Committer {
    async fn run(&mut self) {
        let limit = self.shared.settings.group_max_orders.clamp(1, stampede_domain::MAX_GROUP_ORDERS);
        let mut group: Vec<Pending> = Vec::with_capacity(limit);
        loop {
            if group.is_empty() {
                let Some(first) = self.orders.recv().await else { return };
                group.push(first);
            }
            self.keep_distance(group.len()).await;
            // Orders that a fence held back go first; whoever arrived meanwhile joins them.
            if group.len() < limit && !self.orders.is_empty() {
                let room = limit - group.len();
                self.orders.recv_many(&mut group, room).await;
            }
            self.called_at = Some(Instant::now());
            group.retain(|pending| !pending.answer.is_closed());
            let rest = split_off_beyond_drops(&mut group);
            if !group.is_empty()
                && let Called::Waiting(error) = self.commit(&mut group).await
            {
                expire(&mut group, &error);
                tokio::time::sleep(FENCE_RETRY).await;
            }
            group.extend(rest);
        }
    }

    /// Waits, for more orders to gather, until the last call is long enough ago or a call is worth while.
    async fn keep_distance(&self, orders: usize) {
        let interval = self.shared.settings.group_interval;
        let since = self.called_at.map_or(interval, |called_at| called_at.elapsed());
        if since >= interval {
            return;
        }
        let mut over = pin!(tokio::time::sleep(interval - since));
        poll_fn(|context| {
            self.enough.register(context.waker());
            if orders + self.orders.len() >= WORTHWHILE_ORDERS { Poll::Ready(()) } else { over.as_mut().poll(context) }
        })
        .await;
    }

    /// Decides a group and answers its orders; leaves those in it that are to be tried again.
    async fn commit(&mut self, group: &mut Vec<Pending>) -> Called {
        let shared = Arc::clone(&self.shared);
        if let Err(error) = shared.wait_for_connection().await {
            return Called::Waiting(error);
        }
        let Ok(handle) = shared.handle(self.shard) else { return Called::Answered };
        self.refuse(handle, group);
        if group.is_empty() {
            return Called::Answered;
        }
        Queued::sent(group.iter_mut().filter_map(|pending| pending.queued.take()));
        match self.decide(handle, group).await {
            Ok(decided) => self.answer(group, decided),
            Err(error) if is_passing(&error) => Called::Waiting(error),
            // One drop whose keys are damaged must not take the others' orders with it.
            Err(EngineError::Unavailable(error)) if drops_of(group) > 1 => {
                tracing::warn!(shard = %self.shard, %error, "a group was refused; its drops are tried one by one");
                self.commit_by_drop(handle, group).await
            }
            Err(error) => {
                answer_all(group, &error);
                Called::Answered
            }
        }
    }

    async fn commit_by_drop(&mut self, handle: &ShardHandle, group: &mut Vec<Pending>) -> Called {
        let mut waiting = Vec::new();
        while let Some(first) = group.first() {
            let id = first.call.request.drop.id.clone();
            let (mut one, others) = group.drain(..).partition(|pending| pending.call.request.drop.id == id);
            *group = others;
            match self.decide(handle, &one).await {
                Ok(decided) => {
                    self.answer(&mut one, decided);
                    waiting.append(&mut one);
                }
                Err(error) if is_passing(&error) => waiting.append(&mut one),
                Err(error) => answer_all(&mut one, &error),
            }
        }
        *group = waiting;
        if group.is_empty() { Called::Answered } else { Called::Waiting(EngineError::ShardRecovering) }
    }

    /// Decides a group, and makes the spans of its traced orders.
    async fn decide(&mut self, handle: &ShardHandle, group: &[Pending]) -> Result<Decided, EngineError> {
        let sent_at = group.iter().any(|pending| pending.traced.is_some()).then(SystemTime::now);
        let decided = self.call(handle, group).await;
        if let Some(sent_at) = sent_at {
            self.trace(group, sent_at, &decided);
        }
        decided
    }

    /// Makes the spans of the traced orders that were decided, or that never will be. Those that are tried again still wait.
    fn trace(&self, group: &[Pending], sent_at: SystemTime, decided: &Result<Decided, EngineError>) {
        let is_tried_again = |place: usize| match decided {
            Ok(decided) => matches!(decided.decisions.get(place), Some(Err(EngineError::ShardRecovering))),
            Err(error) => is_passing(error),
        };
        let traced = group.iter().enumerate().filter(|(place, _)| !is_tried_again(*place));
        let call = TracedCall {
            script: GRANT.script,
            shard: self.shard,
            sent_at,
            orders: group.len(),
            traced: traced.filter_map(|(_, pending)| pending.traced).collect(),
        };
        call.record(decided.as_ref().map(|decided| decided.entry));
    }

    /// One group, one call; settled if its answer is lost, sent again if it came too late.
    async fn call(&mut self, handle: &ShardHandle, group: &[Pending]) -> Result<Decided, EngineError> {
        let packed = GroupCall::pack(self.shard, group.iter().map(|pending| &pending.call));
        let bound = self.shared.settings.log_bound;
        let mut args = vec![
            Value::from(i64::try_from(bound.orders).unwrap_or(i64::MAX)),
            Value::from(i64::try_from(bound.bytes).unwrap_or(i64::MAX)),
            packed.requests.clone(),
            packed.data.clone(),
        ];
        args.extend(packed.traces.clone());
        let mut keys = vec![handle.keys.meta.clone(), handle.keys.log.clone(), handle.keys.unsettled.clone()];
        keys.extend(packed.drop_keys.iter().cloned());
        let started = Instant::now();
        let until = group.iter().map(|pending| pending.expires).min().unwrap_or(started);
        let settled = self.shared.settle_until(until, handle, &GRANT, &keys, &args).await;
        metrics::group_call(started.elapsed());
        let settled = settled?;
        metrics::group_size(group.len());
        let lost_from = settled.was_lost.then_some(self.next);
        let calls = group.iter().map(|pending| &pending.call);
        let reply = decode_grant_reply(self.shard, settled.fields, calls, packed.drops(), lost_from)?;
        let entry = reply.granted_now().then_some(reply.log_id);
        self.next = entry.map_or(reply.log_id, LogId::next);
        Ok(Decided { token: settled.token, entry, decisions: reply.decisions })
    }

    /// Takes the orders out of a group whose durability cannot be kept now, before anything is granted to them.
    fn refuse(&self, handle: &ShardHandle, group: &mut Vec<Pending>) {
        let mut refused: BTreeMap<Durability, EngineError> = BTreeMap::new();
        let wanted: BTreeSet<Durability> = group.iter().map(|pending| pending.durability).collect();
        let full = self.waiting.load(Ordering::Relaxed) >= self.shared.settings.queue_max_orders;
        for durability in wanted.into_iter().filter(|durability| *durability != Durability::Memory) {
            if full {
                refused.insert(durability, EngineError::Unavailable("too many answers wait for durability".to_owned()));
            } else if let Err(error) = self.shared.keeper.offers(handle, durability) {
                refused.insert(durability, error);
            }
        }
        if refused.is_empty() {
            return;
        }
        let (mut out, rest) = group.drain(..).partition(|pending| refused.contains_key(&pending.durability));
        *group = rest;
        for (durability, error) in refused {
            let (mut these, others) = out.drain(..).partition(|pending: &Pending| pending.durability == durability);
            out = others;
            answer_all(&mut these, &error);
        }
    }

    /// Answers a group: refusals at once, orders when what they are promised is kept. Orders whose drop lacks a key stay in
    /// the group: it may be on its way, or be brought back.
    fn answer(&self, group: &mut Vec<Pending>, decided: Decided) -> Called {
        let mut waiting: BTreeMap<Durability, Vec<(Pending, Decision)>> = BTreeMap::new();
        let mut undecided = Vec::new();
        for (pending, decision) in group.drain(..).zip(decided.decisions) {
            match decision {
                Ok(decision @ (Decision::Granted(_) | Decision::Replayed(_)))
                    if pending.durability != Durability::Memory =>
                {
                    waiting.entry(pending.durability).or_default().push((pending, decision));
                }
                Err(EngineError::ShardRecovering) => undecided.push(pending),
                decision => drop(pending.answer.send(decision)),
            }
        }
        for (durability, answers) in waiting {
            let (shared, shard, token) = (Arc::clone(&self.shared), self.shard, decided.token.clone());
            let (count, orders) = (Arc::clone(&self.waiting), answers.len());
            let decided_at = SystemTime::now();
            count.fetch_add(orders, Ordering::Relaxed);
            tokio::spawn(async move {
                let kept = match shared.handle(shard) {
                    Ok(handle) => shared.keeper.keep(handle, &token, durability).await,
                    Err(error) => Err(error),
                };
                count.fetch_sub(orders, Ordering::Relaxed);
                let traced = answers.iter().filter_map(|(pending, _)| pending.traced.as_ref());
                traces::record_durability(traced, decided_at, durability, &kept);
                for (pending, decision) in answers {
                    let _ = pending.answer.send(kept.clone().map(|()| decision));
                }
            });
        }
        *group = undecided;
        if group.is_empty() { Called::Answered } else { Called::Waiting(EngineError::ShardRecovering) }
    }
}

/// Whether nothing happened, and waiting helps.
const fn is_passing(error: &EngineError) -> bool {
    matches!(error, EngineError::ShardRecovering | EngineError::ShardMoving)
}

/// Takes the orders out of a group that would bring it beyond the drops that one call can carry.
fn split_off_beyond_drops(group: &mut Vec<Pending>) -> Vec<Pending> {
    let mut drops: Vec<Arc<DropTerms>> = Vec::new();
    let fits = |pending: &Pending, drops: &mut Vec<_>| index_of(drops, &pending.call.request.drop).is_some();
    match group.iter().position(|pending| !fits(pending, &mut drops)) {
        Some(first) => group.split_off(first),
        None => Vec::new(),
    }
}

fn drops_of(group: &[Pending]) -> usize {
    let mut drops = Vec::new();
    for pending in group {
        index_of(&mut drops, &pending.call.request.drop);
    }
    drops.len()
}

fn answer_all(group: &mut Vec<Pending>, error: &EngineError) {
    for pending in group.drain(..) {
        let _ = pending.answer.send(Err(error.clone()));
    }
}

/// Answers the orders whose time is up.
fn expire(group: &mut Vec<Pending>, error: &EngineError) {
    let now = Instant::now();
    let (expired, waiting): (Vec<_>, Vec<_>) = group.drain(..).partition(|pending| pending.expires <= now);
    *group = waiting;
    for pending in expired {
        let _ = pending.answer.send(Err(error.clone()));
    }
}
