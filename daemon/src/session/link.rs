//! Verbs about the connection itself: NICK, QUIT, PING, HELP, INFO.

use ring::digest;
use snug_protocol::{Body, Nick, ServerLine, TagBuilder, VERBS, Verb, limits};

use super::{Answer, Answered, Origin, Session};
use crate::core::millis;
use crate::log::Refusal;
use crate::registry::{Entrance, Proof};

/// What INFO names as features: what a client cannot see from the list of verbs.
const FEATURES: &str = "token,quiet,key,re,verbatim,ref,relay";

impl Session {
    pub(super) fn nick(
        &mut self,
        nick: &Nick<'_>,
        quiet: bool,
        token: Option<&str>,
        answer: &mut Answer,
    ) -> Result<Answered, Refusal> {
        let core = &self.core;
        let limits = &core.config().limits;
        let time = core.environment.clock.now();
        if self.me.is_some() {
            return Ok(Answered::Ok(Some(core.registry.rename(&self.peer, nick, time, limits)?)));
        }
        let number = core.environment.number();
        let mut new_token = None;
        let proof = match self.origin {
            Origin::Unix(user) => Proof::User(user, nick.fold()),
            Origin::Bot => Proof::Bot(number),
            Origin::Tcp(_) | Origin::Embedder => {
                let token = core.environment.hex::<16>();
                let proof = proof_of(&token);
                new_token = Some(token);
                proof
            }
        };
        let user = matches!(proof, Proof::User(..)).then(|| proof.clone());
        let shows = token.map(proof_of).into_iter().chain(user).collect();
        let bot = self.origin == Origin::Bot;
        let entrance = Entrance { peer: &self.peer, nick, quiet, bot, shows, proof, number, time };
        let entered = core.registry.enter(&entrance, limits)?;

        let mut tags = TagBuilder::default();
        // Whoever came in by a token goes on with it; a new identity is known by the new one.
        tags.value(
            "token",
            match entered.proved {
                None => new_token.as_deref(),
                Some(Proof::Token(_)) => token,
                Some(Proof::User(..) | Proof::Bot(_)) => None,
            },
        );
        tags.value("log", Some(&core.log_name));
        answer.set_ok_tags(tags);
        let shown = entered.identity.nick();
        self.me = Some(entered.identity);
        Ok(Answered::Ok(Some(shown)))
    }

    pub(super) fn ping(&self, label: Option<&str>) -> Answered {
        self.peer.set_answers_pings();
        Answered::Ok(label.map(str::to_owned))
    }

    pub(super) fn pong(&self) -> Answered {
        self.peer.set_answers_pings();
        Answered::Silently
    }

    pub(super) fn info(&self, answer: &mut Answer) -> Answered {
        let config = self.core.config();
        let items = [
            format!("version={}", env!("CARGO_PKG_VERSION")),
            format!("log={}", self.core.log_name),
            format!("line={}", config.limits.line),
            format!("text={}", config.limits.text),
            format!("tags={}", limits::TAGS),
            format!("bytes={}", limits::BYTES),
            format!("idle={}", millis(config.heartbeat.dead.duration()) / 1_000),
            format!("features={FEATURES}"),
        ];
        for item in &items {
            answer.row(TagBuilder::default(), ServerLine::new(Body::Info { item }));
        }
        Answered::Ok(Some(items.len().to_string()))
    }
}

/// What a token proves. Only the hash is kept, so that looking it up tells nothing about it by its time.
fn proof_of(token: &str) -> Proof {
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_ref()[..16]);
    Proof::Token(half)
}

pub(super) fn help(verb: Option<Verb>, answer: &mut Answer) -> Answered {
    let mut rows = Vec::new();
    match verb {
        None => rows.extend(VERBS.iter().map(|spec| format!("{}: {}", spec.usage(), spec.summary))),
        Some(verb) => {
            let spec = verb.spec();
            rows.push(format!("{}: {}", spec.usage(), spec.summary));
            rows.push(spec.detail.to_owned());
            if !spec.tags.is_empty() {
                rows.push(format!("tags: {}", spec.tags));
            }
            rows.extend(spec.example.lines().map(|line| format!("  {line}")));
        }
    }
    for text in &rows {
        answer.row(TagBuilder::default(), ServerLine::new(Body::Help { text }));
    }
    Answered::Ok(Some(rows.len().to_string()))
}
