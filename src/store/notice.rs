//! Damage to the store that its users must hear of.

use std::fmt;
use std::path::PathBuf;

/// Damage that was found when the store was opened, and cannot be repaired.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The whole store was damaged, and was moved to this path.
    SetAside(PathBuf),
    /// This many of the last changes are lost.
    LastChangesLost(u64),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetAside(path) => write!(
                f,
                "the store was damaged and has been set aside as `{}`; accounts must be connected again",
                path.display()
            ),
            Self::LastChangesLost(changes) => write!(
                f,
                "the store was damaged, and its last changes are lost ({changes}); accounts that were connected or renewed last may have to be connected again"
            ),
        }
    }
}
