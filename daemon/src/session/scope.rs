//! Checks that refuse a command before its handler runs: the token's scope, the embedding program, and rate limits.

use std::time::Duration;

use snug_protocol::{Aim, Code, Command, FileCommand, FileRef, Role, Scope, Verb};

use super::{Session, refusal};
use crate::hooks::Who;
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::throttle::Quota;

/// Rate limit for NICK and AUTH from one address.
const ENTRANCES: Quota = Quota { burst: 200, interval: Duration::from_millis(200) };

/// Rate limit for rooms that the guests of one address make.
const NEW_ROOMS: Quota = Quota { burst: 50, interval: Duration::from_secs(300) };

/// Rate limit for an identity that joins or leaves rooms, or changes its name.
const MOVES: Quota = Quota { burst: 500, interval: Duration::from_millis(200) };

impl Session {
    /// Refuses a command that the session's token does not allow.
    pub(super) fn check_scope(&self, verb: Verb, command: Option<&Command<'_>>) -> Result<(), Refusal> {
        let Some(grant) = self.peer.grant() else { return Ok(()) };
        let now = self.core.environment.clock.now();
        if grant.expires.is_some_and(|expires| expires <= now) {
            return Err(refusal(Code::OutOfScope, "the token's time is over; make another one"));
        }
        if !grant.scope.has_verb(verb) {
            let text = format!("the token {} may do {} and not this", grant.label, grant.scope.may());
            return Err(refusal(Code::OutOfScope, &text));
        }
        if let Some(Command::File(file)) = command {
            // FILE both sends and fetches, so each of its commands counts as the verb that it resembles.
            let like = match file {
                FileCommand::Offer(_) | FileCommand::Put { .. } => Verb::Msg,
                FileCommand::Done { of: FileRef::Upload(_), .. } => Verb::Msg,
                FileCommand::Cancel { of: FileRef::Upload(_) } => Verb::Msg,
                FileCommand::Cancel { of: FileRef::Entry(_) } => Verb::Delete,
                _ => Verb::History,
            };
            if !grant.scope.has_verb(like) {
                let text =
                    format!("the token {} may not do this with files: it lacks {}", grant.label, like.word());
                return Err(refusal(Code::OutOfScope, &text));
            }
        }
        if grant.scope.is_confined() && !command.is_none_or(|command| is_within(&grant.scope, command)) {
            let text = format!("the token {} is for {} and no other place", grant.label, grant.scope.rooms());
            return Err(refusal(Code::OutOfScope, &text));
        }
        let is_free = matches!(verb, Verb::Quit | Verb::Ping | Verb::Pong | Verb::Help | Verb::Info);
        if let Some(rate) = grant.scope.rate().filter(|_| !is_free) {
            let interval = Duration::from_secs(60) / rate;
            let quota = Quota { burst: u64::from(rate), interval };
            let now = self.core.environment.clock.elapsed();
            self.core.throttles.tokens.take(grant.hash, quota, now).map_err(|wait| {
                Refusal::new(Code::SlowDown, "the token is used more often than it may be").after(wait)
            })?;
        }
        Ok(())
    }

    /// Refuses an address that logs in too often, because each login takes a row in the audit log.
    pub(super) fn check_entrances(&self) -> Result<(), Refusal> {
        let Some(address) = self.origin.counted_address() else { return Ok(()) };
        let now = self.core.environment.clock.elapsed();
        self.core.throttles.entrances.take(address, ENTRANCES, now).map_err(|wait| {
            Refusal::new(Code::SlowDown, "too many come in from your address; wait").after(wait)
        })
    }

    /// Refuses an identity that joins and leaves too often, because each time takes a row in the audit log.
    pub(super) fn check_moves(&self) -> Result<(), Refusal> {
        if !self.origin.is_throttled() || self.core.config().limits.account_rate == 0 {
            return Ok(());
        }
        let now = self.core.environment.clock.elapsed();
        self.core
            .throttles
            .moves
            .take(self.peer.identity(), MOVES, now)
            .map_err(|wait| Refusal::new(Code::SlowDown, "you come and go too often; wait").after(wait))
    }

    /// Refuses an address whose guests make too many rooms.
    pub(super) fn check_new_rooms(&self) -> Result<(), Refusal> {
        let is_guest = self.role_here() < Role::Bot;
        let Some(address) = self.origin.counted_address().filter(|_| is_guest) else { return Ok(()) };
        let now = self.core.environment.clock.elapsed();
        self.core.throttles.new_rooms.take(address, NEW_ROOMS, now).map_err(|wait| {
            Refusal::new(
                Code::SlowDown,
                "too many rooms are made from your address; wait, or take one that is there",
            )
            .after(wait)
        })
    }

    /// Refuses a command of `size` bytes that the token, the embedding program or a rate limit does not let pass.
    pub(super) fn check_command(
        &mut self,
        verb: Verb,
        command: &Command<'_>,
        size: usize,
    ) -> Result<(), Refusal> {
        self.check_scope(verb, Some(command))?;
        self.check_policy(command)?;
        self.check_rates(command, size)
    }

    /// Refuses a command that the embedding program does not allow.
    pub(super) fn check_policy(&self, command: &Command<'_>) -> Result<(), Refusal> {
        let Some(policy) = &self.core.hooks.policy else { return Ok(()) };
        let user = match self.origin {
            Origin::Unix(user) => Some(user),
            _ => None,
        };
        let who = Who {
            nick: self.me.as_ref().map(|me| me.nick()),
            has_account: self.me.as_ref().is_some_and(|me| me.is_account()),
            role: self.role_here(),
            address: self.origin.address(),
            user,
        };
        policy.allow(&who, command)
    }

    /// Refuses a command that exceeds the rate limit of an identity, an address or a room.
    pub(super) fn check_rates(&mut self, command: &Command<'_>, size: usize) -> Result<(), Refusal> {
        if !command.is_append() && !command.is_act() {
            return Ok(());
        }
        let room = match command.aim() {
            Some(Aim::Room(room)) => self.find_room(room).ok().map(|room| room.number),
            _ => None,
        };
        self.core.check_rates(&self.peer, self.role_here(), room, size)
    }
}

/// Returns whether a command stays within the rooms of a confined scope.
fn is_within(scope: &Scope, command: &Command<'_>) -> bool {
    match command.aim() {
        None => true,
        Some(Aim::Room(room)) => scope.has_room(room),
        Some(Aim::Person | Aim::Everything) => false,
    }
}
