//! What a host hands in: messages, new vats, and several of them as one.

use std::collections::HashMap;

use crankcase_vat::record::{Act, InputWriter, RequestRef};
use crankcase_vat::{
    Body, Limits, ObjectId, Outcome, Payload, Promise, Reference, Slot, Target, Vat, VatId,
    VatNumber, each_reference, is_name,
};
use serde::Serialize;

use crate::error::SendError;
use crate::kernel::Kernel;
use crate::ticket::Ticket;

/// A message that was not sent for lack of room, as it would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// The receiver.
    pub to: Target,
    /// The method.
    pub method: String,
    /// The encoded arguments.
    pub args: Payload,
}

/// What an input that is put together has to know of who takes it.
pub(crate) trait Host {
    /// The bounds for what is sent.
    fn limits(&self) -> &Limits;
    /// Whether that version of a kind is registered.
    fn check_version(&self, kind: &str, version: u32) -> Result<(), SendError>;
    /// The number of the vat that the host makes next.
    fn next_host_counter(&self) -> u64;
}

/// One entry of an input, as it is put together: its acts, and the digest of what it asks for.
pub(crate) struct Draft {
    pub(crate) acts: Vec<u8>,
    pub(crate) act_count: u64,
    pub(crate) deliveries: u32,
    pub(crate) names: Vec<String>,
    digest: blake3::Hasher,
    /// Vats that the entry makes, by their position in it. The ids that the host happens to have
    /// given them are no part of the request's body: asked again, it would have given others.
    made: HashMap<VatId, u64>,
    /// The counters that the ids of these vats took, if nobody else took one in between.
    counters: Option<std::ops::RangeInclusive<u64>>,
}

impl Draft {
    pub(crate) fn new() -> Self {
        Self {
            acts: Vec::new(),
            act_count: 0,
            deliveries: 0,
            names: Vec::new(),
            digest: blake3::Hasher::new(),
            made: HashMap::new(),
            counters: None,
        }
    }

    fn hash(&mut self, tag: u8, parts: &[&[u8]]) {
        self.digest.update(&[tag]);
        for part in parts {
            self.digest.update(&(part.len() as u64).to_le_bytes());
            self.digest.update(part);
        }
    }

    /// Hashes a reference: one to a vat that the entry makes by its position.
    fn hash_slot(&mut self, slot: &Slot) {
        let made = match slot {
            Slot::Object(ObjectId {
                vat,
                number: ObjectId::ROOT,
            }) => self.made.get(vat).copied(),
            _ => None,
        };
        match made {
            Some(position) => self.hash(2, &[&position.to_le_bytes()]),
            None => {
                let mut bytes = Vec::new();
                slot.write(&mut bytes);
                self.hash(1, &[&bytes]);
            }
        }
    }

    fn hash_payload(&mut self, payload: &Payload) {
        self.hash(6, &[payload.bytes()]);
        for slot in payload.slots() {
            self.hash_slot(slot);
        }
    }

    fn push(&mut self, act: &Act<'_>) {
        act.write(&mut self.acts);
        self.act_count += 1;
        self.deliveries += u32::from(act.is_delivery());
    }

    pub(crate) fn send(
        &mut self,
        limits: &Limits,
        to: &Target,
        method: &str,
        args: &Payload,
    ) -> Result<(), SendError> {
        check_name("the method", method)?;
        let to = reachable(to)?;
        check_size(limits, args)?;
        check_slots(args.slots())?;
        self.check_room(args)?;
        self.hash_slot(to);
        self.hash(3, &[method.as_bytes()]);
        self.hash_payload(args);
        let body = body_of(args);
        self.push(&Act::Send {
            to: to.clone(),
            method,
            args: read_body(&body),
            kept: false,
        });
        Ok(())
    }

    pub(crate) fn watch(&mut self, promise: &Promise) -> Result<(), SendError> {
        let on = promise.slot().clone();
        check_slots(std::slice::from_ref(&on))?;
        self.hash_slot(&on);
        self.hash(7, &[]);
        self.push(&Act::Await { on });
        Ok(())
    }

