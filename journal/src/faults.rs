//! Where a test makes the disk fail. Without it the calls below do not exist.

use std::io;

/// Called just before the thing named; an error stands for the system's. Groups and checkpoints are counted from 1 in
/// each incarnation.
#[doc(hidden)]
pub trait Faults: Send + Sync {
    /// Before the bytes of a group are handed to the system.
    fn group_write(&self, _number: u64) -> io::Result<()> {
        Ok(())
    }
    /// After the bytes of a group were handed to the system, before they are synced.
    fn group_sync(&self, _number: u64) -> io::Result<()> {
        Ok(())
    }
    /// Before the witness is written.
    fn witness_write(&self, _number: u64) -> io::Result<()> {
        Ok(())
    }
    /// Before a checkpoint is written.
    fn checkpoint_write(&self, _number: u64) -> io::Result<()> {
        Ok(())
    }
    /// Before a row of that table is read.
    fn table_read(&self, _table: u8) -> io::Result<()> {
        Ok(())
    }
}
