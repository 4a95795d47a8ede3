//! Handlers of KEY and TOKEN: the keys and tokens that log in to an account.

use super::accounts::{TOKEN_PREFIX, half_hash, login_needed, public_key};
use super::{Answered, Session};
use crate::answer::Answer;
use crate::log::{AccountAct, Grant};
use crate::refusal::Refusal;
use crate::registry::Identity;
use snug_protocol::{Body, KeyChange, ServerLine, TagBuilder, TokenChange};
use std::sync::Arc;

impl Session {
    /// Returns the identity that the session speaks for, and refuses one without an account.
    fn my_account(&self) -> Result<Arc<Identity>, Refusal> {
        let me = self.me()?;
        if me.is_account() { Ok(Arc::clone(me)) } else { Err(login_needed()) }
    }

    pub(super) fn key(&mut self, change: KeyChange<'_>, answer: &mut Answer) -> Result<Answered, Refusal> {
        let me = self.my_account()?;
        let act = match change {
            KeyChange::List => {
                return self.read_log(answer, move |view, answer| {
                    let keys = view.keys(me.number)?;
                    for key in &keys {
                        let fingerprint = snug_protocol::envelope::PublicKey::new(key.key)
                            .map(|key| key.fingerprint().to_string())
                            .unwrap_or_default();
                        let added = key.added.to_string();
                        let body = Body::Key { label: &key.label, fingerprint: &fingerprint, added: &added };
                        answer.row(TagBuilder::default(), ServerLine::new(body));
                    }
                    Ok(keys.len().to_string())
                });
            }
            KeyChange::Add(key, label) => {
                AccountAct::AddKey { key: public_key(key)?, label: label.to_owned() }
            }
            KeyChange::Remove(label) => AccountAct::RemoveKey { label: label.to_owned() },
        };
        let label = match &act {
            AccountAct::AddKey { label, .. } | AccountAct::RemoveKey { label } => label.clone(),
            _ => String::new(),
        };
        Ok(self.change_account(self.author(&me), act, answer, label))
    }

    pub(super) fn token(
        &mut self,
        change: TokenChange<'_>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let me = self.my_account()?;
        match change {
            TokenChange::List => self.read_log(answer, move |view, answer| {
                let tokens = view.tokens(me.number)?;
                for token in &tokens {
                    let Grant { label, scope, expires, .. } = &token.grant;
                    let mut tags = TagBuilder::default();
                    tags.value("may", Some(&scope.may()));
                    tags.value("rooms", Some(&*scope.rooms()).filter(|rooms| !rooms.is_empty()));
                    tags.display("rate", scope.rate());
                    tags.display("expires", *expires);
                    let added = token.added.to_string();
                    answer.row(tags, ServerLine::new(Body::Token { label, added: &added }));
                }
                Ok(tokens.len().to_string())
            }),
            TokenChange::Add { label, scope, expires } => {
                // The answer shows the token, this once, so nobody may overhear it.
                self.must_not_be_overheard()?;
                let token = format!("{TOKEN_PREFIX}{}", self.core.environment.hex::<20>());
                let act =
                    AccountAct::AddToken { hash: half_hash(&token), label: label.to_owned(), scope, expires };
                Ok(self.change_account(self.author(&me), act, answer, format!("{label} {token}")))
            }
            TokenChange::Remove(label) => {
                let act = AccountAct::RemoveToken { label: label.to_owned() };
                Ok(self.change_account(self.author(&me), act, answer, label.to_owned()))
            }
        }
    }
}
