//! What the measuring programs of this crate share.
//!
//! * [`workloads`]: state machines that react to messages, and know neither kernel nor floor.
//! * [`actor`]: one such machine as a vat; [`trial`]: a workload run on a kernel.
//! * [`runner`]: a vat that keeps itself busy, with payloads ([`blob`]) or work of a chosen size.
//! * [`cold`]: vats that are many and rarely run.
//! * [`floor`]: the same workload on the least code that is parallel and durable.
//! * [`child`]: a part of a measurement in a process of its own.
//! * [`bare`]: appending to a file and syncing it, with nothing around it.
//! * [`load`]: the host sends at a rate; [`memory`]: what is resident.
//! * [`measure`]: medians and ratios; [`scratch`]: directories that go away again.
//!
//! Both sides of a comparison run interleaved in one process, each pair gives one ratio, and the
//! median of the ratios is quoted: the machine's own noise then meets both sides alike. Nothing
//! here asserts a time.

pub mod actor;
pub mod bare;
pub mod blob;
pub mod child;
pub mod cold;
pub mod floor;
pub mod load;
pub mod measure;
pub mod memory;
pub mod runner;
pub mod scratch;
pub mod trial;
pub mod workloads;

/// What a measuring program ends with: an error of any kind is shown and ends it.
pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
