//! Journals to be harmed: small, and with a bit of everything in them.

use std::fs;

use crankcase::{ActivityHash, Kernel, Ref};
use crankcase_journal::PrivateCopy;

use super::image::Image;
use crate::golden::{Keeper, builder, write_with};
use crate::host::{PATIENCE, settled};
use crate::scratch::Scratch;

/// The log of the groups, and that of the tables.
pub(super) const LOG: &str = "log/0.jnl";
pub(super) const TABLES: &str = "tables/0.jnl";
pub(super) const WITNESS: &str = "witness";

/// Records up to a checkpoint.
const CHECKPOINT_EVERY: u64 = 14;

/// How the kernel that wrote a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It closed.
    Closed,
    /// It was killed behind a group that was acknowledged.
    Killed,
    /// It was killed between the sync of its last group and the witness, or the witness never reached the disk: the
    /// witness has not seen the last group.
    Unwitnessed,
}

/// A place in the order where a group ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The last record.
    pub last: u64,
    /// The activity hash there.
    pub hash: ActivityHash,
}

/// What a continuation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// Where it ended.
    pub place: Place,
    /// What the host heard.
    pub heard: Vec<String>,
}

/// A journal to be harmed, and what is known of it.
#[derive(Debug)]
pub struct Sample {
    /// How it came about.
    pub ended: Ended,
    /// Its directory.
    pub image: Image,
    /// Where its groups end, and where the next batch of the log begins there; the last one last.
    pub places: Vec<(Place, usize)>,
    /// The last record that the witness saw.
    pub witnessed: u64,
    /// What follows from each place that the witness does not exclude; the last one last.
    pub follows: Vec<After>,
}

impl Sample {
    /// Makes one.
    ///
    /// # Panics
    ///
    /// When the kernel does not do what it should.
    #[must_use]
    pub fn new(ended: Ended) -> Self {
        let scratch = Scratch::new();
        let dir = scratch.dir();
        write_with(&dir, CHECKPOINT_EVERY).expect("the journal is made");
        let kernel = builder(&dir).open().expect("it opens");
        let bob = root(&kernel, "bob");
        drop(bob.take(kernel.request("more"), 2).expect("it is taken"));
        kernel.run_until_idle().expect("it runs");
        kernel.read(bob, |_: &Keeper| ()).expect("it is released");
        let earlier = fs::read(dir.join(WITNESS)).expect("there is a witness");
        drop(bob.take(kernel.request("later"), 3).expect("it is taken"));
        kernel.run(0).expect("it is put in order");
        kernel.read(bob, |_: &Keeper| ()).expect("it is released");
        let image = match ended {
            Ended::Closed => {
                kernel.close(PATIENCE).expect("it closes");
                Image::of(&dir)
            }
            // What a kill leaves, at a moment when nothing is under way.
            Ended::Killed => Image::of(&dir),
            Ended::Unwitnessed => Image::of(&dir).with(WITNESS.as_ref(), earlier.clone()),
        };
        let scratch = Scratch::new();
        image.write(&scratch.dir());
        let copy = PrivateCopy::of(&scratch.dir()).expect("it can be read");
        let groups = copy.groups().from(crankcase_vat::Seq::ZERO.next());
        let groups = groups.map(|group| group.expect("it can be read"));
        let ends = groups.map(|group| Place {
            last: group.last().get(),
            hash: group.hash(),
        });
        // The last batches of the log are groups, one each.
        let mut places: Vec<Place> = ends.collect();
        let batches = batch_ends(image.file(LOG.as_ref()));
        let known = places.len().min(batches.len());
        let places = places.split_off(places.len() - known);
        let batches = batches[batches.len() - known..].iter().copied();
        let places: Vec<(Place, usize)> = places.into_iter().zip(batches).collect();
        let witnessed = copy.witnessed().get();
        let checkpoint = copy.recovered().checkpoint;
        // Closing writes one too; behind that of a kernel that was killed there are records.
        assert!(checkpoint.get() > 0, "there is a checkpoint");
        let behind = checkpoint < copy.recovered().last;
        assert_eq!(behind, ended != Ended::Closed, "records behind it");
        drop(copy);
        let open_ones = places.iter().filter(|(place, _)| place.last >= witnessed);
        let follows = open_ones.map(|(place, end)| {
            let log = image.file(LOG.as_ref())[..*end].to_vec();
            // Cut, it is refused by a witness that saw all of it.
            let cut = image.with(LOG.as_ref(), log);
            let cut = cut.with(WITNESS.as_ref(), earlier.clone());
            cut.write(&scratch.dir());
            let kernel = builder(&scratch.dir()).open().expect("it opens");
            assert_eq!(kernel.recovered().last.get(), place.last);
            let after = go_on(&kernel);
            kernel.close(PATIENCE).expect("it closes");
            after
        });
        let follows = follows.collect();
        Self {
            ended,
            image,
            places,
            witnessed,
            follows,
        }
    }

