//! Deliveries, put together from what the state says of them and from where their bodies stand.

use crankcase_vat::{ActAt, Delivery, DeliveryHead, DeliveryId, Other, RecordBytes, Time, What};
use rustc_hash::FxHashMap;

use crate::state::{BodyAt, Delivered};

/// A body that waits in a promise.
pub(crate) struct Parked {
    pub(crate) act: ActAt,
    /// The time of the record that it stands in.
    pub(crate) time: Time,
}

/// A delivery with its body if it has one, which may have waited in a promise; nothing when that is
/// not kept.
pub(crate) fn delivery_of(
    head: DeliveryHead,
    what: Delivered,
    record: &RecordBytes,
    parked: &mut FxHashMap<DeliveryId, Parked>,
) -> Option<Delivery> {
    let mut body = |at: BodyAt| match at {
        BodyAt::Here(at) => Some(Parked {
            act: at.of(record),
            time: head.time(),
        }),
        BodyAt::Parked => parked.remove(&head.id()),
    };
    let (other, time) = match what {
        Delivered::Message { at } => {
            return Some(Delivery::new(head, What::Act(at.of(record))));
        }
        Delivered::Via { body: at, object } => {
            let Parked { act, time } = body(at)?;
            (Other::Via { act, object }, time)
        }
        Delivered::Outcome {
            body: at,
            resolution,
        } => {
            let Parked { act, .. } = body(at)?;
            (Other::Outcome { act, resolution }, head.time())
        }
        Delivered::Settled {
            promise,
            resolution,
        } => (
            Other::Settled {
                promise,
                resolution,
            },
            head.time(),
        ),
        Delivered::Dropped { object, counted } => (Other::Dropped { object, counted }, head.time()),
        Delivered::Clean => (Other::Clean, head.time()),
    };
    let head = DeliveryHead::new(head.id(), time, head.answer_wanted());
    Some(Delivery::new(head, What::Other(Box::new(other))))
}
