//! Inputs for the fuzz targets: values of every kind that a real journal holds, and how to hand them to the decoders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crankcase_journal::PrivateCopy;
use crankcase_vat::fuzzing::Decoder;
use crankcase_vat::record::crank::write_rejection;
use crankcase_vat::record::{Act, Acts, CrankEnd, Record};
use crankcase_vat::{Body, Resolution, Seq};

use crate::scratch::Scratch;
use crate::{Fallible, golden};

/// Inputs kept of one decoder: enough to show it every shape that its values have.
const MOST_INPUTS: usize = 12;

/// The fuzz targets, by name, with their decoders.
pub const TARGETS: [(&str, &[Decoder]); 4] = [
    ("vat", crankcase_vat::fuzzing::DECODERS),
    ("journal", crankcase_journal::fuzzing::DECODERS),
    ("rows", crankcase::fuzzing::DECODERS),
    ("command", crankcase_cli::fuzzing::DECODERS),
];

/// Values by decoder, those that differ.
#[derive(Default)]
struct Gathered(BTreeMap<&'static str, BTreeSet<Vec<u8>>>);

impl Gathered {
    fn add(&mut self, decoder: &'static str, value: impl AsRef<[u8]>) {
        let of_decoder = self.0.entry(decoder).or_default();
        of_decoder.insert(value.as_ref().to_vec());
    }

    fn add_all<T: AsRef<[u8]>>(
        &mut self,
        decoder: &'static str,
        values: impl IntoIterator<Item = T>,
    ) {
        values
            .into_iter()
            .for_each(|value| self.add(decoder, value));
    }

    fn add_body(&mut self, body: Body<'_>) {
        self.add("body", body.raw());
        self.add("value", body.raw());
        for slot in body.slots().flatten() {
            let mut bytes = Vec::new();
            slot.write(&mut bytes);
            self.add("slot", &bytes);
        }
    }

    fn add_resolution(&mut self, bytes: &[u8]) {
        self.add("resolution", bytes);
        match Resolution::read(bytes) {
            Ok(Resolution::Value(body)) => self.add_body(body),
            Ok(Resolution::Rejected(rejection)) => {
                let mut bytes = Vec::new();
                write_rejection(&mut bytes, &rejection);
                self.add("rejection", &bytes);
            }
            Err(_) => {}
        }
    }

    fn add_acts(&mut self, acts: Acts<'_>) {
        for act in acts.flatten() {
            let mut bytes = Vec::new();
            act.write(&mut bytes);
            self.add("act", &bytes);
            match act {
                Act::Send { args, .. } | Act::Spawn { args, .. } => self.add_body(args),
                Act::Watch { context, .. } => self.add_body(context),
                Act::Settle { resolution, .. } => self.add_resolution(resolution),
                _ => {}
            }
        }
    }

    fn add_record(&mut self, bytes: &[u8]) -> Fallible<()> {
        self.add("record", bytes);
        match Record::parse(bytes)? {
            Record::Input(input) => {
                for entry in input.entries() {
                    self.add_acts(entry?.acts());
                }
            }
            Record::Crank(crank) => {
                self.add_acts(crank.acts());
                match &crank.end {
                    CrankEnd::Committed { state, answer, .. } => {
                        if let Some(state) = state {
                            self.add_body(Body::read(state)?);
                        }
                        if let Some(answer) = answer {
                            self.add_resolution(answer);
                        }
                    }
                    CrankEnd::Abandoned { rejection, .. } => {
                        self.add_resolution(&Resolution::Rejected(rejection.clone()).to_bytes());
                    }
                    CrankEnd::Cleaned { .. } => {}
                }
            }
        }
        Ok(())
    }
}

/// The decoder of each table's rows; the rows of the others are bytes of vats.
const ROWS: [(u8, &str); 7] = [
    (1, "vat_row"),
    (2, "inbox_chunk"),
    (5, "request"),
    (6, "kind"),
    (7, "counters"),
    (10, "promise"),
    (11, "count"),
];

fn gather() -> Fallible<Gathered> {
    let mut found = Gathered::default();
    let scratch = Scratch::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/0.1");
    golden::unpack(&golden, &scratch.dir())?;
    let file = |name: &str| fs::read(golden.join("files").join(name));
    found.add("identity", file("crankcase")?);
    found.add_all("witness", file("witness")?.chunks(4096));
    found.add_all("log_file", [file("log/0.jnl")?, file("tables/0.jnl")?]);

    // Checkpoints' rows stand whole in the log of the tables, behind their format and seven zeros.
    let log = file("tables/0.jnl")?;
    let rows = log.windows(b"checkpoint".len() + 96);
    let rows = rows.filter(|window| window.starts_with(b"checkpoint"));
    found.add_all(
        "checkpoint_row",
        rows.map(|row| &row[b"checkpoint".len()..]),
    );
    found.add("digest", [7; 32]);

    for database in ["log", "tables"] {
        for keyspace in fs::read_dir(scratch.dir().join(database).join("keyspaces"))? {
            for file in fs::read_dir(keyspace?.path())? {
                let file = file?;
                if file.file_name().to_string_lossy().starts_with('v') {
                    found.add("list_of_files", fs::read(file.path())?);
                }
            }
        }
    }

    let copy = PrivateCopy::of(&scratch.dir())?;
    for group in copy.groups().from(Seq::ZERO.next()) {
        let group = group?;
        found.add("group_key", group.first().get().to_be_bytes());
        let mut again = crankcase_journal::Group::new();
        again.reset(group.first());
        for (_, record) in group.records() {
            again.push(record);
            found.add_record(record)?;
        }
    }
    // A group's value starts with its checksum and ends where the batch around it does.
    let log = file("log/0.jnl")?;
    let keys = log.windows(8).enumerate();
    for (at, key) in keys.filter(|(_, window)| window.starts_with(&[0; 7]) && window[7] != 0) {
        let value = log.get(at + 8..).unwrap_or_default();
        let header_says = value.get(16..24).unwrap_or_default() == [key[7], 0, 0, 0, 0, 0, 0, 0];
        let payload = value.get(24..32).and_then(|length| length.try_into().ok());
        if let (true, Some(payload)) = (header_says, payload.map(u64::from_le_bytes)) {
            let end = usize::try_from(payload)?.saturating_add(64);
            found.add_all("group", value.get(..end));
            found.add_all("frames", value.get(64..end));
        }
    }
    for (_, shape) in copy.groups().facts()? {
        found.add("kind_shape", shape);
    }
    let tables = copy.tables().snapshot()?;
    for (table, decoder) in ROWS {
        for row in tables.prefix(table, &[]) {
            let (key, value) = row?;
            found.add(decoder, value);
            found.add("row_keys", key);
        }
    }
    // The host of that journal holds nothing, and nothing waited in an inbox when its tables were written.
    found.add_all(
        "inbox_chunk",
        [&[0, 0, 1, 0, 3][..], &[9, 7, 4, 0, 5, 0, 2, 8, 4]],
    );
    found.add_all("count", [[2, 9, 0]]);
    found.add_all("promise", [[1, 1, 0, 1, 1, 0, 1, 0]]);
    found.add_all("slot", [[5, 1, 2], [2, 4, 4], [3, 2, 0]]);

    found.add_all(
        "key",
        [
            &[0; 8][..],
            b"a text\0\0",
            b"\x01text\0\0\0\x07bytes\0\xff\0\0",
        ],
    );
    found.add_all(
        "text_ids",
        ["v0.1", "v3.4/5", "p3.1", "v18446744073709551615.0"],
    );
    found.add_all("question", ["v0.1", "p3.1", "12/0", "request:block:1"]);
    let address = "0x00000000000000adc04c56bf30ac9d3c0aaf14dc";
    found.add("address", address);
    found.add_all(
        "csv",
        [
            format!("address,balance_wei\n{address},7\n\0block,from,to,value_wei\n1,{address},{address},3\n"),
            format!("\u{feff}balance_wei, \"address\" ,x\r\n1,{address},\r\n\0from,to,block,value_wei\n"),
        ],
    );
    found.add_all(
        "arguments",
        [
            "ledger run --accounts a --transfers t --journal j --order dispatch --workers 2",
            "ledger generate --accounts 10 --transfers 1 --blocks 1 --seed 1 --out d",
            "inspect d --seq 4",
            "verify d",
        ],
    );
    Ok(found)
}

/// Writes the corpus of every target to its folder below `corpus`.
///
/// # Errors
///
/// Whatever went wrong.
pub fn write(corpus: &Path) -> Fallible<()> {
    let found = gather()?;
    for (target, decoders) in TARGETS {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        for (place, (decoder, _)) in decoders.iter().enumerate() {
            let values = found.0.get(decoder).into_iter().flatten();
            // Of many, some of all lengths.
            let mut values: Vec<&Vec<u8>> = values.collect();
            values.sort_by_key(|value| value.len());
            let step = values.len().div_ceil(MOST_INPUTS).max(1);
            for (number, value) in values.iter().step_by(step).enumerate() {
                let mut input = vec![u8::try_from(place)?];
                input.extend_from_slice(value);
                fs::write(folder.join(format!("{decoder}-{number}")), input)?;
            }
        }
    }
    Ok(())
}

/// Inputs of a target: its corpus, and what crashed it once.
///
/// # Errors
///
/// When a folder cannot be read.
pub fn inputs(fuzz: &Path, target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for folder in ["corpus", "crashes"] {
        let folder = fuzz.join(folder).join(target);
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let bytes = fs::read(&path)?;
            inputs.push((path, bytes));
        }
    }
    inputs.sort();
    Ok(inputs)
}
