//! Shards of the accounts: each process of several works on its own part of them.

use std::fmt;
use std::str::FromStr;

/// The accounts whose hash modulo `count` is `index`. Written as `index/count`, with
/// `0 <= index < count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

/// Maximum number of shards.
pub const SHARDS_MAX: u32 = 100_000;

impl Shard {
    /// The index of the shard with the account of this name: the first 8 bytes of its BLAKE3 hash,
    /// little-endian, modulo the number of shards.
    pub fn index_of(account: &str, count: u32) -> u32 {
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(account.as_bytes()).as_bytes();
        let hash = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        // The remainder is below a `u32`.
        (hash % u64::from(count.max(1))) as u32
    }

    pub fn contains(&self, account: &str) -> bool {
        Self::index_of(account, self.count) == self.index
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether this is the first shard. It also reports what belongs to no account.
    pub fn is_first(&self) -> bool {
        self.index == 0
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<u32>().ok();
        let numbers = text.split_once('/').map(|(index, count)| (number(index), number(count)));
        let Some((Some(index), Some(count))) = numbers else {
            return Err("write a shard as I/N, for instance 0/4".into());
        };
        match (index, count) {
            (_, 0) => Err("there must be at least one shard".into()),
            (_, SHARDS_MAX..) if count > SHARDS_MAX => {
                Err(format!("there may be at most {SHARDS_MAX} shards"))
            }
            _ if index >= count => Err(format!(
                "shards are counted from 0, so the last of {count} is {}/{count}",
                count - 1
            )),
            _ => Ok(Self { index, count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_in_exactly_one_shard_and_always_in_the_same() {
        // The test vector of BLAKE3 for no input begins with af1349b9f5f9a1a6.
        assert_eq!(u64::from(Shard::index_of("", 1_000)), 0xa6a1_f9f5_b949_13af % 1_000);
        let names = (0..200).map(|number| format!("shop-{number}"));
        for name in names {
            let shards = (0..7).map(|index| format!("{index}/7").parse::<Shard>().unwrap());
            assert_eq!(shards.filter(|shard| shard.contains(&name)).count(), 1, "{name}");
        }
    }

    #[test]
    fn a_shard_is_written_as_its_index_and_their_number() {
        assert_eq!("2/3".parse::<Shard>().unwrap().to_string(), "2/3");
        for wrong in ["", "1", "3/3", "0/0", "-1/3", "a/b", "1/2/3", "0/100001"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
