//! A group of orders as one script call: what goes in, what comes out.

use bytes::Bytes;
use fred::types::Value;
use stampede_domain::{
    DropState, Epoch, Fingerprint, GrantRecord, GrantState, GroupData, GroupDrop, GroupOrder, KeyDigest, LogId,
    MAX_GROUP_DROPS, MAX_GROUP_TRACES, Order, Phase, Position, Shard, Timestamp, UserDigest, Window,
};

use super::{Decision, DropTerms, OrderRequest, PurgedRequest, Refusal, order_from_record};
use crate::EngineError;
use crate::keys::Keys;
use crate::redis::Fields;

/// The length of one order in the script's argument, in bytes: user, ending and terms.
const REQUEST_BYTES: usize = 16 + 16 + 4;

/// Flags of an order's terms.
const PRICE_DIFFERS: u8 = 1;
const USER_IN_GROUP_AGAIN: u8 = 2;

/// An order with its digests, as the script needs it.
#[derive(Debug)]
pub(crate) struct GrantCall {
    pub(crate) request: OrderRequest,
    pub(crate) user: UserDigest,
    pub(crate) key: KeyDigest,
    pub(crate) fingerprint: Fingerprint,
}

impl GrantCall {
    pub(crate) fn new(request: OrderRequest) -> Self {
        let user = UserDigest::of(&request.user_id);
        let key = KeyDigest::of(user, &request.key);
        let fingerprint = Fingerprint::of(u32::from(request.units), request.expected_total);
        Self { request, user, key, fingerprint }
    }

    /// Whether the price is not what the client expects: a drop's price never changes, so this needs no script.
    fn price_differs(&self) -> bool {
        let total = self.request.drop.unit_price.times(u32::from(self.request.units));
        self.request.expected_total.is_some_and(|expected| expected != total)
    }
}

/// The arguments of one script call for a group of orders.
pub(crate) struct GroupCall {
    /// The drops' keys, two for each.
    pub(crate) drop_keys: Vec<String>,
    /// What the script decides by.
    pub(crate) requests: Value,
    /// What the log keeps.
    pub(crate) data: Value,
    /// The contexts of traced orders, each behind its index; none if no order is traced.
    pub(crate) traces: Option<Value>,
    drops: usize,
}

/// The drops of a group, in order of their first appearance; `None` if this one is a drop too many.
pub(crate) fn index_of(drops: &mut Vec<std::sync::Arc<DropTerms>>, drop: &std::sync::Arc<DropTerms>) -> Option<u8> {
    if let Some(index) = drops.iter().position(|known| known.id == drop.id) {
        return u8::try_from(index).ok();
    }
    if drops.len() == MAX_GROUP_DROPS {
        return None;
    }
    let index = u8::try_from(drops.len()).ok()?;
    drops.push(std::sync::Arc::clone(drop));
    Some(index)
}

impl GroupCall {
    /// Packs a group; the orders' drops are at most [`MAX_GROUP_DROPS`].
    pub(crate) fn pack<'a>(shard: Shard, calls: impl ExactSizeIterator<Item = &'a GrantCall>) -> Self {
        let mut drops = Vec::new();
        let mut requests = Requests::of(calls.len());
        let mut orders = Vec::with_capacity(calls.len());
        let (mut traces, mut traced) = (Vec::new(), 0);
        for (index, call) in (0u16..).zip(calls) {
            if let Some(context) = &call.request.trace
                && traced < MAX_GROUP_TRACES
            {
                traced += 1;
                traces.extend_from_slice(&index.to_be_bytes());
                traces.extend_from_slice(&context.to_bytes());
            }
            let drop_index = index_of(&mut drops, &call.request.drop).unwrap_or_default();
            requests.push(call, index, drop_index);
            orders.push(GroupOrder {
                drop_index,
                user_id: call.request.user_id.clone(),
                key: call.key,
                fingerprint: call.fingerprint,
                units: call.request.units,
            });
        }
        let group_drop =
            |drop: &DropTerms| GroupDrop { id: drop.id.clone(), sku: drop.sku.clone(), unit_price: drop.unit_price };
        let data = GroupData { drops: drops.iter().map(|drop| group_drop(drop)).collect(), orders };
        Self {
            drop_keys: drops
                .iter()
                .flat_map(|drop| [Keys::drop(shard, &drop.id), Keys::users(shard, &drop.id)])
                .collect(),
            requests: Value::Bytes(Bytes::from(requests.pack())),
            data: Value::Bytes(Bytes::from(data.encode())),
            traces: (traced > 0).then(|| Value::Bytes(Bytes::from(traces))),
            drops: drops.len(),
        }
    }

    /// How many drops the group is for.
    pub(crate) const fn drops(&self) -> usize {
        self.drops
    }
}

