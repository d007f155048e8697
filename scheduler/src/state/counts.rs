//! How often each object is held, by states, stores, messages and promises, and by the host.
//!
//! A vat's root is not counted: it lives as long as its vat. An object without a count here was
//! never held outside of its vat, or its vat has been told that it is not any more.

use std::collections::{BTreeMap, BTreeSet};

use crankcase_vat::codec::{Reader, put_varint};
use crankcase_vat::{CrankNumber, DecodeError, ObjectId, Reference, VatId, mutant};

/// How an object is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    /// How often.
    pub(crate) times: u64,
    /// The owner's last crank in which it gave the object away.
    pub(crate) given_away: CrankNumber,
    /// How often the owner is still to hear that nobody holds it. Until it has, it matters to what
    /// waits when the object was given away, even if that was to the host and counts for nothing.
    pub(crate) news: u64,
}

impl Count {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.times);
        put_varint(&mut out, self.given_away.get());
        put_varint(&mut out, self.news);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = Self {
            times: reader.varint("count")?,
            given_away: CrankNumber::new(reader.varint("crank number")?),
            news: reader.varint("news")?,
        };
        reader.finish()?;
        Ok(count)
    }
}

/// See the module's text.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    objects: BTreeMap<ObjectId, Count>,
    /// References that the host holds, and how often.
    held_by_host: BTreeMap<Reference, u64>,
    touched: BTreeSet<ObjectId>,
    touched_holds: BTreeSet<Reference>,
}

impl Counts {
    pub(crate) fn get(&self, object: ObjectId) -> Option<Count> {
        self.objects.get(&object).copied()
    }

    /// How many objects are counted.
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn insert(&mut self, object: ObjectId, count: Count) {
        self.objects.insert(object, count);
    }

    pub(crate) fn insert_hold(&mut self, reference: Reference, times: u64) {
        self.held_by_host.insert(reference, times);
    }

    /// Counts an object more often.
    pub(crate) fn add(&mut self, object: ObjectId, times: u64, given_away: Option<CrankNumber>) {
        let count = self.objects.entry(object).or_default();
        count.times += times;
        if let Some(crank) = given_away {
            count.given_away = crank;
        }
        self.touched.insert(object);
    }

    /// Notes that the owner gave a known object away where it is not counted: to the host.
    pub(crate) fn note_given_away(&mut self, object: ObjectId, crank: CrankNumber) {
        if let Some(count) = self.objects.get_mut(&object) {
            count.given_away = crank;
            self.touched.insert(object);
        }
    }

    /// Counts an object less often; gives how often it is held now, or nothing when it is counted
    /// less often than that.
    pub(crate) fn sub(&mut self, object: ObjectId, times: u64) -> Option<u64> {
        let count = self.objects.get_mut(&object)?;
        count.times = count.times.checked_sub(times)?;
        self.touched.insert(object);
        Some(count.times)
    }

    /// Notes that the owner is to hear that nobody holds an object, unless somebody does.
    pub(crate) fn note_news(&mut self, object: ObjectId) -> bool {
        match self.objects.get_mut(&object) {
            Some(count) if count.times == 0 && !mutant("owner-is-not-told") => {
                count.news += 1;
                self.touched.insert(object);
                true
            }
            _ => false,
        }
    }

    /// Notes that the owner has heard it, and forgets what nobody holds and no news waits of.
    pub(crate) fn heard(&mut self, object: ObjectId) {
        if let Some(count) = self.objects.get_mut(&object) {
            count.news = count.news.saturating_sub(1);
            self.touched.insert(object);
            if count.times == 0 && count.news == 0 {
                self.objects.remove(&object);
            }
        }
    }

    fn remove(&mut self, object: ObjectId) {
        if self.objects.remove(&object).is_some() {
            self.touched.insert(object);
        }
    }

    /// Forgets objects of a vat that has ended, at most `count`; says whether there are more.
    pub(crate) fn forget(&mut self, vat: VatId, count: usize) -> bool {
        for object in self.of(vat).take(count).collect::<Vec<_>>() {
            self.remove(object);
        }
        self.has_any(vat)
    }

    pub(crate) fn has_any(&self, vat: VatId) -> bool {
        self.of(vat).next().is_some()
    }

    fn of(&self, vat: VatId) -> impl Iterator<Item = ObjectId> + '_ {
        let range = ObjectId::root(vat)..=ObjectId::new(vat, u64::MAX);
        self.objects.range(range).map(|(object, _)| *object)
    }

    /// Has the host hold a reference once more.
    pub(crate) fn hold(&mut self, reference: Reference) {
        *self.held_by_host.entry(reference).or_default() += 1;
        self.touched_holds.insert(reference);
    }

    /// Has the host hold a reference once less; says no if it does not hold it.
    pub(crate) fn release(&mut self, reference: Reference) -> bool {
        let Some(times) = self.held_by_host.get_mut(&reference) else {
            return false;
        };
        *times -= 1;
        if *times == 0 {
            self.held_by_host.remove(&reference);
        }
        self.touched_holds.insert(reference);
        true
    }

    pub(crate) fn held_by_host(&self) -> impl Iterator<Item = (Reference, u64)> + '_ {
        self.held_by_host
            .iter()
            .map(|(held, times)| (*held, *times))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ObjectId, Count)> + '_ {
        self.objects.iter().map(|(object, count)| (*object, *count))
    }

    /// Ends the epoch: calls `put` with each object and each hold that changed, and what it has
    /// become.
    pub(crate) fn freeze(
        &mut self,
        mut put: impl FnMut(ObjectId, Option<Count>),
        mut put_hold: impl FnMut(Reference, Option<u64>),
    ) {
        for object in std::mem::take(&mut self.touched) {
            put(object, self.objects.get(&object).copied());
        }
        for reference in std::mem::take(&mut self.touched_holds) {
            put_hold(reference, self.held_by_host.get(&reference).copied());
        }
    }

    pub(crate) fn first_difference(&self, other: &Self) -> Option<String> {
        for (object, count) in &self.objects {
            let twin = other.objects.get(object);
            if twin != Some(count) {
                return Some(format!("object {object}: {count:?} against {twin:?}"));
            }
        }
        if self.objects.len() != other.objects.len() {
            return Some("one side counts objects that the other does not".to_owned());
        }
        (self.held_by_host != other.held_by_host).then(|| "what the host holds".to_owned())
    }
}
