//! The parts into which a drop's stock is divided, so that it outruns one Redis.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Malformed, Shard, UserDigest};

/// The shards in which the stock of a drop lives, that of its home first. Fixed when the drop is defined.
///
/// Most drops have one stripe, in their home: that is the shard that follows from the drop's id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Shard>", into = "Vec<Shard>")]
pub struct Stripes(Vec<Shard>);

impl Stripes {
    /// The most stripes of one drop: each reading of it asks all of them.
    pub const MAX: u16 = 64;

    /// The stripes in these shards, the home's first: 2 to [`Self::MAX`] of them, or none for a drop that is not striped.
    ///
    /// # Errors
    /// [`Malformed`] if they are too many, only one, or one of them stands there twice.
    pub fn over(shards: Vec<Shard>) -> Result<Self, Malformed> {
        let mut sorted = shards.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let distinct = sorted.len() == shards.len();
        if distinct && shards.len() != 1 && shards.len() <= usize::from(Self::MAX) {
            Ok(Self(shards))
        } else {
            Err(Malformed { what: "stripes of a drop" })
        }
    }

    /// Whether the stock is divided at all.
    pub const fn is_striped(&self) -> bool {
        !self.0.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> u16 {
        u16::try_from(self.0.len()).unwrap_or(Self::MAX).max(1)
    }

    /// Their shards, the home first.
    pub fn shards(&self, home: Shard) -> Vec<Shard> {
        if self.is_striped() { self.0.clone() } else { vec![home] }
    }

    /// The stripe that a user always meets, so that the limit per user is that of one script: by the first eight bytes of
    /// the user's digest, modulo the count.
    pub fn of_user(&self, home: Shard, user: UserDigest) -> Shard {
        let mut head = [0; 8];
        head.copy_from_slice(&user.0[..8]);
        let place = u64::from_be_bytes(head) % u64::from(self.count());
        self.0.get(usize::try_from(place).unwrap_or_default()).copied().unwrap_or(home)
    }

    /// The units of the whole drop's stock that the stripe in `shard` opens with: as even as can be.
    pub fn share(&self, shard: Shard, stock_units: u32) -> u32 {
        if !self.is_striped() {
            return stock_units;
        }
        let count = u32::from(self.count());
        let place = self.0.iter().position(|stripe| *stripe == shard).and_then(|place| u32::try_from(place).ok());
        place.map_or(0, |place| stock_units / count + u32::from(place < stock_units % count))
    }
}

impl fmt::Display for Stripes {
    /// The numbers of the shards with commas between them, as a drop's hash holds them; nothing if it is not striped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, shard) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}", shard.number())?;
        }
        Ok(())
    }
}

impl FromStr for Stripes {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let malformed = Malformed { what: "stripes of a drop" };
        let shard = |number: &str| number.parse().ok().and_then(Shard::new).ok_or(malformed);
        Self::over(text.split(',').map(shard).collect::<Result<_, _>>()?)
    }
}

impl TryFrom<Vec<Shard>> for Stripes {
    type Error = Malformed;

    fn try_from(shards: Vec<Shard>) -> Result<Self, Malformed> {
        Self::over(shards)
    }
}

impl From<Stripes> for Vec<Shard> {
    fn from(stripes: Stripes) -> Self {
        stripes.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn over(numbers: &[u16]) -> Stripes {
        let shards = numbers.iter().map(|number| Shard::new(*number).expect("in range"));
        Stripes::over(shards.collect()).expect("distinct")
    }

    proptest! {
        #[test]
        fn shares_are_even_and_come_to_the_whole(count in 2u16..=Stripes::MAX, units in 0u32..1_000_000_000) {
            let stripes = over(&(0..count).collect::<Vec<_>>());
            let home = Shard::new(0).expect("in range");
            let shares: Vec<u32> = stripes.shards(home).into_iter().map(|shard| stripes.share(shard, units)).collect();
            prop_assert_eq!(shares.iter().sum::<u32>(), units);
            prop_assert!(shares.iter().max().expect("some") - shares.iter().min().expect("some") <= 1);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9,]{0,20}") {
            if let Ok(stripes) = text.parse::<Stripes>() {
                prop_assert_eq!(stripes.to_string().parse(), Ok(stripes));
            }
        }
    }

    #[test]
    fn a_user_keeps_the_stripe() {
        // Known answers: a change here would let users of a running sale exceed their limit.
        let (stripes, home) = (over(&[5, 1, 3]), Shard::new(5).expect("in range"));
        let stripe = |user: &str| stripes.of_user(home, UserDigest::of(&user.parse().expect("valid"))).number();
        assert_eq!([stripe("alice"), stripe("bob"), stripe("carol"), stripe("auth0|abc")], [3, 3, 3, 1]);
        assert_eq!(Stripes::default().of_user(home, UserDigest::default()), home);
    }

    #[test]
    fn stripes_are_distinct_and_not_one() {
        let shard = |number| Shard::new(number).expect("in range");
        assert!(Stripes::over(vec![shard(1), shard(2), shard(1)]).is_err());
        assert!(Stripes::over(vec![shard(1)]).is_err(), "a single stripe is in the drop's home, wherever that is");
        assert!(Stripes::over((0..=Stripes::MAX).map(shard).collect()).is_err());
        assert_eq!("".parse(), Ok(Stripes::default()));
        assert_eq!(serde_json::to_string(&over(&[5, 1])).expect("JSON"), "[5,1]");
        assert!(serde_json::from_str::<Stripes>("[5,5]").is_err());
    }
}