    pub(crate) fn hold(&mut self, what: &Target) -> Result<(), SendError> {
        let what = reachable(what)?.clone();
        self.hash_slot(&what);
        self.hash(8, &[]);
        self.push(&Act::Hold { what });
        Ok(())
    }

    pub(crate) fn release(&mut self, what: &Target) -> Result<(), SendError> {
        let what = reachable(what)?.clone();
        self.hash_slot(&what);
        self.hash(9, &[]);
        self.push(&Act::Release { what });
        Ok(())
    }

    pub(crate) fn spawn(
        &mut self,
        host: &impl Host,
        name: &str,
        (kind, version): (&str, u32),
        args: &Payload,
    ) -> Result<VatId, SendError> {
        if !name.is_empty() {
            check_name("the root name", name)?;
            if self.names.iter().any(|known| known == name) {
                return Err(SendError::NameTaken {
                    name: name.to_owned(),
                });
            }
        }
        host.check_version(kind, version)?;
        check_size(host.limits(), args)?;
        check_slots(args.slots())?;
        self.check_room(args)?;
        let counter = host.next_host_counter();
        let id = VatId::new(VatNumber::HOST, counter);
        self.hash(4, &[name.as_bytes(), kind.as_bytes()]);
        self.hash_payload(args);
        self.made.insert(id, self.act_count);
        let first = match &self.counters {
            Some(counters) => *counters.start(),
            None => counter,
        };
        self.counters = (first + self.made.len() as u64 == counter + 1).then_some(first..=counter);
        if !name.is_empty() {
            self.names.push(name.to_owned());
        }
        let body = body_of(args);
        self.push(&Act::Spawn {
            counter,
            kind,
            version,
            args: read_body(&body),
            name,
        });
        Ok(id)
    }

    pub(crate) fn upgrade<V: Vat>(
        &mut self,
        host: &impl Host,
        vat: VatId,
    ) -> Result<(), SendError> {
        let version = V::VERSION;
        host.check_version(V::KIND, version)?;
        let upgraded = Slot::Object(vat.into());
        check_slots(std::slice::from_ref(&upgraded))?;
        self.hash_slot(&upgraded);
        self.hash(10, &[V::KIND.as_bytes(), &version.to_le_bytes()]);
        self.push(&Act::Upgrade {
            vat,
            kind: V::KIND,
            version,
        });
        Ok(())
    }

    pub(crate) fn forget(&mut self, request: &str) -> Result<(), SendError> {
        check_request_id(request)?;
        self.hash(5, &[request.as_bytes()]);
        self.push(&Act::Forget { request });
        Ok(())
    }

    fn check_room(&self, args: &Payload) -> Result<(), SendError> {
        let slots = args.slots().iter().map(|slot| match slot {
            Slot::Settled(resolution) => resolution.len() + 32,
            Slot::Object(_) | Slot::Promise(_) => 32,
        });
        let args = args.bytes().len() + slots.sum::<usize>();
        // A name and the numbers of an act take less than a kilobyte.
        if self.acts.len() + args + 1024 > Limits::MAX_OUTPUT_BYTES {
            return Err(SendError::Malformed {
                what: "the input",
                why: format!("one input holds at most {} bytes", Limits::MAX_OUTPUT_BYTES),
            });
        }
        Ok(())
    }

    /// The counters that it took and that nothing else stands between.
    pub(crate) const fn counters(&self) -> Option<&std::ops::RangeInclusive<u64>> {
        self.counters.as_ref()
    }

    /// The digest of what is asked for.
    pub(crate) fn digest(&self) -> [u8; 32] {
        *self.digest.finalize().as_bytes()
    }

    /// Appends it to an input as an entry.
    pub(crate) fn write(&self, request: Option<&str>, writer: &mut InputWriter) {
        let request = request.map(|id| RequestRef {
            id,
            digest: self.digest(),
        });
        writer.push(request, self.act_count, &self.acts);
    }

    /// The room that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.acts.len() as u64
    }
}