/// What the script decides by, column by column, as it cuts each column by one call.
struct Requests {
    users: Vec<[u8; 16]>,
    endings: Vec<[u8; 16]>,
    terms: Vec<[u8; 4]>,
}

impl Requests {
    fn of(orders: usize) -> Self {
        let (users, endings, terms) =
            (Vec::with_capacity(orders), Vec::with_capacity(orders), Vec::with_capacity(orders));
        Self { users, endings, terms }
    }

    fn push(&mut self, call: &GrantCall, index: u16, drop_index: u8) {
        let units = call.request.units.to_be_bytes();
        let mut ending = [0; 16];
        ending[..8].copy_from_slice(&call.key.0);
        ending[8..12].copy_from_slice(&call.fingerprint.0);
        ending[12..14].copy_from_slice(&units);
        ending[14..].copy_from_slice(&index.to_be_bytes());
        let flags = if call.price_differs() { PRICE_DIFFERS } else { 0 };
        self.users.push(call.user.0);
        self.endings.push(ending);
        self.terms.push([units[0], units[1], drop_index, flags]);
    }

    /// Marks the orders of users who have several of one drop here: each must see what the ones before it were granted.
    fn mark_users_again(&mut self) {
        let mut places: Vec<usize> = (0..self.users.len()).collect();
        let of_order = |place: usize| (self.users[place], self.terms[place][2]);
        places.sort_unstable_by_key(|place| of_order(*place));
        let again: Vec<usize> = places
            .windows(2)
            .filter(|pair| of_order(pair[0]) == of_order(pair[1]))
            .flat_map(|pair| [pair[0], pair[1]])
            .collect();
        for place in again {
            self.terms[place][3] |= USER_IN_GROUP_AGAIN;
        }
    }

    fn pack(mut self) -> Vec<u8> {
        self.mark_users_again();
        let orders = self.users.len();
        let are_alike = self.terms.windows(2).all(|pair| pair[0] == pair[1]);
        let mut packed = Vec::with_capacity(2 + orders * REQUEST_BYTES);
        packed.extend_from_slice(&u16::try_from(orders).unwrap_or(u16::MAX).to_be_bytes());
        packed.extend_from_slice(self.users.as_flattened());
        packed.extend_from_slice(self.endings.as_flattened());
        let terms = if are_alike { &self.terms[..orders.min(1)] } else { &self.terms[..] };
        packed.extend_from_slice(terms.as_flattened());
        packed
    }
}

/// What the script decided, and at which entry.
pub(crate) struct GrantReply {
    /// The entry that holds the group's grants; if there are none, the next entry's place.
    pub(crate) log_id: LogId,
    /// One for each order: a decision, or that its drop is missing.
    pub(crate) decisions: Vec<Result<Decision, EngineError>>,
}

impl GrantReply {
    /// Whether this call appended grants to the log.
    pub(crate) fn granted_now(&self) -> bool {
        let at_entry = |order: &Order| order.id.position().log_id == self.log_id;
        self.decisions.iter().any(|decision| matches!(decision, Ok(Decision::Granted(order)) if at_entry(order)))
    }
}

