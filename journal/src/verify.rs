//! Checks everything that is stored, not only what recovery reads.

use crankcase_vat::{Seq, mutant};

use crate::activity_hash::{ActivityHash, HashChain};
use crate::digest::TablesDigest;
use crate::error::{Damage, ReadError};
use crate::private_copy::PrivateCopy;
use crate::stored_group::{StoredGroup, frames_of, split_frame};

/// Sees each record with its place, and objects in words.
pub type OnRecord<'a> = &'a mut dyn FnMut(Seq, &[u8]) -> Result<(), String>;

/// What [`PrivateCopy::verify_log`] checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogReport {
    /// The first place of the first retained group.
    pub first: Seq,
    /// The last place.
    pub last: Seq,
    /// The activity hash there.
    pub hash: ActivityHash,
    /// The number of groups.
    pub groups: u64,
    /// The number of records.
    pub records: u64,
    /// What the groups take, in bytes.
    pub bytes: u64,
    /// From this place on every record was checked against the activity hash. Later than [`first`](Self::first) when
    /// retention dropped the start of a hash window.
    pub hashed_from: Seq,
}

/// What [`PrivateCopy::verify_tables_digest`] checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TablesReport {
    /// Where the tables stand.
    pub checkpoint: Seq,
    /// The number of rows.
    pub rows: u64,
}

impl PrivateCopy {
    /// Reads all groups and checks that none is missing, that each is what was written, that their hashes follow from
    /// the records, and that they reach the witness. `on_record` sees every record in order and may object.
    ///
    /// # Errors
    ///
    /// The first thing wrong.
    pub fn verify_log(&self, on_record: OnRecord<'_>) -> Result<LogReport, ReadError> {
        let first = self.groups().first_retained();
        let checkpoint = self.checkpoint_row();
        // The hash is known before the first record, and at the window's edge that the checkpoint kept.
        let mut chain =
            (first == Seq::ZERO.next()).then(|| HashChain::start(Seq::ZERO, ActivityHash::ZERO));
        let mut report = LogReport {
            first,
            last: self.groups().last(),
            hash: self.recovered().hash,
            groups: 0,
            records: 0,
            bytes: 0,
            hashed_from: if chain.is_some() {
                first
            } else {
                checkpoint.chain_start_at().next()
            },
        };
        for group in self.groups().from(first) {
            let group = group?;
            report.groups += 1;
            report.bytes += group.bytes_len() as u64;
            self.verify_group(&group, &mut chain)?;
            for (seq, record) in group.records() {
                report.records += 1;
                on_record(seq, record)
                    .map_err(|what| Damage::new(what, format!("the record at {seq}")))?;
            }
        }
        if let Some(chain) = &chain
            && chain.hash() != report.hash
        {
            return Err(Damage::new(
                "the activity hash is not that of the records",
                "the last group",
            )
            .into());
        }
        Ok(report)
    }

    fn verify_group(
        &self,
        group: &StoredGroup,
        chain: &mut Option<HashChain>,
    ) -> Result<(), Damage> {
        let checkpoint = self.checkpoint_row();
        let mut edge = None;
        let mut rest = frames_of(group.bytes());
        let mut seq = group.first();
        while let Some((_, behind)) = split_frame(rest) {
            if chain.is_none() && seq == checkpoint.chain_start_at().next() {
                *chain = Some(HashChain::start(
                    checkpoint.chain_start_at(),
                    checkpoint.chain_start,
                ));
            }
            if let Some(chain) = chain {
                let frame = &rest[..rest.len() - behind.len()];
                chain.push(frame, |at, hash| {
                    if at == checkpoint.chain_start_at() && hash != checkpoint.chain_start {
                        edge = Some(at);
                    }
                });
            }
            rest = behind;
            seq = seq.next();
        }
        let damage = |what: &str| Err(Damage::new(what, format!("the group at {}", group.first())));
        if chain
            .as_ref()
            .is_some_and(|chain| chain.hash() != group.hash())
        {
            return damage("the activity hash stored with the group is not that of the records");
        }
        if edge.is_some() {
            return damage("the activity hash kept with the checkpoint is not that of the records");
        }
        let witness = self.testimony();
        if (group.first()..=group.last()).contains(&witness.last)
            && (witness.last != group.last() || witness.hash != group.hash())
        {
            return damage("the groups are not those that the witness saw");
        }
        Ok(())
    }

    /// Reads all rows and compares them with the digest that the checkpoint kept.
    ///
    /// # Errors
    ///
    /// The first thing wrong.
    pub fn verify_tables_digest(&self) -> Result<TablesReport, ReadError> {
        let snapshot = self.tables().snapshot()?;
        let mut digest = TablesDigest::default();
        let mut rows = 0;
        for row in snapshot.all() {
            let (key, value) = row?;
            digest.add(&key, &value);
            rows += 1;
        }
        let kept = snapshot.row();
        let same = (kept.digest, kept.rows) == (digest, rows);
        if !same && !mutant("digest-is-not-looked-at") {
            return Err(Damage::new(
                format!(
                    "the {rows} rows are not the {} that the checkpoint at {} left",
                    kept.rows, kept.at
                ),
                "the tables",
            )
            .into());
        }
        Ok(TablesReport {
            checkpoint: snapshot.checkpoint(),
            rows,
        })
    }
}
