//! The crank in the vat's hand: everything a vat can do to the world while it handles a delivery.
//!
//! All of it goes into buffers of this crank and nowhere else. The buffers become the record when
//! the crank commits, and are dropped when it does not.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use serde::Serialize;

use crate::codec::put_bytes;
use crate::ids::{CrankNumber, DeliveryId, Time, VatId, VatNumber};
use crate::limits::{Limits, is_name};
use crate::payload::encode_into;
use crate::record::act::{write_send_head, write_spawn_head};
use crate::rejection::{Cause, Rejection};
use crate::store::{self, Rows, Writes};
use crate::vat::Kinds;

/// How a vat ends itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The crank commits, and the vat ends with it.
    Success,
    /// The crank is abandoned, and the vat ends all the same. It wins over [`Exit::Success`].
    Failure,
}

/// What one crank has gathered; its vectors are reused from crank to crank.
#[derive(Default)]
pub(crate) struct Gathered {
    /// Encoded sends and spawns, in order.
    pub(crate) acts: Vec<u8>,
    /// Store writes, by key.
    pub(crate) writes: Writes,
    /// Bytes of the keys and values in `writes`.
    pub(crate) write_bytes: usize,
    /// Calls that leave something.
    pub(crate) calls: u32,
    /// Vats made.
    pub(crate) spawned: u64,
    /// Arguments on their way into `acts`.
    args: Vec<u8>,
}

impl Gathered {
    pub(crate) fn clear(&mut self) {
        self.acts.clear();
        self.writes.clear();
        self.write_bytes = 0;
        self.calls = 0;
        self.spawned = 0;
        self.args.clear();
    }
}

/// What all cranks of a kernel share: configuration, and the seed that the journal holds.
#[derive(Debug)]
pub struct Shared {
    /// The kinds that can be made.
    pub kinds: Kinds,
    /// Bounds for each crank.
    pub limits: Limits,
    /// The key of all randomness, fixed when the journal was made.
    pub seed: [u8; 32],
    /// Encode every state a second time from its decoded bytes, to catch a state that is not
    /// canonical (a `HashMap`, a skipped field). For debugging: it doubles the cost of a crank.
    pub check_canonical: bool,
}

/// The crank in the vat's hand.
///
/// It is used by shared reference, so that calls nest as they please, and it stays on its thread.
/// Sends and spawns cannot fail in the hand: one that is illegal *dooms* the crank, which is then
/// abandoned whatever the vat returns.
pub struct Crank<'a> {
    pub(crate) id: VatId,
    pub(crate) vat_number: VatNumber,
    pub(crate) number: CrankNumber,
    pub(crate) delivery: DeliveryId,
    pub(crate) now: Time,
    pub(crate) shared: &'a Shared,
    pub(crate) rows: &'a Rows,
    /// Vats that the vat made in earlier cranks.
    pub(crate) spawned_before: u64,
    pub(crate) gathered: RefCell<&'a mut Gathered>,
    pub(crate) doom: RefCell<Option<Rejection>>,
    pub(crate) doomed: Cell<bool>,
    pub(crate) exit: Cell<Option<Exit>>,
    random: RefCell<Option<blake3::OutputReader>>,
    stays_on_its_thread: PhantomData<*const ()>,
}