fn body_of(payload: &Payload) -> Vec<u8> {
    let mut body = Vec::with_capacity(payload.bytes().len() + 1);
    Body::put(&mut body, payload.slots(), payload.bytes());
    body
}

fn read_body(body: &[u8]) -> Body<'_> {
    Body::read(body).expect("a body that was just written")
}

/// What can be sent to and held: anything but a promise that came to a value.
fn reachable(to: &Target) -> Result<&Slot, SendError> {
    match to.slot() {
        Slot::Settled(_) => Err(SendError::Malformed {
            what: "the receiver",
            why: "a promise that came to a value or was rejected takes no messages".to_owned(),
        }),
        slot => {
            check_slots(std::slice::from_ref(slot))?;
            Ok(slot)
        }
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), SendError> {
    if is_name(name) {
        return Ok(());
    }
    let why = format!("{name:?} is no name: 1 to 255 bytes without control characters");
    Err(SendError::Malformed { what, why })
}

pub(crate) fn check_request_id(id: &str) -> Result<(), SendError> {
    check_name("the request id", id)
}

/// What promises came to that stand among the references is whole: a host can put anything there.
fn check_slots(slots: &[Slot]) -> Result<(), SendError> {
    let mut nameless = None;
    let walked = each_reference(slots, &mut |reference| {
        let number = match reference {
            Reference::Object(object) => object.vat.creator,
            Reference::Promise(promise) => promise.maker,
        };
        if number > VatNumber::LARGEST {
            nameless = Some(reference);
        }
    });
    if let Some(reference) = nameless {
        return Err(SendError::Malformed {
            what: "a reference",
            why: format!("nothing has the name {reference}: its first number is too large"),
        });
    }
    walked.map_err(|why| SendError::Malformed {
        what: "a promise that came to its end",
        why: why.to_string(),
    })
}

fn check_size(limits: &Limits, args: &Payload) -> Result<(), SendError> {
    let (len, limit) = (args.bytes().len(), limits.payload_bytes);
    if len <= limit {
        return Ok(());
    }
    let why = format!("{len} bytes are above the limit of {limit} bytes");
    Err(SendError::Malformed {
        what: "the arguments",
        why,
    })
}

/// Several messages and new vats as one atomic input: all of them enter the order in one record,
/// or none does. See [`Kernel::batch`].
#[must_use = "nothing is sent until `submit` is called"]
pub struct Batch<'k> {
    kernel: &'k Kernel,
    request: Option<String>,
    draft: Draft,
}

impl<'k> Batch<'k> {
    pub(crate) fn new(kernel: &'k Kernel, request: Option<String>) -> Self {
        Self {
            kernel,
            request,
            draft: Draft::new(),
        }
    }

    /// Adds a message.
    ///
    /// # Errors
    ///
    /// [`SendError`] when it is malformed; the batch is as it was.
    pub fn send<T: Serialize + ?Sized>(
        &mut self,
        to: impl Into<Target>,
        method: &str,
        args: &T,
    ) -> Result<(), SendError> {
        let limits = self.kernel.limits();
        self.draft
            .send(limits, &to.into(), method, &Payload::of(args)?)
    }

    /// Adds that the host holds something; see [`Kernel::hold`].
    ///
    /// # Errors
    ///
    /// [`SendError::Malformed`] when it cannot be held.
    pub fn hold(&mut self, what: impl Into<Target>) -> Result<(), SendError> {
        self.draft.hold(&what.into())
    }

    /// Adds that the host releases something; see [`Kernel::release`].
    ///
    /// # Errors
    ///
    /// [`SendError::Malformed`] when it cannot be held.
    pub fn release(&mut self, what: impl Into<Target>) -> Result<(), SendError> {
        self.draft.release(&what.into())
    }

    /// Adds a new vat, and gives its id, which can be sent to in the same batch.
    ///
    /// Under a request id that came before, nothing is made: the outcome holds the first one's id,
    /// and the one given here is not to be used. Neither is that of a batch that was not
    /// submitted; in `Dispatch` order it may be given to another vat.
    ///
    /// # Errors
    ///
    /// [`SendError`] when it is malformed; the batch is as it was.
    pub fn spawn<T: Serialize + ?Sized>(
        &mut self,
        kind: &str,
        args: &T,
    ) -> Result<VatId, SendError> {
        let kind = self.kernel.newest(kind)?;
        self.spawn_version(None, kind, args)
    }

