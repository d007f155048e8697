//! What the black-box tests share: scratch directories, vats that do as they are told, hosts in
//! every shape, a disk that fails when it is told to, and child processes that can be killed.
//!
//! Nothing here looks behind the public interface of `crankcase`: a scenario that needs more than a
//! host can see is a test of the part, and lives beside the part.

pub mod actor;
pub mod child;
pub mod corpora;
pub mod crash;
pub mod damage;
pub mod disk;
pub mod executor;
pub mod gate;
pub mod golden;
pub mod host;
pub mod kit;
pub mod laws;
pub mod luck;
pub mod oracle;
pub mod pattern;
pub mod scratch;
pub mod stage;
pub mod watch;
pub mod workload;
pub mod yard;

pub use actor::{Actor, Said, Step};
pub use gate::Gate;
pub use host::{Host, PATIENCE, Shape, in_each_order_with_one_and_four_workers, in_every_shape};
pub use pattern::Pattern;
pub use scratch::Scratch;
pub use stage::Stage;
pub use stage::player::Player;
pub use yard::Yard;

/// What programs and helpers that may fail in any way return.
pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
