//! A vat's ordered key-value store, as one crank sees it: what was committed, under what this
//! crank has written.

use std::collections::BTreeMap;
use std::ops::Bound;

/// The committed rows of a vat's store.
pub type Rows = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// What a crank has written: a value, or nothing for a deleted row.
pub(crate) type Writes = BTreeMap<Box<[u8]>, Option<Box<[u8]>>>;

/// The value of a row under the writes of this crank.
pub(crate) fn get<'a>(rows: &'a Rows, writes: &'a Writes, key: &[u8]) -> Option<&'a [u8]> {
    match writes.get(key) {
        Some(written) => written.as_deref(),
        None => rows.get(key).map(AsRef::as_ref),
    }
}

/// The first row within the bounds, or the last one.
pub(crate) fn edge<'a>(
    rows: &'a Rows,
    writes: &'a Writes,
    bounds: (Bound<&[u8]>, Bound<&[u8]>),
    forward: bool,
) -> Option<(&'a [u8], &'a [u8])> {
    if is_empty(bounds) {
        return None;
    }
    let mut committed = rows
        .range::<[u8], _>(bounds)
        .map(|(key, value)| (&**key, &**value));
    let mut written = writes
        .range::<[u8], _>(bounds)
        .map(|(key, value)| (&**key, value.as_deref()));
    let mut next = || {
        if forward {
            committed.next()
        } else {
            committed.next_back()
        }
    };
    let mut next_written = || {
        if forward {
            written.next()
        } else {
            written.next_back()
        }
    };
    let mut row = next();
    let mut write = next_written();
    loop {
        let write_first = match (row, write) {
            (_, None) => return row,
            (None, Some(_)) => true,
            (Some((row_key, _)), Some((write_key, _))) => {
                if row_key == write_key {
                    // The write stands above the row: the row is not seen.
                    row = next();
                    true
                } else {
                    (write_key < row_key) == forward
                }
            }
        };
        if !write_first {
            return row;
        }
        match write {
            Some((key, Some(value))) => return Some((key, value)),
            _ => write = next_written(),
        }
    }
}

/// The bounds of all keys that begin with `prefix`.
pub(crate) fn prefix_bounds(prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    // The first key behind all that begin with the prefix: its last byte below 255, raised.
    let mut end = prefix.to_vec();
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    let high = match end.last_mut() {
        Some(last) => {
            *last += 1;
            Bound::Excluded(end)
        }
        None => Bound::Unbounded,
    };
    (Bound::Included(prefix.to_vec()), high)
}

/// Whether no key can lie within the bounds; `BTreeMap::range` panics on some of those.
fn is_empty(bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match bounds {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high))
        | (Bound::Excluded(low), Bound::Included(high)) => low >= high,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn walk(rows: &Rows, writes: &Writes, low: u8, high: u8, forward: bool) -> Vec<(u8, u8)> {
        let mut found = Vec::new();
        let (mut low, mut high) = (Bound::Included(vec![low]), Bound::Excluded(vec![high]));
        loop {
            let bounds = (
                low.as_ref().map(|key| &key[..]),
                high.as_ref().map(|key| &key[..]),
            );
            let Some((key, value)) = edge(rows, writes, bounds, forward) else {
                return found;
            };
            found.push((key[0], value[0]));
            let passed = Bound::Excluded(key.to_vec());
            if forward { low = passed } else { high = passed }
        }
    }

    proptest! {
        #[test]
        fn a_walk_sees_what_a_merged_map_holds(
            rows in proptest::collection::btree_map(0u8..20, any::<u8>(), 0..12),
            writes in proptest::collection::btree_map(0u8..20, any::<Option<u8>>(), 0..12),
            low in 0u8..22, high in 0u8..22,
        ) {
            let mut merged = rows.clone();
            for (key, value) in &writes {
                match value {
                    Some(value) => merged.insert(*key, *value),
                    None => merged.remove(key),
                };
            }
            let rows: Rows = rows.iter().map(|(k, v)| ([*k].into(), [*v].into())).collect();
            let writes: Writes =
                writes.iter().map(|(k, v)| ([*k].into(), v.map(|v| [v].into()))).collect();
            let mut expected: Vec<_> = merged
                .into_iter()
                .filter(|(key, _)| (low..high).contains(key))
                .collect();
            prop_assert_eq!(walk(&rows, &writes, low, high, true), expected.clone());
            expected.reverse();
            prop_assert_eq!(walk(&rows, &writes, low, high, false), expected);
        }
    }
}
