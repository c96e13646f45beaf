//! Reading drops, and what their users hold.

use bytes::Bytes;
use fred::types::Value;
use stampede_domain::{
    DropId, DropState, Epoch, GrantRecord, Money, Order, Shard, Timestamp, UserDigest, UserId, Version, Window,
};

use super::{DropTerms, LiveDrop, ShardReading, UserGrants, order_from_record};
use crate::call::Call;
use crate::durability::Source;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::redis::{CallError, Fields};
use crate::{EngineError, scripts};

pub(crate) static READ: Call<()> = Call::fenced(&scripts::SALE_READ, &[("read", ())]);
pub(crate) static READ_UNSETTLED: Call<()> = Call::fenced(&scripts::LOG_READ_UNSETTLED, &[("read", ())]);
pub(crate) static READ_USERS: Call<()> = Call::fenced(&scripts::SALE_READ_USERS, &[("read", ())]);

impl Engine {
    /// Reads some drops that have their home in one shard. Those that live there whole are read at one moment; of a striped
    /// one the stripes are read one after another, and none is shown while one of them cannot be read or is being opened.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::Unavailable`] if Redis does not answer.
    pub async fn read_drops(&self, shard: Shard, ids: &[DropId]) -> Result<ShardReading, EngineError> {
        let mut reading = self.read_stripes(shard, ids).await?;
        self.join_stripes(shard, &mut reading.drops).await?;
        Ok(reading)
    }

    /// Reads what one shard has of some drops, at one moment: of a striped drop the stripe there.
    ///
    /// # Errors
    /// As [`Self::read_drops`].
    pub async fn read_stripes(&self, shard: Shard, ids: &[DropId]) -> Result<ShardReading, EngineError> {
        let handle = self.shared.handle(shard)?;
        let mut keys = vec![handle.keys.meta.clone()];
        keys.extend(ids.iter().map(|id| Keys::drop(shard, id)));
        let mut fields = self.shared.read(&READ, keys, Vec::new()).await?;
        let epoch = Epoch(fields.parse()?);
        let as_of = Timestamp::from_ms(fields.parse()?);
        let drops = ids
            .iter()
            .map(|id| {
                let drop = fields.list()?;
                if drop.len() == 0 { Ok(None) } else { read_live_drop(id, epoch, as_of, drop).map(Some) }
            })
            .collect::<Result<Vec<_>, CallError>>()?;
        self.shared.keeper.heard(drops.iter().flatten());
        Ok(ShardReading { as_of, drops })
    }

    /// The drops of a shard with facts that the archive may not hold yet.
    ///
    /// # Errors
    /// As [`Self::read_drops`].
    pub async fn unsettled_drops(&self, shard: Shard) -> Result<Vec<DropId>, EngineError> {
        let keys = &self.shared.handle(shard)?.keys;
        let keys = vec![keys.meta.clone(), keys.unsettled.clone()];
        let mut fields = self.shared.read(&READ_UNSETTLED, keys, Vec::new()).await?;
        (0..fields.len()).map(|_| Ok(fields.parse()?)).collect()
    }

    /// What some users hold in some drops of one shard: one answer for each pair.
    ///
    /// # Errors
    /// As [`Self::read_drops`].
    pub async fn user_grants(&self, shard: Shard, of: &[(DropId, UserDigest)]) -> Result<Vec<UserGrants>, EngineError> {
        let mut keys = vec![self.shared.handle(shard)?.keys.meta.clone()];
        keys.extend(of.iter().flat_map(|(id, _)| [Keys::drop(shard, id), Keys::users(shard, id)]));
        let args = of.iter().map(|(_, user)| Value::Bytes(Bytes::copy_from_slice(&user.0))).collect();
        let mut fields = self.shared.read(&READ_USERS, keys, args).await?;
        let source = Source::new(shard, fields.text()?);
        of.iter()
            .map(|(drop_id, user)| {
                let mut entry = fields.list()?;
                let grants = if entry.len() == 0 { None } else { Some(read_grants(drop_id, &mut entry)?) };
                let purged = grants.is_some() && entry.optional::<u8>()?.is_some();
                let (drop_id, source) = (drop_id.clone(), source.clone());
                Ok(UserGrants { drop_id, shard, user: *user, purged, grants, source })
            })
            .collect()
    }

    /// The order that a record in this shard means.
    pub fn order_of(&self, shard: Shard, user_id: &UserId, terms: &DropTerms, record: &GrantRecord) -> Order {
        order_from_record(shard, terms, UserDigest::of(user_id), user_id, record)
    }
}

fn read_grants(drop_id: &DropId, fields: &mut Fields) -> Result<(DropTerms, Vec<GrantRecord>), EngineError> {
    let sku = fields.parse().map_err(EngineError::from)?;
    let unit_price = Money { amount_minor: fields.parse()?, currency: fields.parse()? };
    let durability = fields.optional()?;
    let records = GrantRecord::decode_list(&fields.bytes()?)?;
    let stripes = fields.optional()?.unwrap_or_default();
    Ok((DropTerms { id: drop_id.clone(), sku, unit_price, durability, stripes }, records))
}

/// Reads the fields of `lua/lib/read_drop.lua`, in its order.
pub(crate) fn read_live_drop(
    id: &DropId,
    epoch: Epoch,
    as_of: Timestamp,
    mut fields: Fields,
) -> Result<LiveDrop, CallError> {
    let sku = fields.parse()?;
    let state = DropState::parse(&fields.text()?).ok_or_else(|| fields.malformed("a drop's state"))?;
    let window =
        Window { starts_at: Timestamp::from_ms(fields.parse()?), ends_at: fields.optional()?.map(Timestamp::from_ms) };
    let limit_per_user = fields.parse()?;
    let unit_price = Money { amount_minor: fields.parse()?, currency: fields.parse()? };
    let (cancellable_for_s, cancellations_per_user) = (fields.parse()?, fields.parse()?);
    let (total, available): (i64, i64) = (fields.parse()?, fields.parse()?);
    let live = LiveDrop {
        id: id.clone(),
        sku,
        state,
        window,
        limit_per_user,
        unit_price,
        cancellable_for_s,
        cancellations_per_user,
        total_units: u64::try_from(total).unwrap_or_default(),
        available_units: u64::try_from(available).unwrap_or_default(),
        held_units: fields.parse()?,
        sold_units: fields.parse()?,
        // A tail that a restart lost may take the drop back, but not its version.
        version: Version(fields.parse()?).at_least(epoch),
        purged: fields.optional::<u8>()?.is_some(),
        durability: fields.optional()?,
        stripes: fields.optional()?.unwrap_or_default(),
        sent_units: fields.optional()?.unwrap_or_default(),
        received_units: fields.optional()?.unwrap_or_default(),
        hold_ms: fields.optional()?.unwrap_or_default(),
        as_of,
    };
    // Where a restart lost a transfer's arrival and not what was sold of it, a stripe lacks units until it arrives again.
    if (total < 0 || available < 0) && !live.stripes.is_striped() {
        return Err(fields.malformed("a drop's units"));
    }
    Ok(live)
}
