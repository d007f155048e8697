//! The digest of all rows: one value that does not depend on the order in which rows were written, kept up to date by
//! adding and taking away single rows.

/// The sum, in four lanes, of a hash of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TablesDigest([u64; 4]);

impl TablesDigest {
    pub(crate) const BYTES: usize = 32;

    pub(crate) fn add(&mut self, stored_key: &[u8], value: &[u8]) {
        for (lane, part) in self.0.iter_mut().zip(row_lanes(stored_key, value)) {
            *lane = lane.wrapping_add(part);
        }
    }

    pub(crate) fn remove(&mut self, stored_key: &[u8], value: &[u8]) {
        for (lane, part) in self.0.iter_mut().zip(row_lanes(stored_key, value)) {
            *lane = lane.wrapping_sub(part);
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (chunk, lane) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&lane.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(lanes(&bytes))
    }
}

fn lanes(bytes: &[u8; 32]) -> [u64; 4] {
    std::array::from_fn(|lane| crate::stored_group::le_u64(&bytes[lane * 8..lane * 8 + 8]))
}

fn row_lanes(stored_key: &[u8], value: &[u8]) -> [u64; 4] {
    let mut hasher = blake3::Hasher::new();
    // The length keeps a key that ends where another's value begins from having the same hash.
    hasher.update(&(stored_key.len() as u64).to_le_bytes());
    hasher.update(stored_key);
    hasher.update(value);
    lanes(hasher.finalize().as_bytes())
}
