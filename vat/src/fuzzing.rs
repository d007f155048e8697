//! Every decoder of this crate behind one function each, for fuzzing. Compiled with the feature `fuzzing` only.
//!
//! A function here takes any bytes. What it panics about is a defect: a panic of the decoder, or something that was
//! decoded and does not encode to the same bytes where the format has one spelling for one value.

use serde::{Deserialize, Serialize};

use crate::body::{Body, Resolution, outcome_bytes};
use crate::codec::Reader;
use crate::ids::{ObjectId, PromiseId, Time, VatId};
use crate::key::{Key, whole};
use crate::kind_shape::KindShape;
use crate::record::crank::{read_rejection, write_rejection};
use crate::record::{Act, InputWriter, Record};
use crate::reference::{Promise, Ref, Slot};

/// A decoder's name, and the function that hands it any bytes and checks what comes of it.
pub type Decoder = (&'static str, fn(&[u8]));

/// All of them. The first byte of a fuzzer's input is a place in this list, so new ones go to its end.
pub const DECODERS: &[Decoder] = &[
    ("record", record),
    ("act", act),
    ("body", body),
    ("slot", slot),
    ("resolution", resolution),
    ("rejection", rejection),
    ("key", key),
    ("kind_shape", kind_shape),
    ("text_ids", text_ids),
    ("value", value),
];

/// Hands `input` to the decoder of `decoders` that its first byte stands for.
pub fn run(decoders: &[Decoder], input: &[u8]) {
    let decoder = input
        .split_first()
        .and_then(|(at, rest)| Some((decoders.get(usize::from(*at))?, rest)));
    if let Some(((_, decode), rest)) = decoder {
        decode(rest);
    }
}

fn record(bytes: &[u8]) {
    let Ok(record) = Record::parse(bytes) else {
        return;
    };
    if record.validate().is_err() {
        return;
    }
    let acts_of = |acts: crate::record::Acts<'_>| {
        let mut encoded = Vec::new();
        let mut count = 0;
        for act in acts {
            act.expect("the record was validated").write(&mut encoded);
            count += 1;
        }
        (count, encoded)
    };
    let again = match &record {
        Record::Input(input) => {
            let mut writer = InputWriter::new();
            for entry in input.entries() {
                let entry = entry.expect("the record was validated");
                let (count, acts) = acts_of(entry.acts());
                writer.push(entry.request, count, &acts);
            }
            writer.finish(input.time, input.run)
        }
        Record::Crank(crank) => {
            let mut out = Vec::new();
            crank.write([&acts_of(crank.acts()).1, &[]], &mut out);
            out
        }
    };
    assert_eq!(again, bytes, "a record has two spellings");
}

fn act(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    if let Ok(act) = Act::read(&mut reader) {
        let _ = act.validate();
        let mut again = Vec::new();
        act.write(&mut again);
        assert_eq!(again, bytes[..reader.offset()], "an act has two spellings");
    }
}

fn body(bytes: &[u8]) {
    let Ok(body) = Body::read(bytes) else {
        return;
    };
    let _ = body.each_reference(&mut |_| {});
    let _ = (body.sole_slot(), body.has_roots_only());
    let payload = body.to_payload().expect("reading it walked its slots");
    let mut again = Vec::new();
    Body::put(&mut again, payload.slots(), payload.bytes());
    assert_eq!(again, bytes, "a body has two spellings");
}

fn slot(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let mut skipped = Reader::new(bytes);
    let read = Slot::read(&mut reader);
    assert_eq!(read.is_ok(), Slot::skip(&mut skipped).is_ok());
    if let Ok(slot) = read {
        assert_eq!(reader.offset(), skipped.offset());
        let mut again = Vec::new();
        slot.write(&mut again);
        assert_eq!(again, bytes[..reader.offset()], "a slot has two spellings");
    }
}

fn resolution(bytes: &[u8]) {
    if let Ok(resolution) = Resolution::read(bytes) {
        assert_eq!(
            resolution.to_bytes(),
            bytes,
            "a resolution has two spellings"
        );
        assert_eq!(outcome_bytes(&resolution.to_outcome()), bytes);
    }
}

fn rejection(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    if let Ok(rejection) = read_rejection(&mut reader) {
        let mut again = Vec::new();
        write_rejection(&mut again, &rejection);
        assert_eq!(
            again,
            bytes[..reader.offset()],
            "a rejection has two spellings"
        );
    }
}

fn key(bytes: &[u8]) {
    fn of<K: Key>(bytes: &[u8]) {
        if let Ok(key) = whole::<K>(bytes) {
            let mut again = Vec::new();
            key.put(&mut again);
            assert_eq!(again, bytes, "a key has two spellings");
        }
    }
    of::<u8>(bytes);
    of::<i64>(bytes);
    of::<u128>(bytes);
    of::<bool>(bytes);
    of::<[u8; 4]>(bytes);
    of::<String>(bytes);
    of::<Vec<u8>>(bytes);
    of::<(VatId, Time)>(bytes);
    of::<(Option<String>, u16, Vec<u8>)>(bytes);
}

fn kind_shape(bytes: &[u8]) {
    if let Some(shape) = KindShape::from_bytes("kind", 1, bytes) {
        let again = KindShape::from_bytes("kind", 1, &shape.to_bytes());
        assert_eq!(again.as_ref(), Some(&shape));
        assert_eq!(shape.check_stored(&shape, true), Ok(()));
    }
}

fn text_ids(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(vat) = text.parse::<VatId>() {
        assert_eq!(vat.to_string().parse(), Ok(vat));
        assert_eq!(VatId::from_bytes(vat.to_bytes()), vat);
    }
    if let Ok(object) = text.parse::<ObjectId>() {
        assert_eq!(object.to_string().parse(), Ok(object));
    }
    if let Ok(promise) = text.parse::<PromiseId>() {
        assert_eq!(promise.to_string().parse(), Ok(promise));
        assert_eq!(PromiseId::from_bytes(promise.to_bytes()), promise);
    }
}

/// What authors of vats put into messages and states.
#[derive(Serialize, Deserialize)]
enum Value {
    Nothing,
    Numbers(u64, i32, Option<bool>),
    Texts(Vec<String>),
    Held {
        what: Ref,
        when: Option<Promise<u64>>,
    },
    More(Vec<Value>),
}

fn value(bytes: &[u8]) {
    if let Ok(payload) = Body::read(bytes).and_then(|body| body.to_payload())
        && let Ok(value) = payload.decode::<Value>()
    {
        let again = crate::Payload::of(&value).expect("it was decoded");
        assert!(again.decode::<Value>().is_ok());
    }
}
