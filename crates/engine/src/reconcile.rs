//! Cuts: what a shard holds, with the last entry of its log that made it so. Once everything up to that entry is
//! acknowledged, the archive must tell the same.

use fred::types::Value;
use stampede_domain::{DropId, Epoch, GrantRecord, Shard, Timestamp, UserDigest};

use crate::call::Call;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::redis::CallError;
use crate::sale::{LiveDrop, read_live_drop};
use crate::{EngineError, scripts};

/// What `reconcile/users` decides.
#[derive(Clone, Copy)]
pub(crate) enum Reading {
    Read,
    Purged,
}

pub(crate) static CUT: Call<()> = Call::fenced(&scripts::RECONCILE_CUT, &[("read", ())]);
pub(crate) static USERS: Call<Reading> =
    Call::fenced(&scripts::RECONCILE_USERS, &[("read", Reading::Read), ("purged", Reading::Purged)]);

/// Some drops of a shard at one moment.
#[derive(Clone, Debug)]
pub struct ShardCut {
    /// The shard's epoch.
    pub epoch: Epoch,
    /// The number of the last entry.
    pub number: u64,
    /// The number up to which every entry is acknowledged, and so archived.
    pub settled: u64,
    /// The drops that were asked for, in that order; `None` where the shard has no such drop.
    pub drops: Vec<Option<LiveDrop>>,
}

/// A piece of a drop's users at one moment.
#[derive(Clone, Debug)]
pub struct UsersCut {
    /// The shard's epoch.
    pub epoch: Epoch,
    /// The number of the last entry.
    pub number: u64,
    /// Units that one user may hold.
    pub limit_per_user: u32,
    /// Where the next piece begins; none at the end.
    pub next: Option<u64>,
    /// Users and what they hold. A user may appear in more than one piece.
    pub users: Vec<(UserDigest, Vec<GrantRecord>)>,
}

impl Engine {
    /// Some drops of one shard, with the last entry behind them and how far the log has been archived.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::Unavailable`] if Redis does not answer.
    pub async fn cut(&self, shard: Shard, ids: &[DropId]) -> Result<ShardCut, EngineError> {
        let k = &self.shared.handle(shard)?.keys;
        let mut keys = vec![k.meta.clone(), k.log.clone()];
        keys.extend(ids.iter().map(|id| Keys::drop(shard, id)));
        let mut fields = self.shared.read(&CUT, keys, Vec::new()).await?;
        let epoch = Epoch(fields.parse()?);
        let as_of = Timestamp::from_ms(fields.parse()?);
        let number = fields.parse()?;
        let settled = fields.parse()?;
        let drops = ids
            .iter()
            .map(|id| {
                let drop = fields.list()?;
                if drop.len() == 0 { Ok(None) } else { read_live_drop(id, epoch, as_of, drop).map(Some) }
            })
            .collect::<Result<_, CallError>>()?;
        Ok(ShardCut { epoch, number, settled, drops })
    }

    /// A piece of about `count` users that a drop has in a shard, from `cursor` on (0 to begin); `None` if the drop was purged, and its users
    /// with it.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence, or if Redis does not have the drop.
    pub async fn cut_users(
        &self,
        shard: Shard,
        id: &DropId,
        cursor: u64,
        count: u32,
    ) -> Result<Option<UsersCut>, EngineError> {
        let keys = vec![self.shared.handle(shard)?.keys.meta.clone(), Keys::drop(shard, id), Keys::users(shard, id)];
        let args = vec![Value::from(cursor.to_string()), Value::from(i64::from(count))];
        let (Reading::Read, mut fields) = self.shared.read_coded(&USERS, keys, args).await? else { return Ok(None) };
        let (epoch, number) = (Epoch(fields.parse()?), fields.parse()?);
        let limit_per_user = fields.parse()?;
        let next = Some(fields.parse()?).filter(|cursor: &u64| *cursor != 0);
        let mut users = Vec::with_capacity(fields.len() / 2);
        while fields.len() > 0 {
            let digest = fields.bytes()?;
            let user = UserDigest::from_bytes(&digest).ok_or_else(|| fields.malformed("a user's digest"))?;
            users.push((user, GrantRecord::decode_list(&fields.bytes()?)?));
        }
        Ok(Some(UsersCut { epoch, number, limit_per_user, next, users }))
    }
}