impl<'a> Crank<'a> {
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, which has these as fields"
    )]
    #[inline]
    pub(crate) const fn new(
        id: VatId,
        vat_number: VatNumber,
        number: CrankNumber,
        delivery: DeliveryId,
        now: Time,
        shared: &'a Shared,
        rows: &'a Rows,
        spawned_before: u64,
        gathered: &'a mut Gathered,
    ) -> Self {
        Self {
            id,
            vat_number,
            number,
            delivery,
            now,
            shared,
            rows,
            spawned_before,
            gathered: RefCell::new(gathered),
            doom: RefCell::new(None),
            doomed: Cell::new(false),
            exit: Cell::new(None),
            random: RefCell::new(None),
            stays_on_its_thread: PhantomData,
        }
    }

    /// The vat's own id.
    #[must_use]
    pub const fn me(&self) -> VatId {
        self.id
    }

    /// The number of this crank in its vat, from 1.
    #[must_use]
    pub const fn number(&self) -> CrankNumber {
        self.number
    }

    /// The identity of the delivery that this crank handles.
    #[must_use]
    pub const fn delivery(&self) -> DeliveryId {
        self.delivery
    }

    /// The time of this crank: that of the input that caused the delivery, and never before the
    /// vat's last `now`.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Eight random bytes as a number: a function of the journal's seed, the vat, the crank's
    /// number and how often it was called in this crank. Repeatable, so no secret.
    pub fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        self.random_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Random bytes, as [`random`](Self::random) gives them.
    pub fn random_bytes(&self, out: &mut [u8]) {
        let mut random = self.random.borrow_mut();
        random
            .get_or_insert_with(|| {
                let mut hasher = blake3::Hasher::new_keyed(&self.shared.seed);
                hasher.update(&self.id.to_bytes());
                hasher.update(&self.number.get().to_be_bytes());
                hasher.finalize_xof()
            })
            .fill(out);
    }

    /// Sends a message. It is delivered after this crank's record has its place in the order,
    /// behind every message that this vat sent to the same vat before.
    ///
    /// Illegal, and dooms the crank: a malformed method name, arguments that cannot be encoded or
    /// are larger than [`Limits::payload_bytes`], use after [`exit`](Self::exit).
    #[inline]
    pub fn send<T: Serialize + ?Sized>(&self, to: VatId, method: &str, args: &T) {
        if !is_name(method) {
            return self.doom(Cause::Illegal, "method_name", || {
                format!("{method:?} cannot name a method: 1 to 255 bytes, no control characters")
            });
        }
        let Some(gathered) = self.gather() else {
            return;
        };
        gathered.act_with_args(self, args, |acts| write_send_head(acts, to, method), |_| {});
    }

    /// Makes a vat of a kind that the host has registered. The id can be sent to at once; the
    /// vat's first crank is its `create` with these arguments, and messages wait behind it.
    ///
    /// Illegal, and dooms the crank: a kind that the host does not have, and what is illegal for
    /// [`send`](Self::send). The id that is returned then names nothing.
    pub fn spawn<T: Serialize + ?Sized>(&self, kind: &str, args: &T) -> VatId {
        let nothing = VatId::new(self.vat_number, u64::MAX);
        let Some(version) = self.shared.kinds.get(kind).map(|known| known.version()) else {
            self.doom(Cause::Illegal, "unknown_kind", || {
                format!("no kind {kind:?} is registered with this host")
            });
            return nothing;
        };
        let Some(gathered) = self.gather() else {
            return nothing;
        };
        let counter = self.spawned_before + gathered.gathered.spawned + 1;
        gathered.act_with_args(
            self,
            args,
            |acts| {
                write_spawn_head(acts, counter, kind, version);
            },
            |gathered| {
                put_bytes(&mut gathered.acts, b"");
                // Not before the act stands: a Serialize that panics may be caught by the vat.
                gathered.spawned += 1;
            },
        );
        VatId::new(self.vat_number, counter)
    }

    /// Ends the vat with this crank. Nothing may be done with the crank afterwards; what was sent
    /// in committed cranks is delivered all the same.
    pub fn exit(&self, exit: Exit) {
        if exit == Exit::Failure || self.exit.get().is_none() {
            self.exit.set(Some(exit));
        }
    }

    /// The value of a row of the vat's store, with this crank's own writes.
    ///
    /// Illegal, and dooms the crank: use after [`exit`](Self::exit).
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let gathered = self.look()?;
        store::get(self.rows, &gathered.writes, key).map(<[u8]>::to_vec)
    }

    /// Writes a row of the vat's store.
    ///
    /// Illegal, and dooms the crank: an empty key, a key or value above [`Limits`], use after
    /// [`exit`](Self::exit).
    pub fn set(&self, key: &[u8], value: &[u8]) {
        if value.len() > self.shared.limits.value_bytes {
            return self.doom(Cause::Illegal, "value", || {
                let limit = self.shared.limits.value_bytes;
                format!(
                    "a value of {} bytes is above the limit of {limit} bytes",
                    value.len()
                )
            });
        }
        self.write(key, Some(value));
    }

    /// Removes a row of the vat's store; a row that is not there is no error.
    ///
    /// Illegal, and dooms the crank: what is illegal for [`set`](Self::set).
    pub fn delete(&self, key: &[u8]) {
        self.write(key, None);
    }

    /// Walks the rows of the vat's store whose keys lie in the range, in the order of their keys
    /// or, with [`Cursor::rev`], against it.
    ///
    /// The crank may be used freely during the walk: rows that it writes ahead of the cursor are
    /// seen, rows behind it are not.
    ///
    /// ```
    /// # use crankcase_vat::{Crank, VatId};
    /// fn pay_all(cx: &Crank<'_>, to: VatId) {
    ///     for (_key, value) in cx.range::<&[u8], _>(&b"due/"[..]..&b"due0"[..]) {
    ///         cx.send(to, "pay", &value);
    ///     }
    /// }
    /// ```
    pub fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, range: R) -> Cursor<'_, 'a> {
        let own = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        Cursor {
            crank: self,
            low: own(range.start_bound()),
            high: own(range.end_bound()),
            forward: true,
        }
    }

    /// Walks the rows whose keys begin with `prefix`.
    pub fn prefix(&self, prefix: &[u8]) -> Cursor<'_, 'a> {
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
        Cursor {
            crank: self,
            low: Bound::Included(prefix.to_vec()),
            high,
            forward: true,
        }
    }

    fn write(&self, key: &[u8], value: Option<&[u8]>) {
        let limit = self.shared.limits.key_bytes.min(Limits::MAX_KEY_BYTES);
        if key.is_empty() || key.len() > limit {
            return self.doom(Cause::Illegal, "key", || {
                format!("a key of {} bytes: a key has 1 to {limit} bytes", key.len())
            });
        }
        let Some(mut gathered) = self.gather() else {
            return;
        };
        let gathered = &mut **gathered.gathered;
        gathered.calls += 1;
        gathered.write_bytes += key.len() + value.map_or(0, <[u8]>::len) + 16;
        if let Some(slot) = gathered.writes.get_mut(key) {
            *slot = value.map(Into::into);
        } else {
            gathered.writes.insert(key.into(), value.map(Into::into));
        }
        self.check_limits(gathered);
    }

    /// Whether the crank may still act; acting after `exit` dooms it.
    #[inline]
    fn may_act(&self) -> bool {
        if self.exit.get().is_some() {
            self.doom(Cause::Illegal, "after_exit", || {
                "the crank was used after exit, which must be the last call".to_owned()
            });
            return false;
        }
        !self.doomed.get()
    }

    /// The buffers, if the crank may act.
    #[inline]
    fn gather(&self) -> Option<Gathering<'_, 'a>> {
        if !self.may_act() {
            return None;
        }
        match self.gathered.try_borrow_mut() {
            Ok(gathered) => Some(Gathering { gathered }),
            Err(_) => {
                self.doom_nested_call();
                None
            }
        }
    }

    /// The buffers to be read, if the crank may act.
    fn look(&self) -> Option<std::cell::Ref<'_, &'a mut Gathered>> {
        if !self.may_act() {
            return None;
        }
        let gathered = self.gathered.try_borrow().ok();
        if gathered.is_none() {
            self.doom_nested_call();
        }
        gathered
    }

    #[cold]
    fn doom_nested_call(&self) {
        self.doom(Cause::Illegal, "nested_call", || {
            "the crank was used from within the Serialize of an argument".to_owned()
        });
    }

    /// Dooms the crank; the first reason stays.
    #[cold]
    pub(crate) fn doom(&self, cause: Cause, code: &str, message: impl FnOnce() -> String) {
        if !self.doomed.replace(true) {
            *self.doom.borrow_mut() = Some(Rejection::with_cause(cause, code, message()));
        }
    }

    #[inline]
    fn check_limits(&self, gathered: &Gathered) {
        let limits = &self.shared.limits;
        if gathered.calls > limits.calls {
            self.doom(Cause::Limit, "calls", || {
                format!("one crank may make {} calls", limits.calls)
            });
        }
        if gathered.acts.len() + gathered.write_bytes
            > limits.output_bytes.min(Limits::MAX_OUTPUT_BYTES)
        {
            self.doom(Cause::Limit, "output_bytes", || {
                format!("one crank may send and write {} bytes", limits.output_bytes)
            });
        }
    }
}

