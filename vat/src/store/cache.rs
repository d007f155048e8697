//! Rows that the tables hold as well, kept to be read again.
//!
//! Two generations: what is touched goes into the young one, and when that has filled its half of
//! the room, it becomes the old one and what was old is let go. So a row that is touched again in
//! time stays, and letting go costs nothing for each row. What is here decides how fast a read is
//! and never what it says.

use std::collections::HashMap;

use super::row_bytes;

/// A value, or the knowledge that there is none.
type Known = Option<Box<[u8]>>;

/// See the module's text.
#[derive(Default)]
pub(super) struct Cache {
    young: Generation,
    old: Generation,
}

#[derive(Default)]
struct Generation {
    rows: HashMap<Box<[u8]>, Known>,
    bytes: usize,
}

fn bytes_of(key: &[u8], value: Option<&[u8]>) -> usize {
    row_bytes(key.len(), value.map_or(0, <[u8]>::len))
}

impl Generation {
    fn insert(&mut self, key: Box<[u8]>, value: Known) {
        self.bytes += bytes_of(&key, value.as_deref());
        let key_len = key.len();
        if let Some(replaced) = self.rows.insert(key, value) {
            self.bytes -= row_bytes(key_len, replaced.map_or(0, |value| value.len()));
        }
    }

    fn remove(&mut self, key: &[u8]) -> Option<(Box<[u8]>, Known)> {
        let (key, value) = self.rows.remove_entry(key)?;
        self.bytes -= bytes_of(&key, value.as_deref());
        Some((key, value))
    }
}

impl Cache {
    /// A row that was touched before and not let go since; it counts as touched again.
    pub(super) fn get(&mut self, key: &[u8], limit_bytes: usize) -> Option<Option<Vec<u8>>> {
        if let Some(known) = self.young.rows.get(key) {
            return Some(known.as_deref().map(<[u8]>::to_vec));
        }
        let (key, known) = self.old.remove(key)?;
        let value = known.as_deref().map(<[u8]>::to_vec);
        self.put(key, known, limit_bytes);
        Some(value)
    }

    /// Keeps a row, unless it alone would fill a generation.
    pub(super) fn put(&mut self, key: Box<[u8]>, value: Known, limit_bytes: usize) {
        let half = limit_bytes / 2;
        let bytes = bytes_of(&key, value.as_deref());
        if bytes > half {
            self.remove(&key);
            return;
        }
        if self.young.bytes + bytes > half {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    /// Forgets a row, because the vat has written it.
    pub(super) fn remove(&mut self, key: &[u8]) {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Lets go of what is above the limit.
    pub(super) fn shrink(&mut self, limit_bytes: usize) {
        if self.bytes() > limit_bytes {
            self.old = Generation::default();
        }
        if self.young.bytes > limit_bytes {
            self.young = Generation::default();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_stays_within_the_limit_and_is_never_wrong(
            touched in proptest::collection::vec((0u8..30, any::<Option<u8>>(), 0u8..4), 0..200),
            limit in 0usize..3000,
        ) {
            let mut cache = Cache::default();
            let mut model: HashMap<u8, Option<u8>> = HashMap::new();
            for (key, value, deed) in touched {
                let row: Known = value.map(|value| [value].into());
                match deed {
                    0 => cache.remove(&[key]),
                    1 => {
                        let Some(found) = cache.get(&[key], limit) else { continue };
                        prop_assert_eq!(found.map(|bytes| bytes[0]), model[&key]);
                    }
                    _ => {
                        model.insert(key, value);
                        cache.put([key].into(), row, limit);
                    }
                }
                let counted: usize = [&cache.young, &cache.old]
                    .iter()
                    .flat_map(|generation| &generation.rows)
                    .map(|(key, value)| bytes_of(key, value.as_deref()))
                    .sum();
                prop_assert_eq!(cache.bytes(), counted);
                prop_assert!(counted <= limit);
            }
        }
    }
}
