//! Keys of the language's tables, and unknown keys until they are explained.

use super::span::Text;

/// The keys of one table, for reporting unknown ones.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Name of the table's Rust type.
    pub(crate) table: &'static str,
    pub(crate) known: &'static [&'static str],
    /// Keys that a later version will read.
    pub(crate) later: &'static [&'static str],
}

/// A table of the language, and its path from the root of the file; `*` stands for a name that the
/// operator chooses.
#[derive(Debug)]
pub(crate) struct LanguageTable {
    pub(super) path: &'static [&'static str],
    pub(super) keys: &'static Keys,
}

/// An unknown key that is explained once the whole file has been read and the names around it are
/// known.
#[derive(Debug)]
pub(crate) struct UnknownKey {
    /// Index of its problem in the findings.
    pub(super) problem: usize,
    pub(super) key: Text,
    pub(super) kind: UnknownKeyKind,
}

#[derive(Debug)]
pub(crate) enum UnknownKeyKind {
    /// A key that these tables have.
    OfTables(Vec<&'static LanguageTable>),
    /// A tool whose name was written with dots, with the steps below this table's name.
    Dotted(Vec<String>),
}