    /// Adds a new vat with a root name, by which [`Kernel::root`] finds it for ever.
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn); a name that is taken is refused by
    /// [`submit`](Self::submit).
    pub fn spawn_named<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        kind: &str,
        args: &T,
    ) -> Result<VatId, SendError> {
        let kind = self.kernel.newest(kind)?;
        self.spawn_version(Some(name), kind, args)
    }

    /// Adds a new vat of that version of a kind.
    pub(crate) fn spawn_version<T: Serialize + ?Sized>(
        &mut self,
        name: Option<&str>,
        kind: (&str, u32),
        args: &T,
    ) -> Result<VatId, SendError> {
        if name == Some("") {
            check_name("the root name", "")?;
        }
        let args = Payload::of(args)?;
        self.draft
            .spawn(self.kernel, name.unwrap_or_default(), kind, &args)
    }

    /// Adds that a vat goes on with the version `V` of its kind's code; see [`Kernel::upgrade`].
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownKind`] when the host has not registered `V`.
    pub fn upgrade<V: Vat>(&mut self, vat: impl Into<VatId>) -> Result<(), SendError> {
        self.draft.upgrade::<V>(self.kernel, vat.into())
    }

    /// Adds that a request id is needed no longer.
    ///
    /// # Errors
    ///
    /// [`SendError::Malformed`] when it can be no id.
    pub fn forget(&mut self, request: &str) -> Result<(), SendError> {
        self.draft.forget(request)
    }

    /// How many messages, new vats, holds and upgrades are in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.draft.deliveries as usize
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.draft.act_count == 0
    }

    /// Hands it in. The ticket settles with one outcome for each message, new vat, hold and upgrade, in
    /// order; a new vat's is its id.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing of it will happen.
    pub fn submit(mut self) -> Result<Ticket<Vec<Outcome>>, SendError> {
        let draft = std::mem::replace(&mut self.draft, Draft::new());
        let request = self.request.take();
        self.kernel
            .submit(draft, request.as_deref(), <[Outcome]>::to_vec)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.kernel.give_back_counters(self.draft.counters());
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("request", &self.request)
            .field("deliveries", &self.draft.deliveries)
            .finish_non_exhaustive()
    }
}

/// An input under a request id. See [`Kernel::request`].
#[derive(Debug)]
#[must_use = "nothing is sent until one of its methods is called"]
pub struct Request<'k> {
    pub(crate) kernel: &'k Kernel,
    pub(crate) id: String,
}

impl<'k> Request<'k> {
    /// As [`Kernel::send`].
    ///
    /// # Errors
    ///
    /// [`SendError`]; [`SendError::Conflict`] when the id came with another body.
    pub fn send<T: Serialize + ?Sized>(
        self,
        to: impl Into<Target>,
        method: &str,
        args: &T,
    ) -> Result<Ticket<Outcome>, SendError> {
        let mut draft = Draft::new();
        let limits = self.kernel.limits();
        draft.send(limits, &to.into(), method, &Payload::of(args)?)?;
        self.kernel
            .submit(draft, Some(&self.id), crate::kernel::only)
    }

    /// As [`Kernel::spawn`].
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn spawn<T: Serialize + ?Sized>(
        self,
        kind: &str,
        args: &T,
    ) -> Result<Ticket<Result<VatId, crankcase_vat::Rejection>>, SendError> {
        let mut draft = Draft::new();
        let kind = self.kernel.newest(kind)?;
        draft.spawn(self.kernel, "", kind, &Payload::of(args)?)?;
        self.kernel
            .submit(draft, Some(&self.id), crate::kernel::only_id)
    }

    /// As [`Kernel::batch`].
    pub fn batch(self) -> Batch<'k> {
        Batch::new(self.kernel, Some(self.id))
    }
}