/// Reads a reply of `sale/grant` for the orders that were sent.
///
/// `lost_from` is set when an earlier sending of the same group may have granted: a replay of a grant at or beyond that
/// entry is that grant, not a repetition by the client.
pub(crate) fn decode_grant_reply<'a>(
    shard: Shard,
    mut fields: Fields,
    calls: impl ExactSizeIterator<Item = &'a GrantCall>,
    drops: usize,
    lost_from: Option<LogId>,
) -> Result<GrantReply, EngineError> {
    let epoch = Epoch(fields.parse()?);
    let log_id = LogId { ms: fields.parse()?, sequence: fields.parse()? };
    let results = fields.bytes()?;
    let mut states = Vec::with_capacity(drops);
    for _ in 0..drops {
        let state = DropState::parse(&fields.text()?);
        let starts_at = Timestamp::from_ms(fields.parse()?);
        let ends_at = fields.optional()?.map(Timestamp::from_ms);
        states.push((state, Window { starts_at, ends_at }, fields.parse::<u32>()?));
    }
    let mut results = Results { rest: &results, shard, epoch, log_id, lost_from };
    let mut seen = Vec::with_capacity(drops);
    let mut decisions = Vec::with_capacity(calls.len());
    for (index, call) in (0u16..).zip(calls) {
        let drop = usize::from(index_of(&mut seen, &call.request.drop).unwrap_or_default());
        let (state, window, limit) = states.get(drop).ok_or_else(|| malformed("a drop too many"))?;
        decisions.push(results.next(call, index, *state, window, *limit)?);
    }
    if results.rest.is_empty() { Ok(GrantReply { log_id, decisions }) } else { Err(malformed("results too many")) }
}

/// The packed results, read from the front.
struct Results<'a> {
    rest: &'a [u8],
    shard: Shard,
    epoch: Epoch,
    log_id: LogId,
    lost_from: Option<LogId>,
}

impl Results<'_> {
    fn next(
        &mut self,
        call: &GrantCall,
        index: u16,
        state: Option<DropState>,
        window: &Window,
        limit: u32,
    ) -> Result<Result<Decision, EngineError>, EngineError> {
        let request = &call.request;
        let refusal = match self.take(1)?[0] {
            b'g' => return Ok(Ok(Decision::Granted(self.granted(call, index)))),
            b'r' => return self.replayed(call).map(Ok),
            b'x' => return Ok(Err(EngineError::ShardRecovering)),
            b'u' => return self.purged(call, state, window).map(Ok),
            b'k' => Refusal::KeyReused,
            // Its other stripes may not be there yet: it waits.
            b'p' if state == Some(DropState::Opening) => return Ok(Err(EngineError::ShardRecovering)),
            b'p' => Refusal::NotActive { phase: self.phase(state, window)?, window: *window },
            b'c' => Refusal::PriceChanged {
                unit_price: request.drop.unit_price,
                total_price: request.drop.unit_price.times(u32::from(request.units)),
            },
            b'l' => Refusal::LimitReached { limit, owned: self.number()? },
            b's' => Refusal::SoldOut,
            b'i' => Refusal::InsufficientStock { available: u64::from(self.number()?) },
            b'b' => Refusal::ArchiveBehind,
            _ => return Err(malformed("a result")),
        };
        Ok(Ok(Decision::Refused(refusal)))
    }

    fn granted(&self, call: &GrantCall, index: u16) -> Order {
        let record = GrantRecord {
            position: Position { log_id: self.log_id, index },
            epoch: self.epoch,
            key: call.key,
            fingerprint: call.fingerprint,
            units: call.request.units,
            state: GrantState::Confirmed,
        };
        order_from_record(self.shard, &call.request.drop, call.user, &call.request.user_id, &record)
    }

    fn replayed(&mut self, call: &GrantCall) -> Result<Decision, EngineError> {
        let record = GrantRecord::decode(self.take(GrantRecord::BYTES)?)?;
        let request = &call.request;
        let order = order_from_record(self.shard, &request.drop, call.user, &request.user_id, &record);
        let by_lost_call = self.lost_from.is_some_and(|from| record.position.log_id >= from);
        Ok(if by_lost_call { Decision::Granted(order) } else { Decision::Replayed(order) })
    }

    fn purged(&self, call: &GrantCall, state: Option<DropState>, window: &Window) -> Result<Decision, EngineError> {
        Ok(Decision::Purged(Box::new(PurgedRequest {
            drop_id: call.request.drop.id.clone(),
            user_id: call.request.user_id.clone(),
            key: call.key,
            fingerprint: call.fingerprint,
            phase: self.phase(state, window)?,
            window: *window,
        })))
    }

    /// The phase of a drop that does not sell: stock plays no part in it.
    fn phase(&self, state: Option<DropState>, window: &Window) -> Result<Phase, EngineError> {
        let state = state.ok_or_else(|| malformed("a drop's state"))?;
        Ok(Phase::of(state, window, 1, self.log_id.time()))
    }

    fn number(&mut self) -> Result<u32, EngineError> {
        let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| malformed("a number"))?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn take(&mut self, count: usize) -> Result<&[u8], EngineError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or_else(|| malformed("results too few"))?;
        self.rest = rest;
        Ok(head)
    }
}

