//! The hash of key bytes, the same in Java (docs/concepts/slimbase-format.md, section Hash).

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
const LAST: u64 = 0xD6E8_FEB8_6659_FD93;
const LENGTH: u64 = 0xC2B2_AE3D_27D4_EB4F;

/// Hash of the key bytes of an identity (state id * 2 + AUX).
#[inline]
pub fn hash(identity: u32, key: &[u8]) -> u64 {
    let mut h = u64::from(identity).wrapping_mul(MULTIPLIER) ^ (key.len() as u64).wrapping_mul(LENGTH);
    let mut words = key.chunks_exact(8);
    for word in &mut words {
        h = mix(h, word_of(word));
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        h = mix(h, word_of(rest));
    }
    h ^= h >> 32;
    h = h.wrapping_mul(LAST);
    h ^ (h >> 29)
}

#[inline]
fn mix(h: u64, word: u64) -> u64 {
    let h = (h ^ word).wrapping_mul(MULTIPLIER);
    h ^ (h >> 29)
}

#[inline]
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0u8; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// The 24 bits of a hash that a slot keeps.
#[inline]
pub fn tag(hash: u64) -> u32 {
    (hash >> 40) as u32
}

/// The key group of a key where nobody else has said it (an embedded engine): the hash's low half, scaled.
#[inline]
pub fn key_group(key: &[u8], key_groups: u32) -> u32 {
    (((hash(0, key) & 0xFFFF_FFFF) * u64::from(key_groups)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers; Java's `KeyHash` gives the same.
    #[test]
    fn known_answers() {
        let answers: [(u32, &[u8], u64); 5] = [
            (0, b"", 0),
            (1, b"a", 0x9f6d_9d99_80a1_d457),
            (2, b"12345678", 0x8609_3e48_283b_45d4),
            (2047, b"123456789", 0xdccd_84d8_d09a_04af),
            (6, &[0; 16], 0xf008_f17b_f60c_e183),
        ];
        for (identity, key, wanted) in answers {
            assert_eq!(hash(identity, key), wanted);
        }
        assert_ne!(hash(2, b"12345678"), hash(3, b"12345678"));
        assert_ne!(hash(2, b"1234567"), hash(2, b"1234567\0"), "padding is not confused with zeros");
    }

    /// Key groups are spread over the whole range.
    #[test]
    fn key_groups_are_in_range() {
        let mut seen = [0u32; 128];
        for number in 0..100_000u64 {
            seen[key_group(&number.to_le_bytes(), 128) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (600..1000).contains(count)), "{seen:?}");
    }
}