    /// The place where it ends.
    ///
    /// # Panics
    ///
    /// Never: there are groups.
    #[must_use]
    pub fn end(&self) -> Place {
        self.places.last().expect("there are groups").0
    }

    /// Where in the log the last group begins and ends, with all that stands around it there.
    #[must_use]
    pub fn last_batch(&self, log: &str) -> std::ops::Range<usize> {
        let ends = batch_ends(self.image.file(log.as_ref()));
        match ends[..] {
            [.., start, end] => start..end,
            [end] => 0..end,
            [] => 0..0,
        }
    }

    /// What follows from a place.
    #[must_use]
    pub(super) fn after(&self, last: u64) -> Option<&After> {
        let open_ones = self.places.iter().filter(|(p, _)| p.last >= self.witnessed);
        let mut found = open_ones.zip(&self.follows);
        found
            .find(|((p, _), _)| p.last == last)
            .map(|(_, after)| after)
    }
}

/// Where batches end in a log of fjall's.
fn batch_ends(log: &[u8]) -> Vec<usize> {
    let trailers = log.windows(4).enumerate();
    let trailers = trailers.filter(|(_, bytes)| bytes == b"FJL\x03");
    trailers.map(|(at, _)| at + 4).collect()
}

fn root(kernel: &Kernel, name: &str) -> Ref<Keeper> {
    let found = kernel.root_as(name).expect("it can be looked up");
    found.expect("it has that name")
}

/// Asks every vat for something, so that each row, promise, request and waiting message has a part in what the records
/// are from here on.
pub(super) fn go_on(kernel: &Kernel) -> After {
    let [ann, bob, cat] = ["ann", "bob", "cat"].map(|name| root(kernel, name));
    let take = ann.take(kernel.request("take"), 4).expect("it is taken");
    let waits = bob.take(kernel.request("later"), 3).expect("it is taken");
    let refused = bob
        .take(kernel.request("too many"), 21)
        .expect("it is taken");
    let notes = [ann, bob].map(|keeper| keeper.last_note(kernel).expect("it is taken"));
    let look = ann.look(kernel).expect("it is taken");
    let tell = bob.tell(kernel, 5).expect("it is taken");
    let wait = bob.wait(kernel.request("wait")).expect("it is taken");
    let gone = cat.take(kernel, 1).expect("it is taken");
    kernel.run_until_idle().expect("it runs");
    let mut heard = Vec::new();
    for ticket in [&take, &waits, &refused, &look, &wait, &gone] {
        heard.push(format!("{:?}", settled(ticket)));
    }
    heard.extend(notes.iter().map(|note| format!("{:?}", settled(note))));
    heard.push(format!("{:?}", settled(&tell)));
    let counts = [ann, bob].map(|keeper| kernel.read(keeper, |it: &Keeper| it.count));
    heard.push(format!("{counts:?}"));
    let stats = kernel.stats();
    let place = Place {
        last: stats.durable.get(),
        hash: stats.activity_hash,
    };
    After { place, heard }
}
