//! Tools that are code of the program which serves them.
//!
//! A program implements [`Tool`] and gives it to the server's builder. Such a tool stands beside
//! those of `tools.toml` in every face: [`DeclaredTool`] is what the configuration learns of it, and
//! this module runs it. The need that it declares is met before it runs, like that of any tool;
//! further tokens go through the same grants ([`Context::token`]).

mod context;
mod erased;
mod error;
mod http;
mod panics;
mod progress;
mod reply;
mod resources;
mod run;
mod tool;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use context::{Cancellation, Context, Token};
pub(super) use erased::ErasedTool;
pub(super) use error::Stop;
pub use error::{Clarification, ToolError};
pub use http::{Http, HttpRequest};
pub use progress::{Progress, ProgressSink};
pub use reply::{HttpError, HttpResponse};
pub(super) use resources::{CodeCall, HeldGrant, Resources};
pub(super) use run::{CodeEnd, CodeRun};
pub use tool::{Authorization, NoArgs, Tool};

use crate::model::ToolName;
use crate::model::declared_tool::DeclaredTool;

/// The code of a program's tools, by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct CodeTools(Arc<Vec<Entry>>);

struct Entry {
    declared: DeclaredTool,
    code: Arc<dyn ErasedTool>,
}

/// The code that the calls of one catalogue run.
#[derive(Default)]
pub(super) struct CodeByName(HashMap<ToolName, Arc<dyn ErasedTool>>);

impl CodeTools {
    /// Adds a tool. Names are checked when the configuration is read. From then on, panics of tools'
    /// code tell their place only.
    #[must_use]
    pub fn with(self, tool: impl Tool) -> Self {
        panics::tell_places_only();
        let entry = Entry { declared: erased::declared(&tool), code: Arc::new(tool) };
        let mut all: Vec<Entry> = match Arc::try_unwrap(self.0) {
            Ok(all) => all,
            Err(shared) => shared.iter().map(Entry::share).collect(),
        };
        all.push(entry);
        Self(Arc::new(all))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The declarations, in the order in which the tools were added.
    pub fn declared(&self) -> Vec<DeclaredTool> {
        self.0.iter().map(|entry| entry.declared.clone()).collect()
    }

    pub(super) fn by_name(&self) -> CodeByName {
        let entry = |it: &Entry| (ToolName::new(&*it.declared.name), Arc::clone(&it.code));
        CodeByName(self.0.iter().map(entry).collect())
    }
}

impl Entry {
    fn share(&self) -> Self {
        Self { declared: self.declared.clone(), code: Arc::clone(&self.code) }
    }
}

impl CodeByName {
    pub(super) fn get(&self, name: &ToolName) -> Option<&Arc<dyn ErasedTool>> {
        self.0.get(name)
    }
}

impl fmt::Debug for CodeTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|entry| &entry.declared.name)).finish()
    }
}

impl fmt::Debug for CodeByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
