//! Why the request of a tool cannot be built, as data.

use super::ProviderId;

/// Why the request of a tool cannot be built. The client can change the arguments; the rest is for
/// the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestProblem {
    /// The address needs this argument, and it is absent.
    MissingArgument(String),
    /// An argument cannot be part of the address.
    PathArgument { name: String, problem: PathProblem },
    /// An argument cannot be sent in a header.
    HeaderArgument { name: String, problem: HeaderProblem },
    /// The arguments would lead to another address than the one in tools.toml.
    Address,
    /// This header is not for tools to set.
    ReservedHeader(String),
    /// This header has a name or value that HTTP does not allow.
    InvalidHeader(String),
    /// The provider's credential is not for this host.
    ForeignHost { provider: ProviderId, host: String },
    /// There is a credential, and the tool has no provider.
    NoProvider,
    /// The credential has characters that a header cannot hold.
    InvalidCredential,
}

/// Why an argument cannot be part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProblem {
    Empty,
    /// It is or contains `.` or `..` as a step.
    DotSegment,
    /// It begins or ends with a slash, or has two in a row.
    Slashes,
    ControlCharacters,
}

/// Why an argument cannot be sent in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderProblem {
    /// Longer than this many KiB.
    TooLong(usize),
    ControlCharacters,
    NotAscii,
}

impl RequestProblem {
    /// Whether other arguments can solve it.
    pub fn is_about_arguments(&self) -> bool {
        match self {
            Self::MissingArgument(_)
            | Self::PathArgument { .. }
            | Self::HeaderArgument { .. }
            | Self::Address => true,
            Self::ReservedHeader(_)
            | Self::InvalidHeader(_)
            | Self::ForeignHost { .. }
            | Self::NoProvider
            | Self::InvalidCredential => false,
        }
    }
}
