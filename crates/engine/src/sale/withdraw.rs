//! Going through the users of a drop that was called off.

use fred::types::Value;
use stampede_domain::{DropId, GrantRecord, Shard, UserDigest};

use crate::call::Call;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::{EngineError, scripts};

pub(crate) static SCAN_USERS: Call<()> = Call::fenced(&scripts::SALE_SCAN_USERS, &[("read", ())]);
/// Says whether all orders are cancelled.
pub(crate) static WITHDRAWN: Call<bool> =
    Call::settled(&scripts::SALE_WITHDRAWN, &[("removed", true), ("orders-stand", false)]);

/// A piece of the list of a drop's users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersPiece {
    /// Where the next piece begins; none at the end.
    pub next: Option<u64>,
    /// Users and what they hold. A user may appear in more than one piece.
    pub users: Vec<(UserDigest, Vec<GrantRecord>)>,
}

impl Engine {
    /// A piece of about `count` users that a drop has in a shard, from `cursor` on (0 to begin).
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence, or if Redis does not have the drop.
    pub async fn scan_users(
        &self,
        shard: Shard,
        id: &DropId,
        cursor: u64,
        count: u32,
    ) -> Result<UsersPiece, EngineError> {
        let keys = vec![self.shared.handle(shard)?.keys.meta.clone(), Keys::users(shard, id)];
        let args = vec![Value::from(cursor.to_string()), Value::from(i64::from(count))];
        let mut fields = self.shared.read(&SCAN_USERS, keys, args).await?;
        let next = Some(fields.parse()?).filter(|cursor: &u64| *cursor != 0);
        let mut users = Vec::with_capacity(fields.len() / 2);
        while fields.len() > 0 {
            let digest = fields.bytes()?;
            let user = UserDigest::from_bytes(&digest).ok_or_else(|| fields.malformed("a user's digest"))?;
            users.push((user, GrantRecord::decode_list(&fields.bytes()?)?));
        }
        Ok(UsersPiece { next, users })
    }

    /// Notes that all orders in a shard of a drop that was called off are cancelled, if that is so: nobody looks for more.
    /// Returns whether it is.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence, or if Redis does not have the drop.
    pub async fn finish_withdrawal(&self, shard: Shard, id: &DropId) -> Result<bool, EngineError> {
        let handle = self.shared.handle(shard)?;
        let keys = [handle.keys.meta.clone(), handle.keys.timers.clone(), Keys::drop(shard, id)];
        Ok(self.shared.settle(handle, &WITHDRAWN, &keys, &[]).await?.code)
    }
}
