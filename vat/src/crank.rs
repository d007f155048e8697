//! The crank in the vat's hand: everything a vat can do to the world while it handles a delivery.
//!
//! All of it goes into buffers of this crank and nowhere else. The buffers become the record when
//! the crank commits, and are dropped when it does not.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use rustc_hash::FxHashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::{Body, Resolution};
use crate::codec::{put_bytes, put_length, put_varint};
use crate::cursor::{Cursor, HoldingCursor};
use crate::held::Held;
use crate::ids::{CrankNumber, DeliveryId, ObjectId, PromiseId, Time, VatId, VatNumber};
use crate::limits::{Limits, is_name};
use crate::live::Progress;
use crate::mutants::mutant;
use crate::payload::{Payload, PayloadError, decode, encode_into};
use crate::record::Act;
use crate::record::act::{KEPT, write_send_head, write_spawn_head, write_watch_head};
use crate::reference::{
    Promise, Ref, Reference, Slot, Target, each_reference, put_slots, settled_bytes,
};
use crate::rejection::{Cause, Rejection};
use crate::rooms;
use crate::store::{self, Committed, Unread, Writes};
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
    /// Encoded sends, spawns, promises and watches, in order.
    pub(crate) acts: Vec<u8>,
    /// Store writes, by key.
    pub(crate) writes: Writes,
    /// Bytes of the keys and values in `writes`.
    pub(crate) write_bytes: usize,
    /// Calls that leave something.
    pub(crate) calls: u32,
    /// Vats made.
    pub(crate) spawned: u64,
    /// Objects made.
    pub(crate) objects: u64,
    /// Where in `acts` the first byte stands of each act that made a promise.
    pub(crate) promises: Vec<usize>,
    /// Promises made for the vat itself to decide, by counter.
    pub(crate) to_decide: Vec<u64>,
    /// Promises that the vat decided, by counter, with the encoded resolutions.
    pub(crate) decided: Vec<(u64, Vec<u8>)>,
    /// Where in `decided` each stands.
    decided_at: FxHashMap<u64, usize>,
    /// Bytes of the resolutions in `decided`.
    resolution_bytes: usize,
    /// References that the crank read from the store or from an object.
    pub(crate) read: Held,
    /// How much more or less often rows of the store hold references.
    pub(crate) row_changes: Vec<(Reference, i64)>,
    /// Promises that stand for themselves in rows and in the state, and did not there before.
    pub(crate) fresh: Vec<PromiseId>,
    /// Own objects that were given away.
    pub(crate) given_away: Vec<u64>,
    /// Arguments on their way into `acts`.
    args: Vec<u8>,
    slots: Vec<Slot>,
    /// The encoded references of what is on its way, or the key of a row that is looked up.
    scratch: Vec<u8>,
}

impl Gathered {
    pub(crate) fn clear(&mut self) {
        self.acts.clear();
        if !self.writes.is_empty() {
            self.writes.clear();
        }
        self.write_bytes = 0;
        self.calls = 0;
        self.spawned = 0;
        self.objects = 0;
        self.promises.clear();
        self.to_decide.clear();
        self.decided.clear();
        self.resolution_bytes = 0;
        if !self.decided_at.is_empty() {
            self.decided_at.clear();
        }
        self.read.clear();
        self.row_changes.clear();
        self.fresh.clear();
        self.given_away.clear();
        self.args.clear();
        self.slots.clear();
    }

    /// Marks that someone keeps the promise that the act of that number made.
    fn keep(&mut self, index: usize) {
        self.acts[self.promises[index]] |= KEPT;
    }

    pub(crate) fn is_kept(&self, index: usize) -> bool {
        self.acts[self.promises[index]] & KEPT != 0
    }

