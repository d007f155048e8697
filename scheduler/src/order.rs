//! The two orders in which completed cranks can be given their places.

use std::fmt;

/// How the total order comes about; fixed when the journal is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CommitOrder {
    /// In the order in which cranks complete: nobody waits for anybody. The kernel runs by itself,
    /// and the journal is the schedule.
    #[default]
    Completion,
    /// As if one worker ran one first-in first-out queue of all deliveries: the journal is a
    /// function of the host's calls, the same with 1 worker or 64, with or without restarts.
    /// Inputs wait until the host calls [`Kernel::run`](crate::Kernel::run) or
    /// [`Kernel::run_until_idle`](crate::Kernel::run_until_idle).
    Dispatch,
}

impl CommitOrder {
    /// The byte that stands for it in the journal's identity.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Completion => 0,
            Self::Dispatch => 1,
        }
    }

    /// The order that a byte stands for.
    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Completion),
            1 => Some(Self::Dispatch),
            _ => None,
        }
    }
}

impl fmt::Display for CommitOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completion => "completion",
            Self::Dispatch => "dispatch",
        })
    }
}
