//! Objects inside of vats, with types.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Crank;
use crate::delivery::{Message, Object};
use crate::interface::Interface;
use crate::kind_shape::ShapeWriter;
use crate::reference::Ref;
use crate::vat::{Answer, Vat};

/// A sort of objects inside of vats. `#[object]` makes it of an `impl` block.
pub trait VatObject: Interface + Serialize + DeserializeOwned {
    /// The vats that have such objects.
    type Vat: Vat;

    /// The name of the sort in the journal.
    const KIND: &'static str;

    /// Says how the messages of such objects stand in bytes.
    fn describe(shape: &mut ShapeWriter) {
        let _ = shape;
    }

    /// Hands an object a message.
    ///
    /// # Errors
    ///
    /// A rejection: nothing that the crank did happens, and whoever waits is told why.
    fn receive(
        vat: &mut Self::Vat,
        cx: &Crank<'_, '_, Self::Vat>,
        object: &Object,
        message: &Message<'_>,
    ) -> Answer;
}

impl<V: Vat> Crank<'_, '_, V> {
    /// Makes an object in this vat, and gives the capability to use it; see
    /// [`Crank::object`](crate::Crank::object).
    pub fn export<O: VatObject<Vat = V>>(&self, state: O) -> Ref<O> {
        self.raw().object(O::KIND, &state).cast()
    }

    /// The state of an object of this vat, as it is now.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`](crate::PayloadError::Decode) when it is no `O`.
    pub fn object_state<O: VatObject<Vat = V>>(
        &self,
        object: Ref<O>,
    ) -> Result<Option<O>, crate::PayloadError> {
        let object = object.object();
        if object.vat != self.id() {
            return Ok(None);
        }
        let found = self.read_object(object.number);
        let found = found.filter(|found| found.kind() == O::KIND);
        found.map(|found| found.state()).transpose()
    }

    /// Removes an object of this vat. Messages for it are rejected from now on. One that is not
    /// there, or is another vat's, is no error.
    pub fn remove<O: VatObject<Vat = V>>(&self, object: Ref<O>) {
        let object = object.object();
        if object.vat == self.id() && !object.is_root() {
            self.remove_object(object.number);
        }
    }

    /// Writes back the state of an object that has handled a message, unless it was removed.
    #[doc(hidden)]
    pub fn keep_object<O: VatObject<Vat = V>>(&self, number: u64, state: &O) {
        if self.read_object(number).is_some() {
            self.set_object(number, state);
        }
    }
}