    /// A row as it is after what was written here, over what was committed.
    pub(crate) fn row(
        &self,
        store: Committed<'_>,
        vat: VatId,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, Unread> {
        match store::find(&self.writes, key) {
            Some(written) => Ok(written.as_deref().map(<[u8]>::to_vec)),
            None => store.get(vat, key),
        }
    }

    /// Writes or removes a row whose value holds references, and notes what that changes.
    pub(crate) fn write_holding(
        &mut self,
        store: Committed<'_>,
        vat: VatId,
        key: &[u8],
        value: Option<Vec<u8>>,
    ) -> Result<(), Unread> {
        let old = self.row(store, vat, key)?;
        self.replace_holding(key, old.as_deref(), value.as_deref());
        Ok(())
    }

    /// The same where it is known what the row has now.
    pub(crate) fn replace_holding(&mut self, key: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
        let mut promises = [Vec::new(), Vec::new()];
        for (at, (value, change)) in [(old, -1), (new, 1)].into_iter().enumerate() {
            let Some(body) = value.and_then(|value| Body::read(value).ok()) else {
                continue;
            };
            // Only bodies are written here, and what is read back is what was written.
            let _ = body.each_reference(&mut |reference| {
                self.row_changes.push((reference, change));
            });
            promises[at].extend(body.slots().filter_map(|slot| match slot {
                Ok(Slot::Promise(promise)) => Some(promise),
                _ => None,
            }));
        }
        let [mut before, after] = promises;
        before.sort_unstable();
        for promise in &before {
            self.write(&rooms::holder(*promise, key), None);
        }
        for promise in &after {
            self.write(&rooms::holder(*promise, key), Some(&[]));
        }
        let fresh = after
            .into_iter()
            .filter(|new| before.binary_search(new).is_err());
        self.fresh.extend(fresh);
        self.write(key, new);
    }

    pub(crate) fn write(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.write_bytes += key.len() + value.map_or(0, <[u8]>::len) + 16;
        if let Some(slot) = self.writes.get_mut(key) {
            *slot = value.map(Into::into);
        } else {
            self.writes.insert(key.into(), value.map(Into::into));
        }
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
    pub(crate) store: Committed<'a>,
    /// What the vat made in earlier cranks.
    pub(crate) before: &'a Progress,
    /// The references of the vat's state.
    pub(crate) held: &'a Held,
    /// The references that came with the delivery.
    pub(crate) came: &'a Held,
    /// The number of the object that handles the delivery.
    pub(crate) object: u64,
    /// Promises of earlier cranks that the vat is to decide, by counter.
    pub(crate) to_decide: &'a BTreeSet<u64>,
    pub(crate) gathered: RefCell<&'a mut Gathered>,
    pub(crate) doom: RefCell<Option<Rejection>>,
    pub(crate) doomed: Cell<bool>,
    pub(crate) exit: Cell<Option<Exit>>,
    /// Whether the vat says that its state is as it was.
    pub(crate) state_left: Cell<bool>,
    pub(crate) random: RefCell<Option<blake3::OutputReader>>,
    pub(crate) stays_on_its_thread: PhantomData<*const ()>,
}

impl<'a> Crank<'a> {
    /// The vat's own id.
    #[must_use]
    pub const fn id(&self) -> VatId {
        self.id
    }

    /// A reference to the vat's root.
    #[must_use]
    pub fn me(&self) -> Ref {
        Ref::to(self.id)
    }

    /// A reference to the object that handles this delivery: the vat's root, or one that it
    /// [made](Self::object).
    #[must_use]
    pub fn this(&self) -> Ref {
        Ref::to(ObjectId::new(self.id, self.object))
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
                if mutant("random-differs-from-run-to-run") {
                    hasher.update(format!("{:?}", std::thread::current().id()).as_bytes());
                }
                hasher.finalize_xof()
            })
            .fill(out);
    }

    /// Sends a message to an object or a promise, and gives the promise of its outcome. It is
    /// delivered after this crank's record has its place in the order, behind every message that
    /// this vat sent through the same reference before. A message to a promise waits in it until
    /// it comes to an object, and takes its place then; when it comes to something else, the
    /// message is rejected.
    ///
    /// The promise that nobody keeps costs nothing: it is there only if it is sent to, watched,
    /// passed on, stored or answered with in this crank.
    ///
    /// Illegal, and dooms the crank: a receiver or a reference in the arguments that the vat does
    /// not have ([`Ref`]); a malformed method name; arguments that cannot be encoded or are larger
    /// than [`Limits::payload_bytes`]; use after [`exit`](Self::exit).
    #[inline]
    pub fn send<T: Serialize + ?Sized>(
        &self,
        to: impl Into<Target>,
        method: &str,
        args: &T,
    ) -> Promise {
        let Target(to) = to.into();
        if !self.check_name("method_name", method) {
            return self.no_promise();
        }
        let Some(mut gathered) = self.gather() else {
            return self.no_promise();
        };
        let given_away = gathered.gathered.given_away.len();
        if !gathered.encode(self, args) || !gathered.check(self, &to, false) {
            return self.no_promise();
        }
        if let Slot::Settled(resolution) = &to {
            // Nothing is sent, so nothing was given away.
            gathered.gathered.given_away.truncate(given_away);
            let why = match Resolution::read(resolution) {
                Ok(Resolution::Rejected(why)) => why,
                _ => not_callable(),
            };
            drop(gathered);
            return self.rejected(why);
        }
        let at = gathered.gathered.acts.len();
        write_send_head(&mut gathered.gathered.acts, &to, method);
        gathered.finish_act(self);
        self.promised(&mut gathered, at)
    }

    /// Makes a vat of a kind that the host has registered. It can be sent to at once; the vat's
    /// first crank is its `create` with these arguments, and messages wait behind it.
    ///
    /// Illegal, and dooms the crank: a kind that the host does not have, and what is illegal for
    /// [`send`](Self::send). The reference that is returned then leads nowhere.
    pub fn spawn<T: Serialize + ?Sized>(&self, kind: &str, args: &T) -> Ref {
        let newest = self.shared.kinds.get(kind).map(|known| known.version());
        self.spawn_version(kind, newest.unwrap_or(0), args)
    }

