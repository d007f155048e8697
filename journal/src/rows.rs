//! The row changes of one checkpoint.

use std::sync::Arc;

/// Changes to rows, gathered for one checkpoint. A later change of a row takes the place of an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowBatch {
    /// Table number and key, joined as they are stored; `None` deletes.
    changes: Vec<Change>,
    bytes: usize,
}

/// A stored key, and the value that it gets or loses.
pub(crate) type Change = (Vec<u8>, Option<Value>);

/// A value on its way into the tables.
#[derive(Clone)]
pub(crate) enum Value {
    Owned(Vec<u8>),
    /// Someone else needs it as well.
    Shared(Arc<[u8]>),
}

impl std::ops::Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Self {
        match value {
            Value::Owned(bytes) => bytes,
            Value::Shared(bytes) => bytes.to_vec(),
        }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

/// The key under which a row is stored.
pub(crate) fn stored_key(table: u8, key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    stored.push(table);
    stored.extend_from_slice(key);
    stored
}

impl RowBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a row, in place of what was there.
    pub fn put(&mut self, table: u8, key: &[u8], value: impl Into<Vec<u8>>) {
        self.put_value(table, key, Value::Owned(value.into()));
    }

    /// As [`put`](Self::put), for a value that stays where it is as well: it is not copied.
    pub fn put_shared(&mut self, table: u8, key: &[u8], value: Arc<[u8]>) {
        self.put_value(table, key, Value::Shared(value));
    }

    fn put_value(&mut self, table: u8, key: &[u8], value: Value) {
        self.bytes += 1 + key.len() + value.len();
        self.changes.push((stored_key(table, key), Some(value)));
    }

    /// Deletes a row; one that is not there may be deleted too.
    pub fn delete(&mut self, table: u8, key: &[u8]) {
        self.bytes += 1 + key.len();
        self.changes.push((stored_key(table, key), None));
    }

    /// Takes the changes of `later` behind its own.
    pub fn merge(&mut self, later: Self) {
        self.bytes += later.bytes;
        self.changes.extend(later.changes);
    }

    /// The number of changes, overtaken ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The bytes of all keys and values, overtaken ones included.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes
    }

    /// The changes that count, one for each key, in the order of the keys.
    pub(crate) fn into_last_changes(mut self) -> Vec<Change> {
        // The sort is stable, so among equal keys the last stands last; turned around, it is the one that `dedup` keeps.
        self.changes.reverse();
        self.changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.changes.dedup_by(|later, kept| later.0 == kept.0);
        self.changes
    }
}
