//! The filter of a file: whether a key's hash may be in it.
//!
//! A split-block Bloom filter as in Parquet: the upper half of a hash chooses one block of 32 bytes, the lower half sets one
//! bit in each of the block's eight words. Source: Putze, Sanders, Singler, "Cache-, hash- and space-efficient Bloom
//! filters", 2009; the salts are those of Parquet's specification.

/// Bits a key: about one absent key in 200 seems to be there.
const BITS: u64 = 12;
pub(super) const BLOCK: usize = 32;
const SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

fn block(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

/// Word and bit of a hash within its block.
fn bits(hash: u64) -> impl Iterator<Item = (usize, u32)> {
    SALTS.iter().enumerate().map(move |(word, salt)| (word, 1 << ((hash as u32).wrapping_mul(*salt) >> 27)))
}

/// The filter's bytes for these hashes, of which no two are the same; none for none.
pub(super) fn build(hashes: &[u64]) -> Vec<u8> {
    let blocks = (hashes.len() as u64 * BITS).div_ceil(BLOCK as u64 * 8) as usize;
    let mut words = vec![[0u32; 8]; blocks];
    for hash in hashes {
        let block = &mut words[block(*hash, blocks)];
        bits(*hash).for_each(|(word, bit)| block[word] |= bit);
    }
    words.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
}

/// Whether the hash may be one of those that the filter was built from.
pub(super) fn may_contain(filter: &[u8], hash: u64) -> bool {
    let blocks = filter.len() / BLOCK;
    if blocks == 0 {
        return false;
    }
    let block = &filter[block(hash, blocks) * BLOCK..][..BLOCK];
    // A bit of a little-endian word is the same bit of its bytes.
    bits(hash)
        .all(|(word, bit)| block[word * 4 + bit.trailing_zeros() as usize / 8] & (1 << (bit.trailing_zeros() % 8)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash;

    /// What was put in is found; of what was not, about 0.5 % is.
    #[test]
    fn errs_for_few() {
        assert!(!may_contain(&build(&[]), 7));
        for keys in [1u64, 20, 1000, 200_000] {
            let hashes: Vec<u64> = (0..keys).map(|key| hash(4, &key.to_le_bytes())).collect();
            let filter = build(&hashes);
            assert!(hashes.iter().all(|hash| may_contain(&filter, *hash)));
            let asked = 200_000;
            let wrong = (keys..keys + asked).filter(|key| may_contain(&filter, hash(4, &key.to_le_bytes()))).count();
            assert!(wrong as u64 * 1000 < asked * 8, "{wrong} of {asked} with {keys} keys");
        }
    }
}