    /// As [`spawn`](Self::spawn), which takes the newest version that the host has registered; this
    /// takes that one.
    pub fn spawn_version<T: Serialize + ?Sized>(&self, kind: &str, version: u32, args: &T) -> Ref {
        let nothing = Ref::to(VatId::new(self.vat_number, u64::MAX));
        if self.shared.kinds.get_version(kind, version).is_none() {
            self.doom(Cause::Illegal, "unknown_kind", || {
                format!("no kind {kind:?} (version {version}) is registered with this host")
            });
            return nothing;
        }
        let Some(mut gathered) = self.gather() else {
            return nothing;
        };
        if !gathered.encode(self, args) {
            return nothing;
        }
        // Not before the arguments stand: a Serialize that panics may be caught by the vat.
        gathered.gathered.spawned += 1;
        let counter = self.before.spawned + gathered.gathered.spawned;
        write_spawn_head(&mut gathered.gathered.acts, counter, kind, version);
        gathered.finish_act(self);
        put_bytes(&mut gathered.gathered.acts, b"");
        Ref::to(VatId::new(self.vat_number, counter))
    }

    /// Makes a promise that this vat, and nobody else, decides: with [`fulfil`](Self::fulfil) or
    /// [`reject`](Self::reject), in this crank or in a later one. To decide it later the vat must
    /// keep it, or get it back. When the vat ends undecided, the promise is rejected.
    ///
    /// Illegal, and dooms the crank: use after [`exit`](Self::exit).
    pub fn promise(&self) -> Promise {
        let Some(mut gathered) = self.gather() else {
            return self.no_promise();
        };
        let at = gathered.gathered.acts.len();
        Act::Promise { kept: false }.write(&mut gathered.gathered.acts);
        gathered.count_call(self);
        let promise = self.promised(&mut gathered, at);
        if let Some(id) = promise.id() {
            gathered.gathered.to_decide.push(id.counter);
        }
        promise
    }

    /// Fulfils a promise that this vat made. A value that is just a reference resolves it to that:
    /// to an object, to which the messages go that wait in it; or to another promise, which it
    /// follows from now on. A promise that would follow itself is rejected
    /// ([`Cause::Cycle`]).
    ///
    /// Illegal, and dooms the crank: a promise that this vat did not make or has decided already,
    /// and what is illegal for [`send`](Self::send).
    pub fn fulfil<T: Serialize + ?Sized>(&self, promise: &Promise, value: &T) {
        let Some(mut gathered) = self.gather() else {
            return;
        };
        // What stands in it is given away if the promise turns out to be kept.
        if !gathered.encode_with(self, value, |limits| limits.payload_bytes, false) {
            return;
        }
        let mut resolution = Vec::new();
        let parts = &gathered.gathered;
        put_resolution(&mut resolution, &parts.slots, &parts.args);
        self.decide(&mut gathered, promise, resolution);
    }

    /// Fulfils a promise that this vat made with a value that is encoded already.
    pub(crate) fn fulfil_encoded(&self, promise: &Promise, value: &Payload) {
        let Some(mut gathered) = self.gather() else {
            return;
        };
        if !self.check_slots(value.slots(), &mut gathered.gathered, false) {
            return;
        }
        let mut resolution = Vec::new();
        put_resolution(&mut resolution, value.slots(), value.bytes());
        self.decide(&mut gathered, promise, resolution);
    }

    /// Has a doomed crank be as if it had just begun; gives why it was doomed. Not for what a vat
    /// did: that stays doomed.
    pub(crate) fn begin_again(&self) -> Rejection {
        self.gathered.borrow_mut().clear();
        self.doomed.set(false);
        let why = self.doom.borrow_mut().take();
        why.unwrap_or_else(|| Rejection::new("doomed", "the crank was doomed"))
    }

    /// Rejects a promise that this vat made.
    ///
    /// Illegal, and dooms the crank: what is illegal for [`fulfil`](Self::fulfil).
    pub fn reject(&self, promise: &Promise, why: Rejection) {
        if let Some(mut gathered) = self.gather() {
            let resolution = Resolution::Rejected(why).to_bytes();
            self.decide(&mut gathered, promise, resolution);
        }
    }

    /// A promise that is fulfilled with a value.
    ///
    /// Illegal, and dooms the crank: what is illegal for [`send`](Self::send).
    pub fn resolved<T: Serialize + ?Sized>(&self, value: &T) -> Promise {
        let promise = self.promise();
        self.fulfil(&promise, value);
        promise
    }

    /// A promise that is rejected. A crank that answers with one keeps its effects and still tells
    /// whoever asked that the answer is no; a crank that returns `Err` keeps nothing.
    ///
    /// ```
    /// # use crankcase_vat::{Answer, Crank, Rejection};
    /// fn declined(cx: &Crank<'_>) -> Answer {
    ///     cx.set(b"declined", b"1"); // kept
    ///     Ok(cx.rejected(Rejection::new("declined", "not today")).into())
    /// }
    /// ```
    pub fn rejected(&self, why: Rejection) -> Promise {
        let promise = self.promise();
        self.reject(&promise, why);
        promise
    }

