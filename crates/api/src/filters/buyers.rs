//! The set of a drop's buyers, in nine bits for each.

use std::hash::{BuildHasher, RandomState};

use stampede_domain::UserDigest;
use xorf::{BinaryFuse8, Filter};

/// A set that never says of a member that it is none. Of others it says in one of 250 cases that they are members: then their
/// orders are decided by Redis.
///
/// Digests of users can be chosen by whoever chooses user ids. So what the set knows are hashes under a key of this process:
/// nobody can look for ids that it takes for buyers, which would only send their own orders to Redis, nor for ids of which no
/// filter can be made.
pub(super) struct Buyers {
    filter: BinaryFuse8,
    key: RandomState,
}

impl Buyers {
    /// The set of these users; some may be named more than once. `None` if it could not be made, which is a matter of chance.
    pub fn of(users: &[UserDigest]) -> Option<Self> {
        let key = RandomState::new();
        let mut hashes: Vec<u64> = users.iter().map(|user| key.hash_one(user.0)).collect();
        // A filter cannot be made of a hash that comes twice, whether of one user or of two.
        hashes.sort_unstable();
        hashes.dedup();
        let filter = BinaryFuse8::try_from(hashes.as_slice()).ok()?;
        Some(Self { filter, key })
    }

    /// Whether the user may be a member.
    pub fn may_have(&self, user: UserDigest) -> bool {
        self.filter.contains(&self.key.hash_one(user.0))
    }

    /// The memory that the set takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.filter.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(count: u32) -> Vec<UserDigest> {
        (0..count).map(|n| UserDigest::of(&format!("user-{n}").parse().expect("a user id"))).collect()
    }

    #[test]
    fn every_member_is_known_and_hardly_anybody_else() {
        for count in [1, 2, 3, 10, 1_000, 50_000] {
            let mut members = users(count);
            members.extend_from_within(..members.len() / 2);
            let buyers = Buyers::of(&members).expect("a set");
            assert!(members.iter().all(|user| buyers.may_have(*user)), "of {count}");
            let strangers = users(count + 20_000).split_off(count as usize);
            let taken = strangers.iter().filter(|user| buyers.may_have(**user)).count();
            assert!(taken < 400, "{taken} of 20,000 strangers are taken for one of {count}");
            assert!(buyers.bytes() < 200 + count as usize * 2, "{} bytes for {count}", buyers.bytes());
        }
    }
}
