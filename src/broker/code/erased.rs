//! A tool of any type, behind one interface.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::error::Stop;
use super::{Context, Tool, ToolError};
use crate::model::declared_tool::{DeclaredNeed, DeclaredTool};
use crate::model::tool::{Effect, Returns};

/// How a run ended: with the data that it returns, or else.
pub(in crate::broker) type Ended = Result<Value, RunError>;

/// How a run ended without data.
pub(in crate::broker) enum RunError {
    /// The arguments do not have the type that the code reads: the place, a path, and why.
    Unread {
        place: String,
        why: String,
    },
    Stopped(Box<Stop>),
}

/// A [`Tool`] without its types.
pub(in crate::broker) trait ErasedTool: Send + Sync {
    /// Runs the tool with arguments that the registry has accepted.
    fn run_erased<'a>(
        &'a self,
        ctx: &'a Context,
        arguments: Map<String, Value>,
    ) -> BoxFuture<'a, Ended>;
}

impl<T: Tool> ErasedTool for T {
    fn run_erased<'a>(
        &'a self,
        ctx: &'a Context,
        arguments: Map<String, Value>,
    ) -> BoxFuture<'a, Ended> {
        async move {
            // Within the future, whose panics are caught: the type of the arguments is the tool's.
            let arguments = serde_path_to_error::deserialize(Value::Object(arguments));
            let arguments = match arguments {
                Ok(arguments) => arguments,
                Err(error) => {
                    let (place, why) = (error.path().to_string(), error.inner().to_string());
                    return Err(RunError::Unread { place, why });
                }
            };
            let output = self.run(ctx, arguments).await;
            let value = output.and_then(|output| Ok(serde_json::to_value(output)?));
            value.map_err(|ToolError(stop)| RunError::Stopped(stop))
        }
        .boxed()
    }
}

/// Returns what the configuration learns of a tool.
pub(super) fn declared<T: Tool>(tool: &T) -> DeclaredTool {
    let (kind, description) = tool.output().unzip();
    let effect = tool.effect();
    DeclaredTool {
        name: tool.name().to_owned(),
        title: tool.title().map(str::to_owned),
        description: tool.description().trim().to_owned(),
        input: schema::<T::Args>(SchemaSettings::draft2020_12().for_deserialize()),
        output: schema::<T::Output>(SchemaSettings::draft2020_12().for_serialize()),
        returns: Returns { kind, description, should_summarize: tool.should_summarize() },
        effect,
        idempotent: effect == Effect::Read || tool.idempotent(),
        need: tool
            .authorization()
            .map(|need| DeclaredNeed { provider: need.provider, scopes: need.scopes }),
        hosts: tool.hosts(),
        timeout: tool.timeout(),
        portia_id: tool.id().map(str::to_owned),
    }
}

/// Returns the JSON Schema of a type, without references wherever it is not recursive: not every
/// host follows them.
fn schema<T: JsonSchema>(settings: SchemaSettings) -> Map<String, Value> {
    let settings = settings.with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    match schema.to_value() {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}