    /// Watches a promise: once it comes to its end, the vat's
    /// [`notified`](crate::Vat::notified) is called with this method and context, in a crank of its
    /// own, whatever happened to the vat, the kernel or the machine in between. What that returns
    /// is what the promise comes to that is given here; when the vat ends before, that promise is
    /// rejected. So nothing that was watched ends unseen.
    ///
    /// Illegal, and dooms the crank: a promise that the vat does not have, and what is illegal for
    /// [`send`](Self::send).
    pub fn watch<T: Serialize + ?Sized>(
        &self,
        promise: impl Into<Target>,
        method: &str,
        context: &T,
    ) -> Promise {
        if !self.check_name("method_name", method) {
            return self.no_promise();
        }
        self.watch_reserved(promise, method, context)
    }

    /// As [`watch`](Self::watch), under a name that a vat cannot give.
    pub(crate) fn watch_reserved<T: Serialize + ?Sized>(
        &self,
        promise: impl Into<Target>,
        method: &str,
        context: &T,
    ) -> Promise {
        let Target(on) = promise.into();
        let Some(mut gathered) = self.gather() else {
            return self.no_promise();
        };
        if !gathered.encode(self, context) || !gathered.check(self, &on, true) {
            return self.no_promise();
        }
        let at = gathered.gathered.acts.len();
        write_watch_head(&mut gathered.gathered.acts, &on, self.object, method);
        gathered.finish_act(self);
        self.promised(&mut gathered, at)
    }

    /// Makes an object in this vat, beside its root, with a state of its own. Messages for it come
    /// to [`receive_at`](crate::Vat::receive_at). A reference to it is a capability of its own:
    /// what it does not offer, its holder cannot do. When nobody outside holds it any more the vat
    /// is [told](crate::Vat::dropped), and by default it is removed.
    ///
    /// Illegal, and dooms the crank: what is illegal for [`send`](Self::send).
    pub fn object<T: Serialize + ?Sized>(&self, kind: &str, state: &T) -> Ref {
        let nothing = Ref::to(ObjectId::new(self.id, u64::MAX));
        if !self.check_name("object_kind", kind) {
            return nothing;
        }
        let Some(mut gathered) = self.gather() else {
            return nothing;
        };
        let number = self.before.objects + gathered.gathered.objects + 1;
        if !gathered.put_object(self, number, kind, state) {
            return nothing;
        }
        gathered.gathered.objects += 1;
        Ref::to(ObjectId::new(self.id, number))
    }

    /// Changes the state of an object of this vat.
    ///
    /// Illegal, and dooms the crank: an object that is not there, and what is illegal for
    /// [`send`](Self::send).
    pub fn set_object<T: Serialize + ?Sized>(&self, number: u64, state: &T) {
        let Some(object) = self.read_object(number) else {
            return self.doom(Cause::Illegal, "no_such_object", || {
                format!("this vat has no object {number}")
            });
        };
        if let Some(mut gathered) = self.gather() {
            gathered.put_object(self, number, object.kind(), state);
        }
    }

    /// An object of this vat as it is now.
    ///
    /// Illegal, and dooms the crank: use after [`exit`](Self::exit).
    pub fn read_object(&self, number: u64) -> Option<crate::Object> {
        let key = rooms::object(number);
        let mut gathered = self.gather()?;
        let value = self.known(gathered.gathered.row(self.store, self.id, &key))??;
        let object = object_in(number, &value);
        let object = object.and_then(|(object, slots)| {
            gathered.gathered.read.add(&slots).ok()?;
            Some(object)
        });
        if object.is_none() {
            self.doom(Cause::State, "object", || {
                format!("the state of object {number} cannot be read")
            });
        }
        object
    }

    /// Removes an object of this vat. Messages for it are rejected from now on
    /// ([`Cause::NoSuchObject`]). One that is not there is no error.
    ///
    /// Illegal, and dooms the crank: use after [`exit`](Self::exit).
    pub fn remove_object(&self, number: u64) {
        if let Some(mut gathered) = self.gather() {
            let parts = &mut **gathered.gathered;
            // A number that was never given leaves no row, not even a removed one: by their rows it
            // is known after a restart which numbers were.
            if number <= self.before.objects + parts.objects {
                self.known(parts.write_holding(self.store, self.id, &rooms::object(number), None));
            }
            gathered.count_call(self);
        }
    }

    /// Whether the state of this vat, as it was before this crank, holds one of its own objects.
    #[must_use]
    pub fn keeps_object(&self, number: u64) -> bool {
        let object = ObjectId::new(self.id, number);
        self.held.contains(&Reference::Object(object))
    }

    /// Says that this crank leaves the vat's state as it was, which then is not encoded to find that
    /// out. A state that was changed all the same is another after a restart than before it; in
    /// programs with debug assertions and with [`Shared::check_canonical`] such a crank is abandoned.
    #[inline]
    pub fn leave_state(&self) {
        self.state_left.set(true);
    }

    /// Ends the vat with this crank. Nothing may be done with the crank afterwards; what was sent
    /// in committed cranks is delivered all the same.
    pub fn exit(&self, exit: Exit) {
        let wins = exit == Exit::Failure && !mutant("first-exit-wins");
        if wins || self.exit.get().is_none() {
            self.exit.set(Some(exit));
        }
    }

