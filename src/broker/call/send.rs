//! The one place from which a call's request is sent. A tool that its user has to confirm is sent
//! only after that.
//!
//! The user is asked before the call gets a token ([`Sending::settle`]), and the answer is used up
//! when the request is sent: a question must not use up a consent for one call, nor a missing
//! consent an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use super::Links;
use crate::broker::code::{CodeEnd, CodeRun, HeldGrant, ProgressSink};
use crate::broker::confirm::{Confirmed, UnconfirmedCall, Use};
use crate::broker::{Broker, Catalogue, caller_failures};
use crate::model::call_confirmation::ConfirmationContent;
use crate::model::failure::{CodeFailure, NotConfirmedReason};
use crate::model::tool::{Action, CodeAction, Template};
use crate::model::{
    AccountName, Failure, FailureKind, InputRequired, Outcome, Principal, Provider, Question, Tool,
};
use crate::upstream::{Answer, Credential};

/// The request of a call, and who asks for it.
pub(super) struct Sending<'a> {
    pub(super) broker: &'a Broker,
    pub(super) catalogue: &'a Arc<Catalogue>,
    pub(super) tool: &'a Tool,
    pub(super) principal: &'a Principal,
    pub(super) run: Option<&'a str>,
    pub(super) client: Option<&'a str>,
    pub(super) progress: Option<&'a ProgressSink>,
    pub(super) arguments: Map<String, Value>,
    pub(super) links: Links,
    /// Whether the user has confirmed this call. Its second try, with another token, is the same
    /// call.
    pub(super) is_confirmed: AtomicBool,
    /// Whether the call may be sent again with another token after a 401. A request that was refused
    /// changed nothing; code may have changed something before.
    pub(super) may_repeat: AtomicBool,
}

impl Sending<'_> {
    /// Whether the user has to confirm the call, and has not been asked by this call.
    pub(super) fn is_unconfirmed(&self) -> bool {
        self.tool.confirm.is_some() && !self.is_confirmed.load(Ordering::Relaxed)
    }

    /// Whether the call may be sent again with another token.
    pub(super) fn may_repeat(&self) -> bool {
        self.may_repeat.load(Ordering::Relaxed)
    }

    /// Asks the user to confirm the call, if that is needed. Uses up no answer. Call it before the
    /// call gets its token.
    ///
    /// # Errors
    /// The outcome, if the user has not confirmed the call.
    pub(super) async fn settle(
        &self,
        provider: Option<&Provider>,
        account: Option<&AccountName>,
    ) -> Result<(), Box<Outcome>> {
        self.confirm(Use::Later, provider, account).await
    }

    /// Sends the request, or runs the code.
    ///
    /// # Errors
    /// The outcome, if the user has to confirm the call first. Nothing was sent then. Also, if the
    /// code has stopped for its user.
    pub(super) async fn send(
        &self,
        provider: Option<&Provider>,
        account: Option<&AccountName>,
        credential: Option<&Credential>,
    ) -> Result<Answer, Box<Outcome>> {
        self.confirm(Use::Now, provider, account).await?;
        let (upstream, api) = (&self.broker.0.parts.upstream, provider.map(Provider::api));
        let Self { tool, arguments, principal, .. } = self;
        match &tool.action {
            Action::Http(_) => {
                Ok(upstream.execute_for(&principal.caller, tool, api, arguments, credential).await)
            }
            // Boxed: most calls run no code, and their future should not be as large as if they
            // did.
            Action::Code(action) => Box::pin(self.run_code(action, account, credential)).await,
        }
    }

    async fn run_code(
        &self,
        action: &CodeAction,
        account: Option<&AccountName>,
        credential: Option<&Credential>,
    ) -> Result<Answer, Box<Outcome>> {
        let Some(code) = self.catalogue.code(&self.tool.name) else {
            let (tool, failure) = (self.tool.name.clone(), CodeFailure::Error);
            let failed = FailureKind::ToolFailed { tool, failure, may_have_run: false };
            let failed = Failure::from(failed);
            return Ok(Answer::Failed(
                failed.for_operator("this program has no code for the tool"),
            ));
        };
        let provider = self.tool.provider.as_ref();
        let provider = provider.and_then(|id| self.catalogue.provider(id.as_str()));
        let declared = provider.zip(credential).map(|(provider, credential)| {
            let (provider, scopes) = (Arc::clone(provider), self.tool.scopes.clone());
            HeldGrant::new(provider, account.cloned(), scopes, credential.clone())
        });
        let (call, resources) = self.for_code();
        let progress = self.progress;
        let arguments = self.arguments.clone();
        let run = CodeRun { call, code: &**code, action, resources, progress, arguments, declared };
        let CodeEnd { answer, may_repeat } = run.run().await;
        self.may_repeat.store(may_repeat, Ordering::Relaxed);
        answer
    }

    async fn confirm(
        &self,
        usage: Use,
        provider: Option<&Provider>,
        account: Option<&AccountName>,
    ) -> Result<(), Box<Outcome>> {
        if let Some(question) = &self.tool.confirm
            && !self.is_confirmed.load(Ordering::Relaxed)
        {
            // Boxed: most calls ask nothing, and their future should not be as large as if they
            // did.
            Box::pin(self.confirm_by(question, usage, provider, account)).await?;
            self.is_confirmed.store(usage == Use::Now, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn confirm_by(
        &self,
        question: &Template,
        usage: Use,
        provider: Option<&Provider>,
        account: Option<&AccountName>,
    ) -> Result<(), Box<Outcome>> {
        let Self { tool, principal, .. } = *self;
        let call = UnconfirmedCall {
            principal,
            run: self.run.unwrap_or_default(),
            client: self.client,
            provider: provider.map(|provider| &provider.id),
            content: ConfirmationContent::of(tool, question, account, &self.arguments),
            may_ask: self.links == Links::Make,
            usage,
        };
        let because = match self.broker.confirmations().confirmed(&call).await {
            Ok(Confirmed::Yes) => return Ok(()),
            Ok(Confirmed::Ask(prompt)) => {
                return Err(Box::new(Outcome::InputRequired(InputRequired {
                    tool: tool.name.clone(),
                    title: tool.title.clone(),
                    question: Question::Confirmation(prompt),
                })));
            }
            Ok(Confirmed::No) => NotConfirmedReason::Declined,
            Ok(Confirmed::Unasked) => NotConfirmedReason::LinkWithheld,
            Err(error) => {
                tracing::warn!(tool = %tool.name, %error, hint = error.hint(), "a user could not be asked to confirm a call");
                let failure = caller_failures::not_asked(&error, principal, &tool.name);
                return Err(Box::new(Outcome::Failed(failure)));
            }
        };
        let kind = FailureKind::NotConfirmed { tool: tool.name.clone(), because };
        Err(Box::new(Outcome::Failed(kind.into())))
    }
}