fn malformed(what: &str) -> EngineError {
    EngineError::Malformed(format!("sale/grant: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn packed(orders: &[(&str, u16)]) -> Vec<u8> {
        let unit_price = stampede_domain::Money { amount_minor: 1, currency: "EUR".parse().expect("valid") };
        let (id, sku) = ("demo".parse().expect("valid"), "sku".parse().expect("valid"));
        let drop = Arc::new(DropTerms { id, sku, unit_price, durability: None, stripes: Default::default() });
        let mut requests = Requests::of(orders.len());
        for (index, (user, units)) in (0u16..).zip(orders) {
            let (user_id, key) = (user.parse().expect("valid"), "k".parse().expect("valid"));
            let request = OrderRequest {
                drop: Arc::clone(&drop),
                user_id,
                key,
                units: *units,
                expected_total: None,
                trace: None,
            };
            requests.push(&GrantCall::new(request), index, 0);
        }
        requests.pack()
    }

    #[test]
    fn terms_that_all_orders_have_are_sent_once() {
        let alike = packed(&[("a", 2), ("b", 2), ("c", 2)]);
        assert_eq!((&alike[..2], &alike[2 + 3 * 32..]), (&[0, 3][..], &[0, 2, 0, 0][..]));
        let different = packed(&[("a", 2), ("b", 1), ("c", 2)]);
        assert_eq!(different[2 + 3 * 32..], [0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
    }

    #[test]
    fn all_orders_of_a_user_who_has_several_in_the_group_are_marked() {
        let packed = packed(&[("a", 1), ("b", 1), ("a", 1), ("c", 1), ("a", 1)]);
        let flags: Vec<u8> = packed[2 + 5 * 32..].chunks(4).map(|terms| terms[3]).collect();
        assert_eq!(flags, [2, 0, 2, 0, 2]);
    }

    #[test]
    fn a_group_takes_no_more_drops_than_the_log_can_count() {
        let drop = |n: usize| {
            let unit_price = stampede_domain::Money { amount_minor: 1, currency: "EUR".parse().expect("valid") };
            let (id, sku) = (format!("demo-{n}").parse().expect("valid"), "sku".parse().expect("valid"));
            Arc::new(DropTerms { id, sku, unit_price, durability: None, stripes: Default::default() })
        };
        let mut drops = Vec::new();
        for n in 0..MAX_GROUP_DROPS {
            assert_eq!(index_of(&mut drops, &drop(n)).map(usize::from), Some(n));
        }
        assert_eq!(index_of(&mut drops, &drop(MAX_GROUP_DROPS)), None);
        assert_eq!(index_of(&mut drops, &drop(7)), Some(7), "a drop that is in the group already still fits");
    }
}