    /// The value of a row of the vat's store, with this crank's own writes.
    ///
    /// Illegal, and dooms the crank: use after [`exit`](Self::exit).
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get_row(rooms::PLAIN, key)
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
    /// # use crankcase_vat::{Crank, Ref};
    /// fn pay_all(cx: &Crank<'_>, to: Ref) {
    ///     for (_key, value) in cx.range::<&[u8], _>(&b"due/"[..]..&b"due0"[..]) {
    ///         cx.send(to, "pay", &value);
    ///     }
    /// }
    /// ```
    pub fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, range: R) -> Cursor<'_, 'a> {
        self.walk(rooms::PLAIN, range)
    }

    /// Walks the rows whose keys begin with `prefix`.
    pub fn prefix(&self, prefix: &[u8]) -> Cursor<'_, 'a> {
        self.walk_prefix(rooms::PLAIN, prefix)
    }

    /// Writes a row whose value is encoded and may hold references. Such rows are apart from those
    /// of [`set`](Self::set): the same key names another row there. Writing one reads the row that
    /// was there, to know what is let go of.
    ///
    /// Illegal, and dooms the crank: a reference that the vat does not have, and what is illegal
    /// for [`set`](Self::set).
    pub fn set_holding<T: Serialize + ?Sized>(&self, key: &[u8], value: &T) {
        if self.check_key(key) {
            self.set_in(rooms::WITH_REFS, key, value);
        }
    }

    /// The value of a row that [`set_holding`](Self::set_holding) wrote, with this crank's own
    /// writes. The references in it may be used in this crank.
    ///
    /// Illegal, and dooms the crank: use after [`exit`](Self::exit).
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] when it is no `T`.
    pub fn get_holding<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, PayloadError> {
        self.get_in(rooms::WITH_REFS, key)
    }

    /// Removes a row that [`set_holding`](Self::set_holding) wrote; one that is not there is no
    /// error.
    ///
    /// Illegal, and dooms the crank: what is illegal for [`delete`](Self::delete).
    pub fn delete_holding(&self, key: &[u8]) {
        if self.check_key(key) {
            self.delete_in(rooms::WITH_REFS, key);
        }
    }

    pub(crate) fn set_combined<T: Serialize + ?Sized>(&self, key: &[u8], value: &T) {
        self.set_in(rooms::COMBINED, key, value);
    }

    pub(crate) fn get_combined<T: DeserializeOwned>(
        &self,
        key: &[u8],
    ) -> Result<Option<T>, PayloadError> {
        self.get_in(rooms::COMBINED, key)
    }

    /// Removes such a row, beside all limits: as many rows as a crank could make are removed, and one
    /// that could not remove them could not decide what they are for.
    pub(crate) fn forget_combined(&self, key: &[u8]) {
        if let Some(mut gathered) = self.gather() {
            let key = rooms::in_room(rooms::COMBINED, key);
            let parts = &mut **gathered.gathered;
            self.known(parts.write_holding(self.store, self.id, &key, None));
        }
    }

    fn set_in<T: Serialize + ?Sized>(&self, room: u8, key: &[u8], value: &T) {
        let Some(mut gathered) = self.gather() else {
            return;
        };
        if !gathered.encode_with(self, value, |limits| limits.value_bytes, false) {
            return;
        }
        let parts = &mut **gathered.gathered;
        let mut body = Vec::with_capacity(parts.args.len() + 1);
        Body::put(&mut body, &parts.slots, &parts.args);
        let key = rooms::in_room(room, key);
        self.known(parts.write_holding(self.store, self.id, &key, Some(body)));
        gathered.count_call(self);
    }

    fn get_in<T: DeserializeOwned>(&self, room: u8, key: &[u8]) -> Result<Option<T>, PayloadError> {
        let Some(mut gathered) = self.gather() else {
            return Ok(None);
        };
        let mut full = std::mem::take(&mut gathered.gathered.scratch);
        full.clear();
        full.push(room);
        full.extend_from_slice(key);
        // A row that is in memory and was not written in this crank is read where it stands.
        let in_place = match store::find(&gathered.gathered.writes, &full) {
            Some(_) => None,
            None => self.store.in_memory(&full),
        };
        let value = match in_place {
            Some(row) => row.map(|row| gathered.decode(row)),
            None => {
                let row = self.known(gathered.gathered.row(self.store, self.id, &full));
                row.flatten().map(|row| gathered.decode(&row))
            }
        };
        gathered.gathered.scratch = full;
        value.transpose()
    }

    /// The bytes of a row of a room.
    pub(crate) fn get_row(&self, room: u8, key: &[u8]) -> Option<Vec<u8>> {
        let gathered = self.look()?;
        self.known(gathered.row(self.store, self.id, &rooms::in_room(room, key)))?
    }

    /// The value of a row that holds references, which may then be used.
    pub(crate) fn decode_row<T: DeserializeOwned>(&self, row: &[u8]) -> Result<T, PayloadError> {
        match self.gather() {
            Some(mut gathered) => gathered.decode(row),
            None => Err(PayloadError::Decode {
                len: row.len(),
                type_name: std::any::type_name::<T>(),
                why: "the crank is doomed".to_owned(),
            }),
        }
    }

    fn delete_in(&self, room: u8, key: &[u8]) {
        if let Some(mut gathered) = self.gather() {
            let key = rooms::in_room(room, key);
            let parts = &mut **gathered.gathered;
            self.known(parts.write_holding(self.store, self.id, &key, None));
            gathered.count_call(self);
        }
    }

    /// Walks the rows that [`set_holding`](Self::set_holding) wrote, as [`range`](Self::range) does
    /// with the others.
    pub fn range_holding<T: DeserializeOwned, K: AsRef<[u8]>, R: RangeBounds<K>>(
        &self,
        range: R,
    ) -> HoldingCursor<'_, 'a, T> {
        HoldingCursor::new(self.walk(rooms::WITH_REFS, range))
    }

    pub(crate) fn walk<K: AsRef<[u8]>, R: RangeBounds<K>>(
        &self,
        room: u8,
        range: R,
    ) -> Cursor<'_, 'a> {
        let own = |bound: Bound<&K>| bound.map(|key| rooms::in_room(room, key.as_ref()));
        let low = match own(range.start_bound()) {
            Bound::Unbounded => Bound::Included(vec![room]),
            bound => bound,
        };
        let high = match own(range.end_bound()) {
            Bound::Unbounded => Bound::Excluded(vec![room + 1]),
            bound => bound,
        };
        Cursor::new(self, low, high)
    }

    pub(crate) fn walk_prefix(&self, room: u8, prefix: &[u8]) -> Cursor<'_, 'a> {
        let (low, high) = store::prefix_bounds(&rooms::in_room(room, prefix));
        Cursor::new(self, low, high)
    }

    fn check_key(&self, key: &[u8]) -> bool {
        let limit = self.shared.limits.key_bytes.min(Limits::MAX_KEY_BYTES);
        let good = !key.is_empty() && key.len() <= limit;
        if !good {
            self.doom(Cause::Illegal, "key", || {
                format!("a key of {} bytes: a key has 1 to {limit} bytes", key.len())
            });
        }
        good
    }

    fn check_name(&self, code: &str, name: &str) -> bool {
        let good = is_name(name);
        if !good {
            self.doom(Cause::Illegal, code, || {
                format!("{name:?} is no name: 1 to 255 bytes, no control characters")
            });
        }
        good
    }

    fn write(&self, key: &[u8], value: Option<&[u8]>) {
        if !self.check_key(key) {
            return;
        }
        let Some(mut gathered) = self.gather() else {
            return;
        };
        gathered
            .gathered
            .write(&rooms::in_room(rooms::PLAIN, key), value);
        gathered.count_call(self);
    }

    /// The promise that the act at `at` makes.
    #[inline]
    fn promised(&self, gathered: &mut Gathering<'_, 'a>, at: usize) -> Promise {
        gathered.gathered.promises.push(at);
        let counter = self.before.promised + gathered.gathered.promises.len() as u64;
        Promise::pending(PromiseId::new(self.vat_number, counter))
    }

    /// What stands for a promise in a doomed crank.
    #[cold]
    fn no_promise(&self) -> Promise {
        Promise::pending(PromiseId::new(self.vat_number, u64::MAX))
    }

    /// The position among the promises that this crank made.
    #[inline]
    pub(crate) fn made_here(&self, promise: PromiseId, gathered: &Gathered) -> Option<usize> {
        let index = promise.counter.checked_sub(self.before.promised + 1)?;
        let index = usize::try_from(index).ok()?;
        (promise.maker == self.vat_number && index < gathered.promises.len()).then_some(index)
    }

    fn decide(&self, gathered: &mut Gathering<'_, 'a>, promise: &Promise, resolution: Vec<u8>) {
        let parts = &mut **gathered.gathered;
        let id = promise.id().filter(|id| id.maker == self.vat_number);
        let mine = id.filter(|id| {
            let known = self.made_here(*id, parts).is_some()
                || self.may_use(&Reference::Promise(*id), parts);
            // Those of this crank were made in the order of their numbers.
            let of_this_crank = || parts.to_decide.binary_search(&id.counter).is_ok();
            known
                && (self.to_decide.contains(&id.counter) || of_this_crank())
                && !parts.decided_at.contains_key(&id.counter)
        });
        let Some(id) = mine else {
            return self.doom(Cause::Illegal, "not_decider", || {
                format!("{promise:?} is not this vat's to decide, or was decided before")
            });
        };
        parts.resolution_bytes += resolution.len();
        parts.decided_at.insert(id.counter, parts.decided.len());
        parts.decided.push((id.counter, resolution));
        gathered.count_call(self);
    }

    /// Whether the vat has a reference to something that it did not make in this crank.
    #[inline(always)]
    fn may_use(&self, reference: &Reference, gathered: &Gathered) -> bool {
        mutant("any-reference-is-good")
            || self.held.contains(reference)
            || self.came.contains(reference)
            || gathered.read.contains(reference)
    }

    /// Checks that the vat has what it uses, and marks promises of this crank as kept.
    #[inline(always)]
    fn check_reference(&self, reference: Reference, gathered: &mut Gathered, away: bool) -> bool {
        match reference {
            Reference::Object(object) => {
                let vat = object.vat;
                if vat == self.id {
                    if away && !object.is_root() {
                        gathered.given_away.push(object.number);
                    }
                    return object.number <= self.before.objects + gathered.objects;
                }
                let made_here = object.is_root()
                    && vat.creator == self.vat_number
                    && vat.counter > self.before.spawned
                    && vat.counter - self.before.spawned <= gathered.spawned;
                made_here || self.may_use(&reference, gathered)
            }
            Reference::Promise(promise) => match self.made_here(promise, gathered) {
                Some(index) => {
                    gathered.keep(index);
                    true
                }
                None => self.may_use(&reference, gathered),
            },
        }
    }

    /// Checks references that leave the crank or that the vat stores; says no and dooms the crank
    /// when the vat does not have one.
    pub(crate) fn check_slots(&self, slots: &[Slot], gathered: &mut Gathered, away: bool) -> bool {
        // The common case: nothing that came to its end in the vat's hand.
        let plain = slots.iter().all(|slot| {
            slot.reference()
                .is_some_and(|reference| self.check_reference(reference, gathered, away))
        });
        if plain {
            return true;
        }
        let mut forged = None;
        let walked = each_reference(slots, &mut |reference| {
            if !self.check_reference(reference, gathered, away) {
                forged.get_or_insert(reference);
            }
        });
        if let Some(reference) = forged {
            self.doom(Cause::Illegal, "reference", || {
                format!(
                    "{reference} is used, which is neither in the vat's state, nor came with this \
                     delivery, nor was made or read in this crank"
                )
            });
            return false;
        }
        if let Err(error) = walked.and_then(|()| crate::reference::check_depth(slots)) {
            self.doom(Cause::Illegal, "reference", || error.to_string());
            return false;
        }
        true
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
    pub(crate) fn look(&self) -> Option<std::cell::Ref<'_, &'a mut Gathered>> {
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

    /// What was read of the store. What the vat does after a row that is not known is worth nothing;
    /// [`LiveVat::run`](crate::LiveVat::run) gives no record of this crank.
    pub(crate) fn known<T>(&self, read: Result<T, Unread>) -> Option<T> {
        if read.is_err() {
            self.doom(Cause::State, "store", || {
                "a row of the store could not be read".to_owned()
            });
        }
        read.ok()
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
        if mutant("limits-are-not-looked-at") {
            return;
        }
        if gathered.calls > limits.calls {
            self.doom(Cause::Limit, "calls", || {
                format!("one crank may make {} calls", limits.calls)
            });
        }
        if gathered.acts.len() + gathered.write_bytes + gathered.resolution_bytes
            > limits.most_output()
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

impl<'a> Gathering<'_, 'a> {
    /// Encodes what leaves the crank into the buffers, and checks its size and its references.
    #[inline]
    fn encode<T: Serialize + ?Sized>(&mut self, crank: &Crank<'a>, value: &T) -> bool {
        self.encode_with(crank, value, |limits| limits.payload_bytes, true)
    }

    #[inline(always)]
    fn encode_with<T: Serialize + ?Sized>(
        &mut self,
        crank: &Crank<'a>,
        value: &T,
        limit: impl FnOnce(&Limits) -> usize,
        away: bool,
    ) -> bool {
        let gathered = &mut **self.gathered;
        gathered.args.clear();
        gathered.slots.clear();
        if let Err(error) = encode_into(value, &mut gathered.args, &mut gathered.slots) {
            crank.doom(Cause::Illegal, "arguments", || error.to_string());
            return false;
        }
        let (len, limit) = (gathered.args.len(), limit(&crank.shared.limits));
        if len > limit {
            crank.doom(Cause::Illegal, "arguments", || {
                format!("a payload of {len} bytes is above the limit of {limit} bytes")
            });
            return false;
        }
        if gathered.slots.is_empty() {
            return true;
        }
        let slots = std::mem::take(&mut gathered.slots);
        // Before it is written out, each time that it stands there.
        if settled_bytes(&slots) > crank.shared.limits.most_output() {
            crank.doom(Cause::Limit, "output_bytes", || {
                "what the promises in a value came to is above the limit".to_owned()
            });
            return false;
        }
        let good = crank.check_slots(&slots, gathered, away);
        gathered.slots = slots;
        good
    }

    /// Checks a reference that is used beside the encoded value.
    #[inline(always)]
    fn check(&mut self, crank: &Crank<'a>, used: &Slot, away: bool) -> bool {
        if let Some(reference) = used.reference()
            && crank.check_reference(reference, &mut self.gathered, away)
        {
            return true;
        }
        crank.check_slots(std::slice::from_ref(used), &mut self.gathered, away)
    }

    /// Appends the encoded value, with its length, to the act that was begun.
    #[inline(always)]
    fn finish_act(&mut self, crank: &Crank<'a>) {
        let gathered = &mut **self.gathered;
        let acts = &mut gathered.acts;
        if gathered.slots.is_empty() {
            put_varint(acts, gathered.args.len() as u64 + 1);
            acts.push(0);
            acts.extend_from_slice(&gathered.args);
        } else {
            let before = acts.len();
            acts.push(0);
            put_slots(acts, &gathered.slots);
            acts.extend_from_slice(&gathered.args);
            put_length(acts, before);
        }
        self.count_call(crank);
    }

    #[inline]
    fn count_call(&mut self, crank: &Crank<'a>) {
        self.gathered.calls += 1;
        crank.check_limits(&self.gathered);
    }

    fn put_object<T: Serialize + ?Sized>(
        &mut self,
        crank: &Crank<'a>,
        number: u64,
        kind: &str,
        state: &T,
    ) -> bool {
        if !self.encode_with(crank, state, |limits| limits.state_bytes, false) {
            return false;
        }
        let gathered = &mut **self.gathered;
        let mut body = Vec::with_capacity(gathered.args.len() + kind.len() + 2);
        put_slots(&mut body, &gathered.slots);
        put_bytes(&mut body, kind.as_bytes());
        body.extend_from_slice(&gathered.args);
        crank.known(gathered.write_holding(
            crank.store,
            crank.id,
            &rooms::object(number),
            Some(body),
        ));
        self.count_call(crank);
        true
    }

    /// Decodes the value of a row that holds references, which may then be used.
    #[inline(always)]
    fn decode<T: DeserializeOwned>(&mut self, row: &[u8]) -> Result<T, PayloadError> {
        let unreadable = |why: crate::DecodeError| PayloadError::Decode {
            len: row.len(),
            type_name: std::any::type_name::<T>(),
            why: why.to_string(),
        };
        let body = Body::read(row).map_err(unreadable)?;
        let gathered = &mut **self.gathered;
        let bytes = crate::delivery::parts(&body, &mut gathered.slots).map_err(unreadable)?;
        gathered.read.add(&gathered.slots).map_err(unreadable)?;
        decode(bytes, &gathered.slots)
    }
}

/// The object whose row that is, with its references.
pub(crate) fn object_in(number: u64, row: &[u8]) -> Option<(crate::Object, Vec<Slot>)> {
    let body = Body::read(row).ok()?;
    let slots = body.to_slots().ok()?;
    let mut reader = crate::codec::Reader::new(body.bytes());
    let kind = reader.text("kind of an object").ok()?.to_owned();
    let state = body.bytes()[reader.offset()..].to_vec();
    let state = Payload::from_parts(state, slots.clone());
    Some((crate::Object::new(number, kind, state), slots))
}

/// Why a message cannot be delivered to what a promise came to.
pub(crate) fn not_callable() -> Rejection {
    Rejection::with_cause(
        Cause::NotCallable,
        "not_callable",
        "the promise came to a value that takes no messages",
    )
}

/// The answer of a crank as a resolution, with a promise that was decided on the spot replaced by
/// what it was decided to be.
pub(crate) fn write_answer(crank: &Crank<'_>, answer: &Payload, out: &mut Vec<u8>) -> bool {
    let mut gathered = crank.gathered.borrow_mut();
    let gathered = &mut **gathered;
    if let ([Slot::Promise(promise)], [0]) = (answer.slots(), answer.bytes())
        && let Some(index) = crank.made_here(*promise, gathered)
        && !gathered.is_kept(index)
        && let Some(&at) = gathered.decided_at.get(&promise.counter)
    {
        let (_, resolution) = &gathered.decided[at];
        out.extend_from_slice(resolution);
        let given_away = &mut gathered.given_away;
        each_own_object(crank.id, resolution, |object| given_away.push(object));
        return true;
    }
    if !answer.slots().is_empty() && !crank.check_slots(answer.slots(), gathered, true) {
        return false;
    }
    put_resolution(out, answer.slots(), answer.bytes());
    true
}

/// The numbers of a vat's own objects beside its root that stand in what a promise comes to.
pub(crate) fn each_own_object(vat: VatId, resolution: &[u8], mut see: impl FnMut(u64)) {
    if let Ok(Resolution::Value(body)) = Resolution::read(resolution) {
        // The vat has just made it, and its references were walked when they were checked.
        let _ = body.each_reference(&mut |reference| {
            if let Reference::Object(object) = reference
                && object.vat == vat
                && !object.is_root()
            {
                see(object.number);
            }
        });
    }
}

/// Appends what a promise comes to that is fulfilled with a value. A value that is just a promise
/// which came to its end in the vat's hand is what that came to.
fn put_resolution(out: &mut Vec<u8>, slots: &[Slot], bytes: &[u8]) {
    if let ([Slot::Settled(resolution)], [0]) = (slots, bytes) {
        return out.extend_from_slice(resolution);
    }
    out.push(0);
    Body::put(out, slots, bytes);
}
