//! Harm to a journal's directory, bit by bit and sector by sector, and the law that opening and verifying keep.
//!
//! **The law.** A directory that was harmed is either opened or refused.
//!
//! - *Refused*: with an error whose type says damage, another format, or that it is no journal; whose text names the
//!   place (below); by `verify` too; and without one byte of the directory changed.
//! - *Opened*: in the state that it had, to the last bit: the same place in the order, the same activity hash, and what
//!   follows from there is what follows without the harm, up to the activity hash at its end. `verify` then either says
//!   the same figures or, since it reads what opening does not, that there is damage.
//! - *Opened at an earlier place*: only where the log ends in what cannot be told from a write that was under way. That
//!   place is the end of a whole group, no earlier than the last one the witness saw, nothing before it was harmed, and
//!   the kernel says so: its torn tail begins where the harmed group does, and the file named as evidence holds what
//!   was cut off. After a clean close, and after a kill that the system survived, the witness has seen the last group,
//!   so there nothing may be lost at all.
//! - The tables' log may end in a torn batch in every case: what it held is an earlier checkpoint's work done again, so
//!   the state is the same. It is cut and told just so.
//!
//! **The place.** A file, or a folder of the store below, or records: the harmed file's own path, the path of the
//! database's folder that it stands in, or the number of a group or a record. Whatever path an error names must lead to
//! the harmed file. A flip in the identity's first bytes cannot be told from another file or a newer format, and is
//! called that.

mod image;
mod judge;
mod sample;

pub mod flips;
pub mod tails;

pub use image::Image;
pub use judge::{Fate, Figures};
pub use sample::{Ended, Sample};
