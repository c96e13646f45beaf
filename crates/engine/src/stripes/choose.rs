//! Which shards a new drop is divided over.

use std::collections::HashMap;

use stampede_domain::{DropId, Malformed, Shard, Stripes};

use crate::engine::Engine;

impl Engine {
    /// Chooses the shards for a drop of `count` stripes: its home, and others so that every primary has as many as any other,
    /// or one more. At most as many as there are shards.
    ///
    /// # Errors
    /// [`Malformed`] if there are more than [`Stripes::MAX`].
    pub fn choose_stripes(&self, id: &DropId, count: u16) -> Result<Stripes, Malformed> {
        let home = self.shard_of(id);
        let shards: Vec<(Shard, _)> = self
            .shards()
            .map(|shard| {
                (shard, self.shared.handle(shard).ok().and_then(|k| self.shared.redis.primary_of(&k.keys.meta)))
            })
            .collect();
        spread(home, &shards, usize::from(count))
    }
}

/// Takes shards from `home` on, each time one whose primary has the fewest so far.
fn spread<P: Eq + std::hash::Hash>(home: Shard, shards: &[(Shard, P)], count: usize) -> Result<Stripes, Malformed> {
    if count <= 1 {
        return Ok(Stripes::default());
    }
    let (before, from_home): (Vec<_>, Vec<_>) = shards.iter().partition(|(shard, _)| *shard < home);
    let mut left: Vec<&(Shard, P)> = from_home.into_iter().chain(before).collect();
    let mut taken: HashMap<&P, usize> = HashMap::new();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let of_primary = |primary: &P| taken.get(primary).copied().unwrap_or_default();
        let Some(next) = (0..left.len()).min_by_key(|place| of_primary(&left[*place].1)) else { break };
        let (shard, primary) = left.remove(next);
        *taken.entry(primary).or_default() += 1;
        chosen.push(*shard);
    }
    if chosen.len() == 1 { Ok(Stripes::default()) } else { Stripes::over(chosen) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u16) -> Shard {
        Shard::new(number).expect("in range")
    }

    fn chosen(home: u16, primaries: &[char], count: usize) -> Vec<u16> {
        let shards: Vec<(Shard, char)> = (0..).map(shard).zip(primaries.iter().copied()).collect();
        let stripes = spread(shard(home), &shards, count).expect("few enough");
        stripes.shards(shard(home)).into_iter().map(Shard::number).collect()
    }

    #[test]
    fn every_primary_has_its_share_and_the_home_is_first() {
        let primaries = ['a', 'a', 'a', 'a', 'b', 'b', 'c', 'c'];
        assert_eq!(chosen(1, &primaries, 3), [1, 4, 6]);
        assert_eq!(chosen(7, &primaries, 3), [7, 0, 4]);
        assert_eq!(chosen(4, &primaries, 6), [4, 6, 0, 5, 7, 1]);
        assert_eq!(chosen(2, &['x'; 4], 4), [2, 3, 0, 1]);
    }

    #[test]
    fn there_are_no_more_stripes_than_shards() {
        assert_eq!(chosen(0, &['a'; 3], 9).len(), 3);
        assert_eq!(chosen(0, &['a'; 1], 9), [0]);
        assert_eq!(chosen(2, &['a'; 3], 1), [2]);
    }
}