impl fmt::Debug for Crank<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crank")
            .field("vat", &self.id)
            .field("number", &self.number)
            .field("delivery", &self.delivery)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

struct Gathering<'b, 'a> {
    gathered: std::cell::RefMut<'b, &'a mut Gathered>,
}

impl Gathering<'_, '_> {
    /// Appends one act with encoded arguments: `head`, the arguments with their length, `tail`.
    #[inline]
    fn act_with_args<T: Serialize + ?Sized>(
        mut self,
        crank: &Crank<'_>,
        args: &T,
        head: impl FnOnce(&mut Vec<u8>),
        tail: impl FnOnce(&mut Gathered),
    ) {
        let gathered = &mut **self.gathered;
        gathered.args.clear();
        if let Err(error) = encode_into(args, &mut gathered.args) {
            return crank.doom(Cause::Illegal, "arguments", || error.to_string());
        }
        let limit = crank.shared.limits.payload_bytes;
        if gathered.args.len() > limit {
            let len = gathered.args.len();
            return crank.doom(Cause::Illegal, "arguments", || {
                format!("arguments of {len} bytes are above the limit of {limit} bytes")
            });
        }
        gathered.calls += 1;
        head(&mut gathered.acts);
        put_bytes(&mut gathered.acts, &gathered.args);
        tail(gathered);
        crank.check_limits(gathered);
    }
}

/// A walk over the rows of a store; see [`Crank::range`].
pub struct Cursor<'c, 'a> {
    crank: &'c Crank<'a>,
    low: Bound<Vec<u8>>,
    high: Bound<Vec<u8>>,
    forward: bool,
}

impl Cursor<'_, '_> {
    /// Turns the walk around: what is left of it comes from its other end.
    #[must_use]
    pub fn rev(mut self) -> Self {
        self.forward = !self.forward;
        self
    }
}

impl Iterator for Cursor<'_, '_> {
    type Item = (Vec<u8>, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        let gathered = self.crank.look()?;
        let bounds = (
            self.low.as_ref().map(|key| &key[..]),
            self.high.as_ref().map(|key| &key[..]),
        );
        let (key, value) = store::edge(self.crank.rows, &gathered.writes, bounds, self.forward)?;
        let row = (key.to_vec(), value.to_vec());
        let passed = Bound::Excluded(row.0.clone());
        if self.forward {
            self.low = passed;
        } else {
            self.high = passed;
        }
        Some(row)
    }
}

impl fmt::Debug for Cursor<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("low", &self.low)
            .field("high", &self.high)
            .finish()
    }
}
